"""What a task leaves in Airflow when its step fails."""

from __future__ import annotations

from typing import Any

import pytest

from docker_runner.errors import UserError
from docker_runner.interface.result import CrashedComponentError, FailedComponentError
from docker_runner.job.plan import Kind, Step

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class TaskInstance:
    """As much of Airflow's as a failing task uses."""

    dag_id = "dag"
    max_tries = 3

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

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
