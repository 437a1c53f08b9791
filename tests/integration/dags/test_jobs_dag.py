"""The DAG that runs any configuration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docker_runner.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def what(**conf: Any) -> dict[str, Any]:
    """What a run does that was asked with this."""
    from docker_runner_airflow.jobs_dag import jobs_dag

    dag = jobs_dag()
    dag.params.update(conf)
    (task,) = dag.tasks
    return dict(task.what({"params": dag.params.validate()}))


@pytest.mark.rules("LC-11")
def test_its_runs_never_wait_for_each_other_and_it_is_never_paused_by_itself() -> None:
    from docker_runner_airflow.jobs_dag import jobs_dag

    dag = jobs_dag()
    assert dag.max_active_runs >= 10_000
    assert dag.max_active_tasks >= 10_000
    assert not dag.is_paused_upon_creation
    assert dag.schedule is None
    assert [outlet.name for outlet in dag.tasks[0].outlets] == ["docker_runner_jobs"]


def test_a_run_does_what_its_conf_says(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"parameters": {"a": 1}}
    asked = {"mode": "run", "config_data": data, "tag": "1"}
    found = what(component="a.b", config="7", config_data=data, tag="1")
    assert found == {"component_id": "a.b", "config_id": "7", "branch": "", "asked": asked}
    assert what(component="a.b", configuration=data)["asked"] == {"mode": "run", "config_data": data}
    monkeypatch.setenv("DOCKER_RUNNER_BRANCH", "dev")
    assert what(component="a.b", config="7")["branch"] == "dev"
    assert what(component="a.b", config="7", branch="main")["branch"] == "main"
    assert what(mode="sandbox", config_data=data)["component_id"] == ""


@pytest.mark.parametrize(
    ("conf", "problem"),
    [
        ({}, "must name a component"),
        ({"config": "7"}, "must name a component"),
        ({"component": "a.b", "configuration": {"a": 1}, "config_data": {"b": 1}}, "give one"),
    ],
)
def test_a_run_of_nothing_fails_with_what_would_be_right(conf: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        what(**conf)


@pytest.mark.parametrize("conf", [{"component": {}}, {"mode": "fast"}, {"configuration": {"#a": "plain"}}])
def test_nonsense_and_plain_secrets_are_refused_by_the_form(conf: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        what(**{"component": "a.b", **conf})


def test_who_starts_a_job_on_the_data_of_a_configuration_must_be_allowed_to_trigger_its_dag_too() -> None:
    from docker_runner_airflow.api.starting import dags_to_trigger

    assert dags_to_trigger("docker_runner_jobs", "a.b--own") == ("docker_runner_jobs", "a.b--own")
    assert dags_to_trigger("a.b--own", "a.b--own") == ("a.b--own",)
    assert dags_to_trigger("docker_runner_jobs", "") == ("docker_runner_jobs",)


class Runs:
    """What a task is told of other runs: each is under way for a number of looks."""

    try_number = 1

    def __init__(self, **looks: int) -> None:
        self.looks = looks
        self.asked: list[tuple[str, str]] = []

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert states == ["queued", "running"]
        self.asked.append((dag_id, run_ids[0]))
        self.looks[run_ids[0]] -= 1
        return int(self.looks[run_ids[0]] >= 0)


def begun(runs: Runs, after: Any, monkeypatch: pytest.MonkeyPatch, *, triggerer: bool) -> list[str]:
    """Have a task wait for its turn; give what it did."""
    from docker_runner_airflow import api_server, job_operator
    from docker_runner_airflow.jobs_dag import jobs_dag

    done: list[str] = []
    monkeypatch.setattr(api_server, "triggerer_runs", lambda: triggerer)
    monkeypatch.setattr(job_operator.MergedOperator, "execute", lambda *_: done.append("worked"))
    (task,) = jobs_dag().tasks
    task.begin({"ti": runs, "params": {"api": {"after": after}}})
    return done


@pytest.mark.rules("LC-11")
def test_a_run_waits_until_those_before_it_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred

    after = [["a", "one"], ["b", "two"]]
    runs = Runs(one=0, two=1)
    # Without a triggerer the task comes again; in the meantime no worker is held.
    with pytest.raises(AirflowRescheduleException) as again:
        begun(runs, after, monkeypatch, triggerer=False)
    assert timedelta() < again.value.reschedule_date - datetime.now(UTC) < timedelta(seconds=15)
    assert runs.asked == [("a", "one"), ("b", "two")]
    # However long tasks stay with containers: those that wait would fill the workers of those that they wait for.
    monkeypatch.setenv("DOCKER_RUNNER_DEFER_AFTER", "-1")
    with pytest.raises(TaskDeferred) as left:
        begun(Runs(one=0, two=1), after, monkeypatch, triggerer=True)
    assert left.value.method_name == "begin"
    assert left.value.trigger.run_ids == ["two"]
    assert begun(Runs(one=0, two=0), after, monkeypatch, triggerer=True) == ["worked"]
    for nonsense in (None, "x", [["a"]], [{}], [[1, 2]]):
        assert begun(Runs(), nonsense, monkeypatch, triggerer=True) == ["worked"]
