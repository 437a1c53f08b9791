"""A running Airflow and the installation that it runs, as tests use them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from airflow_follow import RunResult, known_dag, run_and_follow, task_results
from airflow_home import LocalAirflow
from tests.end_to_end.grown import DATABASE, Servers
from tests.installation import SCRIPT, Installation

from docker_runner.project.dag_ids import dag_id


@dataclass
class Running:
    """An Airflow with an installation.

    Attributes:
        servers: what they stand on when they have grown; None when everything is in their folders.
    """

    airflow: LocalAirflow
    installation: Installation
    servers: Servers | None = None

    def everything(self) -> Iterator[tuple[Path, bytes]]:
        """All that they keep in files and servers, with its place; Airflow's home is in the installation's folder."""
        for path in sorted(self.installation.folder.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()
        if self.servers:
            for name, content in self.servers.everything():
                yield self.airflow.home / name, content

    def database(self) -> str:
        """Airflow's database as SQL."""
        if self.servers:
            return self.servers.postgres.dump(DATABASE).decode()
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as database:
            return "\n".join(database.iterdump())

    def run(self, name: str, *, component: str = SCRIPT, **params: Any) -> RunResult:
        """Run a configuration to its end."""
        return run_and_follow(self.airflow, dag_id(component, name), conf=params, timeout=400)

    def trigger(self, name: str, **params: Any) -> tuple[str, str]:
        """Start a run; give the DAG's and the run's id."""
        dag = dag_id(SCRIPT, name)
        with self.airflow.api() as api:
            known_dag(self.airflow, api, dag)
            return dag, api.trigger(dag, params)

    def wait(self, dag: str, run: str) -> RunResult:
        """Wait for a run that was started before."""
        with self.airflow.api() as api:
            state = api.wait(dag, run, timeout=400)
            return RunResult(dag, run, state, 0.0, task_results(api.tasks(dag, run)))

    def process(self, component: str) -> int:
        """The process of a part of Airflow, such as the triggerer."""
        lines = self.airflow.log_file("server").read_text().splitlines()
        return int([line for line in lines if f"{component} started as process" in line][-1].rpartition(" ")[2])

    def kill(self, component: str) -> None:
        """Kill a part of Airflow and what it has forked; it is started again after two seconds."""
        process = psutil.Process(self.process(component))
        for victim in (process, *process.children(recursive=True)):
            victim.kill()

    def log(self, result: RunResult, task: str) -> list[str]:
        """The lines of a task's last attempt."""
        attempt = next(item.attempt for item in result.tasks if item.task_id == task)
        with self.airflow.api() as api:
            entries = list(api.log(result.dag_id, result.run_id, task, attempt=attempt))
        return [str(entry.get("event", "")) for entry in entries]

    def xcom(self, result: RunResult, task: str) -> Any:
        """What a task returned."""
        with self.airflow.api() as api:
            return api.xcom(result.dag_id, result.run_id, task)


def states(result: RunResult) -> dict[str, str]:
    """State of each task by its id."""
    return {task.task_id: task.state for task in result.tasks}


def until(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """Wait until something holds; give what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found
