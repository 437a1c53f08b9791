"""Jobs that somebody asks for, in a task: what cannot be run is the run's own error, and tells what is wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import UserError
from docker_runner.storage import open_ledger
from docker_runner.storage.events import Event, EventQuery

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def asked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation in which a task is at work, without an engine."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    installation = Installation(tmp_path)
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    return installation


def work(*, component_id: str = SCRIPT, config_id: str = "", branch: str = "", **asked: Any) -> dict[str, Any]:
    """What the task of a job does."""
    from docker_runner_airflow.merged_operator import MergedOperator

    task = MergedOperator(component_id=component_id, config_id=config_id, branch=branch, asked=asked)
    ti = SimpleNamespace(dag_id="any", try_number=1, max_tries=0)
    return task.work({"ti": ti, "run_id": "manual__2026.5"})


def events(installation: Installation) -> list[Event]:
    return list(open_ledger(installation.settings.storage).events(EventQuery()))


@pytest.mark.rules("API-36", "LC-6", "LC-86")
@pytest.mark.parametrize(
    ("job", "problem"),
    [
        ({"config_id": "gone"}, f"There is no configuration {SCRIPT}/gone in the project"),
        ({}, f"Name a configuration of {SCRIPT}, or give one with the run"),
        ({"component_id": "vendor.nobody"}, "The component 'vendor.nobody' is not registered"),
        ({"component_id": "x" * 300}, "is not registered"),
        ({"config_id": "gone", "branch": "develop"}, "There is no branch 'develop'"),
        ({"config_id": "gone", "branch": "../home"}, "There is no branch '../home'"),
        ({"config_id": "main", "mode": "sandbox"}, "sandbox needs a configuration"),
        ({"api": "text"}, "api must be a map"),
    ],
)
def test_what_cannot_be_run_is_the_jobs_own_error(asked: Installation, job: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        work(parent_run_id="12", **job)
    (event,) = events(asked)
    assert problem in event.message
    assert (event.type.value, event.results["error"]) == ("error", "user")
    assert event.source.run_id == "12.manual__2026.5"
    assert asked.workspaces == []


@pytest.mark.rules("API-24", "LC-65")
def test_a_sandbox_is_a_job_like_any_other(asked: Installation) -> None:
    asked.load("in.c-main.t", "id\n1\n")
    data = {"storage": {"input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]}}}
    manifests = work(component_id="sandbox", mode="sandbox", format="json", config_data=data, api={"behavior": {}})
    (file,) = asked.files("sandbox", "docker")
    assert manifests["unload_output"]["files"][0]["id"] == file.id
    assert manifests["create_workspace"]["mode"] == "sandbox"
    assert {event.source.component_id for event in events(asked)} == {"sandbox"}
    assert asked.workspaces == []
