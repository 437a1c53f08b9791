"""Airflow on one's own machine: it starts once, survives crashes, follows runs, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from tests.end_to_end.local_airflow import AirflowStartError, LocalAirflow, private_airflow, run_and_follow

pytestmark = pytest.mark.airflow

DAGS = """
import logging, os, sys, time
from pathlib import Path
from airflow.sdk import DAG, BaseOperator, Param

LOADED = "docker" in sys.modules and "duckdb" in sys.modules


class Nothing(BaseOperator):
    def execute(self, context):
        return {"loaded": LOADED, "params": dict(context["params"])}


class Refuses(BaseOperator):
    def execute(self, context):
        raise ValueError("storage.input.tables[0].source: no table in.c-main.orders")


class Speaks(BaseOperator):
    def execute(self, context):
        for number in range(3):
            logging.getLogger("docker_runner.component").info("row %d [done]", number)


class Waits(BaseOperator):
    def execute(self, context):
        self.over = False
        Path(os.environ["MARKS"], "waiting").touch()
        while not self.over:
            time.sleep(0.05)

    def on_kill(self):
        Path(os.environ["MARKS"], "killed").touch()
        self.over = True


with DAG("chain", schedule=None, params={"n": Param(1, type="integer")}):
    last = None
    for number in range(3):
        task = Nothing(task_id=f"t{number}")
        if last is not None:
            last >> task
        last = task

with DAG("refuses", schedule="@daily"):
    Refuses(task_id="load_tables") >> Speaks(task_id="run_component")

with DAG("speaks", schedule=None):
    Speaks(task_id="run_component")

with DAG("waits", schedule=None):
    Waits(task_id="run_component")

with DAG("configured", schedule=None, description=Path(os.environ["DOCKER_RUNNER_PROJECT"], "name").read_text()):
    Nothing(task_id="t")
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    folder = tmp_path_factory.mktemp("local_airflow")
    for name in ("dags", "project"):
        (folder / name).mkdir()
    (folder / "dags" / "all.py").write_text(DAGS)
    (folder / "project" / "name").write_text("first")
    environment = {"DOCKER_RUNNER_PROJECT": str(folder / "project"), "MARKS": str(folder)}
    with private_airflow(folder, dags=folder / "dags", environment=environment) as running:
        yield running


def _shown(airflow: LocalAirflow, dag_id: str) -> str:
    from rich.console import Console

    output = io.StringIO()
    run_and_follow(airflow, dag_id, console=Console(file=output, width=200), timeout=300)
    return output.getvalue()


def test_a_run_reports_its_tasks_in_order_with_their_values(airflow: LocalAirflow) -> None:
    result = run_and_follow(airflow, "chain", conf={"n": 7}, timeout=300)
    assert result.succeeded
    assert [(task.task_id, task.state) for task in result.tasks] == [(f"t{n}", "success") for n in range(3)]
    assert all(0 < task.seconds < 300 for task in result.tasks)
    with airflow.api() as api:
        left = json.loads(json.dumps(api.xcom("chain", result.run_id, "t2")))
    assert left == {"loaded": True, "params": {"n": 7}}, "libraries are there before the DAG file is read"


def test_a_component_shows_its_own_lines_only(airflow: LocalAirflow) -> None:
    shown = _shown(airflow, "speaks")
    lines = shown.splitlines()
    assert [line.partition(" ")[2] for line in lines if "row" in line] == [f"row {n} [done]" for n in range(3)]
    assert "DagBag" not in shown
    assert lines[-1].startswith("success in ")


def test_a_failed_run_shows_the_message_and_no_traceback_and_stays_paused(airflow: LocalAirflow) -> None:
    shown = _shown(airflow, "refuses")
    assert "load_tables failed: storage.input.tables[0].source: no table in.c-main.orders" in shown
    assert "Traceback" not in shown
    assert shown.splitlines()[-1].startswith("failed in ")
    with airflow.api() as api:
        assert api.dag("refuses")["is_paused"], "a DAG with a schedule does not start to follow it because it was tried"
        assert not api.dag("speaks")["is_paused"]


