"""Airflow's LocalExecutor, with tasks that start warm and a scheduler that wakes when there is something to do.

Two things are added, both through the executor interface:

* **Warm tasks.** Task processes are forked from workers, and workers from the scheduler. What the scheduler has
  imported before it forks is there in every task for free, so the modules that tasks import are imported once, here.
* **No busy loop.** The scheduler asks the database again and again; its pause between two rounds is either short, which
  burns half a core for nothing, or long, which every task of a chain pays for. This executor ends a round by waiting
  for a change of the database: SQLite tells in microseconds whether another connection has written to it
  (``PRAGMA data_version``). Set ``[scheduler] scheduler_idle_sleep_time`` to 0 with it.

With another database than SQLite only the first part is active, and the scheduler's own pause applies.
"""

from __future__ import annotations

import importlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from urllib.parse import unquote

from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor

log = logging.getLogger(__name__)

PRELOAD_VARIABLE = "DOCKER_RUNNER_PRELOAD"
"""Environment variable with the modules to import before workers are forked, separated by commas."""

LOOK_SECONDS = 0.01
"""Time between two looks at the database's version: unnoticeable, and less than 1 % of a core."""


class WarmLocalExecutor(LocalExecutor):
    """Runs tasks in processes that have their modules loaded, as soon as the database says that there are some."""

    # The API server reads the log files itself; no need for a second web server that serves them.
    serve_logs = False

    def start(self) -> None:
        """Import what tasks need, then fork the workers."""
        preload(os.environ.get(PRELOAD_VARIABLE, ""))
        super().start()
        # Opened after the fork: SQLite connections must not be carried into children.
        self._database = DatabaseVersion.of_airflow()

    def sync(self) -> None:
        """Take the workers' results; when there are none, wait for the database to change."""
        super().sync()
        if self._database is not None and self.result_queue.empty():
            self._database.wait_for_change(until=lambda: not self.result_queue.empty())
            super().sync()


def preload(modules: str) -> None:
    """Import modules by name; one that cannot be imported is named in the log and left to the tasks that need it.

    Args:
        modules: names separated by commas.
    """
    for name in filter(None, (part.strip() for part in modules.split(","))):
        try:
            importlib.import_module(name)
        except Exception:
            log.warning("Module %s cannot be imported ahead of the tasks that use it.", name, exc_info=True)


class DatabaseVersion:
    """Tells whether a SQLite database has been written to by anybody else since the last look.

    Args:
        path: the database file.
    """

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._seen = self._version()

    @classmethod
    def of_airflow(cls) -> DatabaseVersion | None:
        """Watch Airflow's own database; None when that is not a SQLite file."""
        url = conf.get_mandatory_value("database", "sql_alchemy_conn")
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
        due = time.time() // 1 + 1.005
        while self._seen == (version := self._version()) and time.time() < due:
            if until():
                break
            time.sleep(LOOK_SECONDS)
        self._seen = version

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
