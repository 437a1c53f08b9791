"""The lines of docs/api.md, run with curl as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.integration.api.calls import CALLS
from tests.integration.api.server import ApiServer

from docker_runner.project.configuration import Project

pytestmark = [pytest.mark.airflow, pytest.mark.engine]

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
CURL = re.compile(r'^(?:\w+=\$\()?curl -sS .*?"\$(API|AIRFLOW)(/[^"?]*)', re.MULTILINE)


def shell_lines() -> list[str]:
    """The lines of all shell blocks of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def curl_lines() -> list[str]:
    """Those that call the API and say what the answer is."""
    return [line for line in shell_lines() if line.startswith("curl ")]


@pytest.fixture(scope="module")
def variables(server: ApiServer) -> dict[str, str]:
    """The variables of the page, which its own lines make where they can."""
    server.known("new-york-reports", component="sample.airport-report")
    with server.airflow_api() as api:
        api.set_paused("sample.airport-report--new-york-reports", False)
    job = server.as_("manage").call(
        "POST", "/jobs", json={"component": "sample.airport-report", "config": "new-york-reports"}
    )
    assert job.status_code == 201, job.text
    version = Project(server.installation.settings.project).configuration("sample.daily-delays", "new-york-delays")
    return {
        "AIRFLOW": server.url,
        "API": f"{server.url}/docker-runner",
        "PASSWORD": server.airflow.password("admin"),
        "TOKEN": server.tokens["manage"].secret,
        "JOB": job.json()["id"],
        "VERSION": version.version,
    }


def run(script: str, variables: dict[str, str]) -> str:
    """Run some lines in a shell."""
    environment = {**os.environ, **variables, "no_proxy": "*"}
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_calls_everything_that_there_is() -> None:
    called = {path for _, path in CURL.findall("\n".join(curl_lines()))}
    for call in CALLS:
        pattern = re.sub(r"\{\w+\}", "[^/]+", call.path)
        assert any(re.fullmatch(pattern, path) for path in called), f"docs/api.md does not call {call.path}"


@pytest.mark.parametrize("line", curl_lines(), ids=lambda line: CURL.search(line)[2])
def test_the_answer_is_the_one_that_the_page_shows(line: str, server: ApiServer, variables: dict[str, str]) -> None:
    command, _, shown = line.partition("  #")
    if "$USER_TOKEN" in command:
        (login,) = [one for one in shell_lines() if one.startswith("USER_TOKEN=")]
        command = f"{login}\n{command}"
    status, _, words = shown.strip().partition(" ")
    body, _, code = run(f"{command.strip()} -w '\\n%{{http_code}}'", variables).rpartition("\n")
    assert code == status, body
    if words.startswith("{"):
        expected = words.partition(", …")[0].partition("…")[0]
        first_key = re.match(r'\{"([^"]+)"', expected)
        assert first_key
        assert first_key[1] in json.loads(body)
    elif words.startswith("["):
        assert isinstance(json.loads(body), list)
    elif words.endswith("…"):
        assert words.removesuffix("…") in body


def test_the_page_makes_its_storage_token_as_it_says(server: ApiServer) -> None:
    (line,) = [one for one in shell_lines() if one.startswith("TOKEN=")]
    token = run(f'{line}\necho "$TOKEN"', server.installation.environment).strip()
    assert server.as_().call("GET", "/jobs", headers={"X-StorageApi-Token": token}).status_code == 200


def test_every_setting_of_the_api_is_listed() -> None:
    source = (PAGE.parents[1] / "include" / "docker_runner" / "settings.py").read_text()
    settings = set(re.findall(r"DOCKER_RUNNER_API_\w+", source))
    assert settings == set(re.findall(r"DOCKER_RUNNER_API_\w+", PAGE.read_text()))
