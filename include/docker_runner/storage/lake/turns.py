"""Whose turn it is: a table of the ledger in which every run of an installation finds who works with what (LC-11)."""

# ruff: noqa: S608 - the name of the table is a constant; values are parameters
from __future__ import annotations

from docker_runner.storage.lake.ledger_database import TURNS, ledger_database
from docker_runner.storage.lake.location import Location


class LakeTurns:
    """The turns that a lake keeps; see :class:`docker_runner.storage.base.Turns` for what the method does."""

    def __init__(self, location: Location) -> None:
        """Nothing is opened or made before it is used."""
        self._database = ledger_database(location)

    def take(self, what: str, holder: str, *, over: str = "") -> str:
        """Take a turn, or find who has it."""
        with self._database.session() as session:
            session.run(f"INSERT INTO {TURNS} (what, holder) VALUES (?, ?) ON CONFLICT DO NOTHING", [what, holder])
            if over:
                # Of several that have seen the same holder end, the second finds the first one here.
                session.run(f"UPDATE {TURNS} SET holder = ? WHERE what = ? AND holder = ?", [holder, what, over])
            ((found,),) = session.run(f"SELECT holder FROM {TURNS} WHERE what = ?", [what])
        return str(found)
