"""Whose turn it is: a table of the ledger in which every run of an installation finds who works with what (LC-11)."""

# ruff: noqa: S608 - the name of the table is a constant; values are parameters
from __future__ import annotations

from datetime import UTC, datetime

from docker_runner.storage.lake.ledger_database import TURNS, ledger_database, time_text
from docker_runner.storage.lake.location import Location


class LakeTurns:
    """The turns that a lake keeps; see :class:`docker_runner.storage.base.Turns` for what the method does."""

    def __init__(self, location: Location) -> None:
        """Nothing is opened or made before it is used."""
        self._database = ledger_database(location)

    def take(self, what: str, holder: str, *, over: str = "") -> str:
        """Take a turn, or find who has it."""
        now = time_text(datetime.now(UTC))
        with self._database.session() as session:
            session.run(
                f"INSERT INTO {TURNS} (what, holder, taken) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [what, holder, now],
            )
            if over:
                # Of several that have seen the same holder end, the second finds the first one here.
                session.run(
                    f"UPDATE {TURNS} SET holder = ?, taken = ? WHERE what = ? AND holder = ?", [holder, now, what, over]
                )
            ((found,),) = session.run(f"SELECT holder FROM {TURNS} WHERE what = ?", [what])
        return str(found)

    def forget(self, before: datetime) -> None:
        """Forget the turns that were taken before a time: their holders have ended long ago."""
        with self._database.session() as session:
            session.run(f"DELETE FROM {TURNS} WHERE taken < ?", [time_text(before)])
