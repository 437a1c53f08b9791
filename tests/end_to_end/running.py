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
from airflow_processes import last_lines
from tests.end_to_end.grown import DATABASE, Servers
from tests.installation import SCRIPT, Installation

from docker_runner.job.workspace import Workspace
from docker_runner.project.dag_ids import dag_id

WAIT = "import os, time\nfor _ in range(3000): os.path.exists('/data/go') or time.sleep(0.1)\n"
"""Code of a component that waits until the test lets it go on, with :meth:`Running.go`."""
TEST_AIRFLOW = {
    # An answer that tells of an error of the database tells which one.
    "AIRFLOW__API__EXPOSE_STACKTRACE": "True",
}
"""Variables of every Airflow that tests start."""


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

    def data(self, dag: str, run: str) -> Path:
        """The host's side of ``/data`` of the container that a run has now; a configuration without rows."""
        return Workspace(self.installation.settings.workspaces, f"{dag}/{run}").row("").data(0).root

    def go(self, dag: str, run: str, told: str = "") -> None:
        """Let a component that waits (:data:`WAIT`) go on, and tell it something, which is in the file ``/data/go``."""
        data = self.data(dag, run)
        (data / "tells").write_text(told)
        (data / "tells").replace(data / "go")

    def report(self) -> str:
        """For a test that failed: what has become of the last runs, and the last lines of the logs."""
        lines = []
        try:
            with self.airflow.api() as api:
                runs = api.call("GET", "/dags/~/dagRuns?order_by=-run_after&limit=6")["dag_runs"]
                for run in runs:
                    lines.append(f"{run['dag_id']} {run['dag_run_id']}: {run['state']}")
                    lines += [
                        f"    {task['task_id']}: {task['state']}, attempt {task['try_number']}, {task['start_date']}"
                        for task in api.tasks(run["dag_id"], run["dag_run_id"])
                        if task["state"] not in ("success", "skipped", None)
                    ]
        except Exception as error:  # what is asked may be what is broken
            lines.append(f"Airflow cannot be asked: {error!r}")
        for part in ("server", "scheduler", "api-server", "triggerer"):
            if (file := self.airflow.log_file(part)).exists():
                lines += [f"--- {file}", *(line[:300] for line in last_lines(file, 8).splitlines())]
        return "\n".join(lines)


def states(result: RunResult) -> dict[str, str]:
    """State of each task by its id."""
    return {task.task_id: task.state for task in result.tasks}


def until(condition: Callable[[], Any], *, seconds: float = 240) -> Any:
    """Wait until something holds; give what it gave. The limit only keeps a test from waiting for ever."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} s"
        time.sleep(0.2)
    return found
