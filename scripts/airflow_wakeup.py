"""Waits until a SQLite database has been written to, without asking it for its data.

``PRAGMA data_version`` tells in microseconds whether another connection has committed something.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from urllib.parse import unquote

LOOK_SECONDS = 0.01
"""Time between two looks at the database's version: unnoticeable, and about 1 % of a core."""


class DatabaseVersion:
    """Tells whether a SQLite database has been written to by anybody else since the last look.

    Args:
        path: the database file.
    """

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._seen = self._version()

    @classmethod
    def of(cls, url: str) -> DatabaseVersion | None:
        """Watch the database of a SQLAlchemy URL; None when that is not a SQLite file."""
        if not url.startswith("sqlite:///"):
            return None
        return cls(unquote(url.removeprefix("sqlite:///").partition("?")[0]))

    def wait_for_change(self, until: Callable[[], bool]) -> None:
        """Return when the database has changed since the last call returned, or at the next full second.

        A change between two calls counts, so none is missed. The full second matters because SQLite's clock ticks in
        seconds: a run that was triggered in this second becomes due for the scheduler when the next one begins.

        Args:
            until: called at each look; ends the wait when it returns True.
        """
        until_next_second = 1.005 - time.time() % 1
        due = time.monotonic() + until_next_second
        while self._seen == (version := self._version()) and time.monotonic() < due:
            if until():
                break
            time.sleep(LOOK_SECONDS)
        self._seen = version

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