def test_a_cleared_task_runs_again(airflow: LocalAirflow) -> None:
    result = run_and_follow(airflow, "chain", timeout=300)
    with airflow.api() as api:
        api.clear("chain", result.run_id, ["t1"])
        assert api.wait("chain", result.run_id, timeout=300) == "success"
        assert {task["task_id"]: task["try_number"] for task in api.tasks("chain", result.run_id)} == {
            "t0": 1,
            "t1": 2,
            "t2": 2,
        }


def test_an_unknown_dag_is_refused_with_the_names_that_are_close(
    airflow: LocalAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_follow.NEW_FILE_SECONDS", 3)
    with pytest.raises(Exception, match=r"There is no DAG 'chian'\. There are: chain"):
        run_and_follow(airflow, "chian")


def test_a_wrong_param_is_refused_in_airflows_words(airflow: LocalAirflow) -> None:
    with pytest.raises(Exception, match="'many' is not of type 'integer'"):
        run_and_follow(airflow, "chain", conf={"n": "many"})


def test_a_changed_configuration_shows_within_seconds(airflow: LocalAirflow) -> None:
    project = Path(airflow.environment["DOCKER_RUNNER_PROJECT"])
    with airflow.api() as api:
        (project / "name").write_text("second")
        deadline = time.monotonic() + 90
        while api.dag("configured")["description"] != "second":
            assert time.monotonic() < deadline, "the change was not noticed"
            time.sleep(0.1)


def test_only_users_with_a_password_get_in(airflow: LocalAirflow) -> None:
    url = airflow.status().url
    assert url.startswith("http://127.0.0.1:")
    assert requests.get(f"{url}/api/v2/dags", timeout=60).status_code == 401
    wrong = requests.post(f"{url}/auth/token", json={"username": "admin", "password": "admin"}, timeout=60)
    assert wrong.status_code == 401
    assert requests.get(f"{url}/auth/token", timeout=60).status_code in {401, 403, 405}
    for name in ("passwords.json", "airflow.cfg"):
        assert stat.S_IMODE((airflow.home / name).stat().st_mode) == 0o600


def test_starting_what_runs_changes_nothing(airflow: LocalAirflow) -> None:
    before = airflow.status()
    with ThreadPoolExecutor(3) as pool:
        statuses = list(pool.map(lambda _: airflow.start(), range(3)))
    assert {status.pid for status in statuses} == {before.pid}


def test_a_scheduler_that_dies_is_replaced(airflow: LocalAirflow) -> None:
    # The line in the server's log names the process: "... scheduler started as process 123".
    lines = airflow.log_file("server").read_text().splitlines()
    pid = int([line for line in lines if "scheduler started as process" in line][-1].rpartition(" ")[2])
    os.kill(pid, signal.SIGKILL)
    assert run_and_follow(airflow, "chain", timeout=300).succeeded


@pytest.mark.thorough
def test_after_a_crash_everything_is_cleared_and_started_again_by_whoever_comes_first(airflow: LocalAirflow) -> None:
    crashed = airflow.status().pid
    os.kill(crashed, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while airflow.status().healthy:
        assert time.monotonic() < deadline, "a server whose parent is dead counts as healthy"
        time.sleep(0.05)
    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(lambda _: airflow.start(), range(2)))
    assert len({status.pid for status in statuses}) == 1
    assert statuses[0].pid != crashed
    assert _members(crashed) == []
    assert run_and_follow(airflow, "chain", timeout=300).succeeded


def test_stopping_lets_a_running_task_clean_up_and_leaves_no_process(airflow: LocalAirflow) -> None:
    marks = Path(airflow.environment["MARKS"])
    session, port = airflow.status().pid, int(airflow.status().url.rpartition(":")[2])
    with airflow.api() as api:
        run_id = api.trigger("waits")
        api.set_paused("waits", False)
        deadline = time.monotonic() + 240
        while not (marks / "waiting").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ("waits", run_id) in api.running()
    assert airflow.stop()
    assert (marks / "killed").exists()
    assert _members(session) == []
    assert not airflow.status().running
    assert not airflow.stop(), "nothing is left to stop"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_named_and_another_one_offered(airflow: LocalAirflow) -> None:
    assert not airflow.status().running
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(AirflowStartError, match=f"Port {port} is used by another program.*AIRFLOW_PORT={port + 1}"):
            replace(airflow, port=port, fixed_port=True).start()
    assert not airflow.status().running


def _members(session: int) -> list[int]:
    from airflow_processes import members_of

    return members_of(session)
