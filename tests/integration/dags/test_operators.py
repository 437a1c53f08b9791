"""What a task leaves in Airflow when its step fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.installation import Installation

from docker_runner.errors import UserError
from docker_runner.interface.result import CrashedComponentError, FailedComponentError
from docker_runner.job.plan import Kind, Step
from docker_runner.storage import open_ledger
from docker_runner.storage.events import EventQuery

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TaskInstance:
    """As much of Airflow's as a failing task uses."""

    dag_id = "dag"
    max_tries = 3
    try_number = 1

    run_id = "run"
    task_id = "run_job"

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.created: dict[str, Any] | None = None

    def xcom_pull(self, *, task_ids: str) -> dict[str, Any] | None:
        return self.created if task_ids == "create_workspace" else None

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, Any]:
        assert (dag_id, run_ids) == (self.dag_id, [self.run_id])
        return {self.run_id: self.states}

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.mark.rules("US-2", "US-4")
@pytest.mark.parametrize("error", [FailedComponentError("x"), CrashedComponentError("x"), UserError("x")])
@pytest.mark.parametrize("usage", [None, [{"metric": "calls", "value": 5}]])
def test_usage_of_a_component_that_failed_is_kept(error: Any, usage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner_airflow.operators import RunComponentOperator
    from docker_runner_airflow.retries import StepFailed

    if not isinstance(error, UserError) or isinstance(error, FailedComponentError):
        error.usage = usage
    else:
        usage = None

    def work(_self: Any, _context: Any) -> None:
        raise error

    monkeypatch.setattr(RunComponentOperator, "work", work)
    ti = TaskInstance()
    with pytest.raises(StepFailed):
        RunComponentOperator.of(Step("run_component", Kind.RUN_COMPONENT, stage=0)).execute({"ti": ti, "run_id": "run"})
    assert ti.pushed == ({"usage": usage} if usage else {})


@pytest.mark.parametrize(
    ("states", "named"),
    [
        ({"a.run": "failed", "a.unload": "upstream_failed", "b.load": "upstream_failed"}, "a.run"),
        ({"a.run": "failed", "b.run": "removed", "b.unload": "upstream_failed"}, "a.run, b.run"),
        ({"a.run": "skipped", "a.unload": "upstream_failed"}, "a.unload"),
    ],
)
def test_a_run_that_failed_names_the_tasks_that_did_and_not_what_only_followed(
    states: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner.job import steps
    from docker_runner.job.plan import CLEAN_UP
    from docker_runner_airflow import operators
    from docker_runner_airflow.retries import StepFailed

    told: list[str] = []
    monkeypatch.setattr(operators, "task_states", lambda _: states)
    monkeypatch.setattr(steps, "clean_up", lambda *_, problem: told.append(problem) or {})
    task = operators.CleanUpOperator.of(CLEAN_UP, own={"has_rows": True})
    with pytest.raises(StepFailed, match="Cleaned up"):
        task.execute({"ti": TaskInstance(), "run_id": "run"})
    assert told == [f"The run failed: see {named}."]


@pytest.mark.rules("LC-6")
def test_a_configuration_that_cannot_be_read_tells_its_error_in_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner_airflow.operators import BrokenOperator
    from docker_runner_airflow.retries import StepFailed

    installation = Installation(tmp_path)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    ids = {"component_id": "c", "config_id": "broken"}
    task = BrokenOperator(task_id="broken_configuration", error="It has no parameters.", **ids)
    with pytest.raises(StepFailed, match="It has no parameters"):
        task.execute({"ti": TaskInstance(), "run_id": "run", "params": {"parent_run_id": "top"}})
    (event,) = open_ledger(installation.settings.storage).events(EventQuery(job="dag/run"))
    assert (event.message, event.results, event.source.run_id) == (
        "It has no parameters.", {"error": "user"}, "top.run",
    )  # fmt: skip


@pytest.mark.rules("LC-8")
@pytest.mark.parametrize("done", [{}, {"one.unload_output": {"tables": [{"id": "out.c-a.t"}]}}])
def test_a_whole_run_that_failed_leaves_what_it_had_done_before(
    done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner.job.merged import MergedRun
    from docker_runner_airflow.merged_operator import DONE, MergedOperator
    from docker_runner_airflow.retries import StepFailed

    def fail(run: MergedRun) -> None:
        run.manifests |= done
        raise UserError("The second row failed.")

    monkeypatch.setattr(MergedRun, "run", fail)
    ti = TaskInstance()
    with pytest.raises(StepFailed, match="The second row failed"):
        MergedOperator(component_id="c", config_id="x", branch="main").execute(
            {"ti": ti, "run_id": "run", "params": {}}
        )
    assert ti.pushed == ({DONE: done} if done else {})


@pytest.mark.rules("LC-10")
@pytest.mark.parametrize("state", ["running", "failed", "restarting"])
def test_a_task_that_was_stopped_a_moment_ago_leaves_its_container_to_nobody(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    from docker_runner.job.supervision import StillRunningError
    from docker_runner_airflow import api_server
    from docker_runner_airflow.merged_operator import MergedOperator
    from docker_runner_airflow.retries import StepFailed

    def leave(_self: Any, _context: Any) -> None:
        raise StillRunningError("0123456789abcdef", 0)

    stopped: list[str] = []
    monkeypatch.setattr(MergedOperator, "work", leave)
    monkeypatch.setattr(MergedOperator, "stop", lambda self: stopped.append(self._job_id))
    monkeypatch.setattr(api_server, "answers", lambda: True)
    task = MergedOperator(component_id="c", config_id="x", branch="main")
    ti = TaskInstance()
    ti.states = {"run_job": state}
    with pytest.raises(TaskDeferred if state == "running" else StepFailed):
        task.execute({"ti": ti, "run_id": "run", "params": {}})
    assert stopped == ([] if state == "running" else ["dag/run"])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation that the environment names."""
    installation = Installation(tmp_path)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    return installation


@pytest.mark.parametrize("task", ["unload_output", "clean_up"])
def test_a_run_that_goes_on_where_its_folder_is_not_shared_fails_at_once_and_says_what_to_share(
    task: str, installed: Installation
) -> None:
    from docker_runner.job.plan import CLEAN_UP
    from docker_runner.job.shared_folder import identity_of
    from docker_runner_airflow import operators
    from docker_runner_airflow.retries import StepFailed

    def made() -> Any:
        if task == "clean_up":
            return operators.CleanUpOperator.of(CLEAN_UP, own={"has_rows": False})
        return operators.UnloadOutputOperator.of(Step("unload_output", Kind.UNLOAD_OUTPUT))

    ti = TaskInstance()
    ti.states = {"run_component": "success"}
    context = {"ti": ti, "run_id": "run"}
    ti.created = {operators.FOLDER: "that-of-another-machine"}
    with pytest.raises(StepFailed, match="DOCKER_RUNNER_WORKSPACES") as refused:
        made().execute(context)
    assert not refused.value.can_be_repeated
    ti.created = {operators.FOLDER: identity_of(installed.settings.workspaces)}
    if task == "clean_up":
        # It was cleared alone: there is nothing left to do.
        assert made().execute(context) == {"containers": 0}
        return
    with pytest.raises(StepFailed, match="clear create_workspace") as missing:
        made().execute(context)
    assert missing.value.can_be_repeated


def test_a_run_in_one_task_does_not_begin_anew_on_a_machine_without_its_folder(installed: Installation) -> None:
    from docker_runner_airflow.merged_operator import MergedOperator
    from docker_runner_airflow.retries import StepFailed

    installed.script("whole", "print(1)")
    task = MergedOperator(component_id="test.script", config_id="whole", branch="main")
    with pytest.raises(StepFailed, match="DOCKER_RUNNER_WORKSPACES") as refused:
        task.resume({"ti": TaskInstance(), "run_id": "run", "params": {}}, {"watched": True})
    assert not refused.value.can_be_repeated
    assert installed.workspaces == []
