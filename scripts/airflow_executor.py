"""Airflow's LocalExecutor, with tasks that start warm and a scheduler that wakes when there is something to do.

Two things are added, both through the executor interface:

* **Warm tasks.** Task processes are forked from workers, and workers from the scheduler. What the scheduler has
  imported before it forks is there in every task for free, so the modules that tasks import are imported once, here.
* **No busy loop.** The scheduler asks the database again and again; its pause between two rounds is either short, which
  burns half a core for nothing, or long, which every task of a chain pays for. This executor ends a round by waiting
  for a change of the database (:mod:`airflow_wakeup`). Set ``[scheduler] scheduler_idle_sleep_time`` to 0 with it.

With another database than SQLite only the first part is active, and the scheduler's own pause applies.
"""

from __future__ import annotations

import importlib
import logging
import os

from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor
from airflow_wakeup import DatabaseVersion

log = logging.getLogger(__name__)

PRELOAD_VARIABLE = "DOCKER_RUNNER_PRELOAD"
"""Environment variable with the modules to import before workers are forked, separated by commas."""


class WarmLocalExecutor(LocalExecutor):
    """Runs tasks in processes that have their modules loaded, as soon as the database says that there are some."""

    # The API server reads the log files itself; no need for a second web server that serves them.
    serve_logs = False

    def start(self) -> None:
        """Import what tasks need, then fork the workers."""
        preload(os.environ.get(PRELOAD_VARIABLE, ""))
        load_plugins()
        super().start()
        # Opened after the fork: SQLite connections must not be carried into children.
        self._database = DatabaseVersion.of(conf.get_mandatory_value("database", "sql_alchemy_conn"))

    def sync(self) -> None:
        """Take the workers' results; when there are none, wait for the database to change."""
        super().sync()
        if self._database is not None and self.result_queue.empty():
            self._database.wait_for_change(until=lambda: not self.result_queue.empty())
            super().sync()


def load_plugins() -> None:
    """Load the plugins that tasks would otherwise load, each on its own: entry points, files and listeners.

    Airflow loads them once per process and remembers that, so what is forked from here does not do it again.
    """
    from airflow.sdk.listener import get_listener_manager
    from airflow.sdk.plugins_manager import integrate_macros_plugins

    integrate_macros_plugins()
    get_listener_manager()


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
