"""The DAG that runs any configuration."""

from __future__ import annotations

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
