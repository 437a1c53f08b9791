"""Components get the OAuth credentials that their configuration names, and nobody else gets to see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ApplicationError, ConfigurationError
from docker_runner.job.action import run_action
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project

pytestmark = pytest.mark.engine

RECORD = {
    "authorizedFor": "me",
    "appKey": "app",
    "#data": {"access_token": "s3cret-1", "scope": "read.calendar"},
    "#appSecret": "s3cret-2",
}
SCRIPT_TEXT = """
given = c['authorization']['oauth_api']
print(json.dumps(sorted(given)), sorted(given['credentials']))
print(given['credentials']['#data'], given['credentials']['#appSecret'], len(given['credentials']['#appSecret']))
answer = json.loads(given["credentials"]["#data"])
print("token", answer["access_token"], "for", answer["scope"])
"""


def store(installation: Installation, credentials_id: str = "7", *, component: str = SCRIPT) -> None:
    done = installation.command("oauth", "add", component, credentials_id, input=json.dumps(RECORD))
    assert done.returncode == 0, done.stderr


def remains(folder: Path) -> str:
    """Everything that is left in the files of an installation."""
    return "\n".join(path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file())


@pytest.mark.rules("AU-3", "AU-4", "LG-20")
def test_a_run_gets_the_stored_credentials_decrypted_and_shows_them_nowhere(installation: Installation) -> None:
    store(installation)
    authorization = {"oauth_api": {"id": 7, "version": 3}}
    installation.script("main", SCRIPT_TEXT, authorization=authorization)
    result = installation.run("main")
    told = "\n".join(installation.lines)
    assert "[\"credentials\"] ['#appSecret', '#data', 'appKey', 'authorizedFor', 'created', 'id']" in told
    assert "[hidden] [hidden] 8" in told
    assert "token [hidden] for read.calendar" in told
    everything = told + json.dumps(result.manifests) + remains(installation.folder)
    assert "s3cret" not in everything.replace(SCRIPT_TEXT, "")


@pytest.mark.rules("AU-3")
def test_an_action_gets_them_too(installation: Installation) -> None:
    installation.component("test.actions", {"synchronous_actions": ["look"]})
    store(installation, component="test.actions")
    settings = installation.settings
    content = {
        "authorization": {"oauth_api": {"id": "7"}},
        "parameters": {"script": "print(json.dumps(len(c['authorization']['oauth_api']['credentials']['#data'])))"},
    }
    registry = ComponentRegistry(settings.components)
    project = Project(settings.project)
    answer = run_action(registry.get("test.actions"), "look", content, installation.tools(), project=project)
    assert answer == len(json.dumps(RECORD["#data"]))


@pytest.mark.rules("AU-3")
def test_credentials_of_another_component_are_not_found(installation: Installation) -> None:
    installation.component("another.component")
    store(installation, component="another.component")
    installation.script("main", "print('has run')", authorization={"oauth_api": {"id": "7"}})
    with pytest.raises(ConfigurationError, match=r"test\.script/main: authorization\.oauth_api\.id: .*oauth add"):
        installation.run("main")
    assert installation.lines == []
    assert installation.workspaces == []


@pytest.mark.rules("AU-3")
def test_a_broker_that_does_not_answer_is_no_fault_of_the_user(installation: Installation) -> None:
    installation.variables |= {"DOCKER_RUNNER_OAUTH": "http://127.0.0.1:9", "DOCKER_RUNNER_KBC_TOKEN": "1-2-token"}
    installation.script("main", "print('has run')", authorization={"oauth_api": {"id": "7"}})
    with pytest.raises(ApplicationError, match=r"oauth_api\.id: The OAuth service .* does not answer") as error:
        installation.run("main")
    assert "1-2-token" not in str(error.value)
    assert installation.workspaces == []
