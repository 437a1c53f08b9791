"""Runs of one configuration work one after the other, whatever DAG they are runs of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.rules("LC-11")]
JOBS = "docker_runner_jobs"


class Airflow:
    """What tasks are told: which runs are running or queued, and which DAGs are paused."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], str] = {}
        self.paused: set[str] = set()

    def task(self, dag: str, run: str, *, attempt: int = 1) -> Any:
        """What the first task of a run is told of itself and of others."""
        self.states[dag, run] = "running"
        return SimpleNamespace(
            dag_id=dag,
            run_id=run,
            try_number=attempt,
            max_tries=3,
            xcom_push=lambda **_: None,
            get_dr_count=lambda *, dag_id, run_ids, states: int(self.states.get((dag_id, run_ids[0])) in states),
            get_dag=lambda dag_id: SimpleNamespace(is_paused=dag_id in self.paused),
        )


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    from docker_runner_airflow import api_server

    installation = Installation(tmp_path)
    installation.component(SCRIPT)
    installation.script("one", "pass")
    installation.script("two", "pass")
    installation.configuration("one", {}, branch="dev")
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(api_server, "triggerer_runs", lambda: True)
    return installation


def own_run(airflow: Airflow, run: str, *, config: str = "one", branch: str = "main", **params: Any) -> dict[str, Any]:
    """The first task of a run of a configuration's own DAG."""
    from docker_runner.job.plan import CREATE_WORKSPACE
    from docker_runner_airflow.operators import CreateWorkspaceOperator

    ids = {"component_id": SCRIPT, "config_id": config, "branch": branch, "rows": ("",)}
    task = CreateWorkspaceOperator.of(CREATE_WORKSPACE, own=ids)
    dag = f"{SCRIPT}--{config}"
    return task.execute({"ti": airflow.task(dag, run), "run_id": run, "params": params})


def job_in_line(airflow: Airflow, run: str, *, after: list[list[str]]) -> None:
    """A job that the API has asked to let others go first."""
    from docker_runner_airflow.jobs_dag import jobs_dag

    (task,) = jobs_dag().tasks
    task.execute(
        {"ti": airflow.task(JOBS, run), "run_id": run, "params": {"component": SCRIPT, "api": {"after": after}}}
    )


def job(airflow: Airflow, run: str, *, attempt: int = 1, **params: Any) -> dict[str, Any]:
    """A job that runs as the DAG of all jobs; what it does in its turn is left out."""
    from docker_runner_airflow.jobs_dag import jobs_dag

    (task,) = jobs_dag().tasks
    task.outlets = []
    conf = {"component": SCRIPT, "config": "one", **params}
    ti = airflow.task(JOBS, run, attempt=attempt)
    return dict(task.begin({"ti": ti, "run_id": run, "params": conf}))


@pytest.fixture(autouse=True)
def _only_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner.job.merged import MergedRun

    monkeypatch.setattr(MergedRun, "run", lambda run: {"create_workspace": {"title": run.resolve().title}})


def waits_for(begin: Any) -> str:
    """The run that a task waits for in the triggerer."""
    from airflow.sdk.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as left:
        begin()
    assert left.value.method_name == "begin"
    (run,) = left.value.trigger.run_ids
    return str(run)


def test_a_run_of_its_own_dag_waits_for_a_job_with_the_same_data_and_the_other_way_round(
    installation: Installation, airflow: Airflow
) -> None:
    assert job(airflow, "first")
    assert waits_for(lambda: own_run(airflow, "scheduled")) == "first"
    assert job(airflow, "first", attempt=2), "it has the turn already"
    airflow.states[JOBS, "first"] = "success"
    assert own_run(airflow, "scheduled")
    assert waits_for(lambda: job(airflow, "second")) == "scheduled"
    assert waits_for(lambda: job(airflow, "first", attempt=3)) == "scheduled", "somebody has cleared it"
    airflow.states[f"{SCRIPT}--one", "scheduled"] = "failed"
    assert job(airflow, "second")


def test_what_stores_nothing_under_the_same_configuration_does_not_wait(
    installation: Installation, airflow: Airflow
) -> None:
    job(airflow, "first")
    data = {"parameters": {"script": "pass"}}
    assert job(airflow, "debug", mode="debug")
    assert job(airflow, "inline", config="", config_data=data)
    assert job(airflow, "inline too", config="", config_data=data)
    assert job(airflow, "branch", branch="dev")
    assert own_run(airflow, "two", config="two")
    assert waits_for(lambda: job(airflow, "named", branch="main", config_data=data)) == "first"
    assert waits_for(lambda: job(airflow, "forced", mode="forceRun")) == "first"


def test_a_job_that_has_its_turn_does_not_wait_for_one_that_was_there_before_and_was_begun_anew(
    installation: Installation, airflow: Airflow
) -> None:
    after = {"after": [[f"{SCRIPT}--one", "cleared"]]}
    assert job(airflow, "mine", api=after)
    airflow.states[f"{SCRIPT}--one", "cleared"] = "queued"
    assert waits_for(lambda: own_run(airflow, "cleared")) == "mine"
    assert job(airflow, "mine", api=after, attempt=2)


def test_runs_that_were_cleared_together_begin_in_the_order_in_which_airflow_starts_them(
    installation: Installation, airflow: Airflow
) -> None:
    dag = f"{SCRIPT}--one"
    for night in ("night 1", "night 2"):
        assert own_run(airflow, night)
        airflow.states[dag, night] = "success"
    # Airflow does not start the second one before the first one has ended.
    airflow.states[dag, "night 2"] = "queued"
    assert own_run(airflow, "night 1")
    airflow.states[dag, "night 1"] = "success"
    assert own_run(airflow, "night 2")
    # One that has begun anew is at work: what is another DAG's waits for it, until it has ended or is cleared again.
    assert waits_for(lambda: job(airflow, "a job")) == "night 2"


def test_who_waits_in_the_triggerer_goes_on_also_when_the_other_run_is_cleared_as_soon_as_it_has_ended(
    installation: Installation, airflow: Airflow
) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    assert own_run(airflow, "mine")
    with pytest.raises(TaskDeferred) as left:
        job(airflow, "a job")
    assert {str(state) for state in left.value.trigger.states} == {"success", "failed", "queued"}
    airflow.states[f"{SCRIPT}--one", "before"] = "queued"
    with pytest.raises(TaskDeferred) as left:
        job_in_line(airflow, "in line", after=[[f"{SCRIPT}--one", "before"]])
    assert {str(state) for state in left.value.trigger.states} == {"success", "failed"}


def test_without_a_triggerer_the_task_comes_again_and_a_paused_dag_is_told(
    installation: Installation, airflow: Airflow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException

    from docker_runner_airflow import api_server

    monkeypatch.setattr(api_server, "triggerer_runs", lambda: False)
    caplog.set_level("INFO", "docker_runner")
    own_run(airflow, "scheduled")
    airflow.paused.add(f"{SCRIPT}--one")
    with pytest.raises(AirflowRescheduleException) as again:
        job(airflow, "second")
    assert timedelta() < again.value.reschedule_date - datetime.now(UTC) < timedelta(seconds=15)
    assert f"Waiting for the run scheduled of {SCRIPT}--one" in caplog.text
    assert "Its DAG is paused: switch that on" in caplog.text
