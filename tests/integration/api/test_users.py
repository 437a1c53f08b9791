"""What Airflow's users may ask of the calls that start no jobs, with a real API server."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from tests.installation import SCRIPT, container_names
from tests.integration.api.server import ApiServer

from docker_runner.project.configuration import Project

pytestmark = [pytest.mark.airflow, pytest.mark.engine]

ASKED = "test.asked-by-users"


def message(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["message"])


@pytest.mark.rules("API-2", "API-16")
def test_an_action_needs_the_permission_to_start_jobs(server: ApiServer) -> None:
    server.installation.component(ASKED, {"network": "none", "synchronous_actions": ["look"]})
    body = {"configData": {"parameters": {"script": "print(json.dumps({'action': c['action']}))"}}}
    for caller in ("admin", "user", "all", "bucket"):
        answer = server.as_(caller).call("POST", f"/{ASKED}/action/look", json=body)
        assert (answer.status_code, answer.json()) == (200, {"action": "look"}), caller
    refused = server.as_("viewer").call("POST", f"/{ASKED}/action/look", json=body)
    assert "may not trigger the DAG docker_runner_jobs" in message(refused, 403)
    assert "may only read" in message(server.as_("read_only").call("POST", f"/{ASKED}/action/look", json=body), 400)


def test_an_action_whose_caller_has_gone_away_ends_and_leaves_nothing(server: ApiServer) -> None:
    server.installation.component(ASKED, {"network": "none", "synchronous_actions": ["look"]})
    root = server.installation.settings.workspaces
    waits = "import os, time\nfor _ in range(3000): os.path.exists('/data/go') or time.sleep(0.05)\nprint(1)"
    body = {"configData": {"parameters": {"script": waits}}}
    client = server.as_("all")
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.post(f"{server.url}/docker-runner/{ASKED}/action/look", json=body, timeout=2)
    deadline = time.monotonic() + 240
    for begun in (True, False):
        while (any(ASKED in name for name in container_names()) or any(root.glob(f"*{ASKED}*"))) is not begun:
            assert time.monotonic() < deadline, f"begun: {begun}"
            time.sleep(0.2)
        for config in root.glob(f"*{ASKED}*/**/config.json"):
            (config.parent / "go").touch()


@pytest.mark.rules("API-2", "API-22", "API-48")
def test_whoever_may_look_may_resolve_and_whoever_may_call_may_encrypt(server: ApiServer) -> None:
    server.installation.configuration("resolved", {"parameters": {"a": 1}})
    version = Project(server.installation.settings.project).configuration(SCRIPT, "resolved").version
    body: dict[str, Any] = {"componentId": SCRIPT, "configId": "resolved", "configVersion": version}
    for caller in ("viewer", "read_only"):
        answer = server.as_(caller).call("POST", "/configuration/resolve", json=body)
        assert answer.json()["configuration"]["parameters"] == {"a": 1}, caller
        answer = server.as_(caller).call("POST", f"/encrypt?componentId={SCRIPT}", json={"#a": "x"})
        assert answer.json()["#a"].startswith("KBC::ComponentSecure::"), caller
    assert message(server.as_().call("POST", "/configuration/resolve", json=body), 401)


@pytest.mark.rules("API-2")
def test_a_bearer_token_counts_before_a_session_and_a_session_alone_is_enough(server: ApiServer) -> None:
    secret = server.credentials("viewer")["Authorization"].removeprefix("Bearer ")
    cookie = {"_token": secret}
    page = server.as_().call("GET", "/docs", cookies=cookie)
    assert page.status_code == 200
    assert "/docker-runner/openapi.json" in page.text
    wrong = {"Authorization": "Bearer not.a.token"}
    assert "bearer token is not good" in message(server.as_().call("GET", "/docs", cookies=cookie, headers=wrong), 401)
    for headers in (
        wrong,
        {"Authorization": f"Basic {secret}"},
        {"Authorization": "Bearer"},
        {"Authorization": secret},
    ):
        assert message(server.as_().call("GET", "/openapi.json", headers=headers), 401)
    answer = server.as_().call("GET", "/docs", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    login = f"{server.url}/api/v2/auth/login?next=%2Fdocker-runner%2Fdocs"
    assert f'href="{login.removeprefix(server.url)}"' in answer.text
    with requests.Session() as session:
        session.trust_env = False
        way = session.get(login, allow_redirects=False, timeout=60)
    assert way.status_code == 307
    assert way.headers["Location"].endswith("next=%2Fdocker-runner%2Fdocs")


@pytest.mark.rules("API-2", "API-4")
def test_a_page_of_somebody_else_does_nothing_with_the_session_of_whoever_is_logged_in(server: ApiServer) -> None:
    cookie = {"_token": server.credentials("admin")["Authorization"].removeprefix("Bearer ")}
    host = server.url.removeprefix("http://")

    def stopped(**headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.as_().call("POST", "/jobs/123456/terminate", cookies=cookie, headers=named)

    for headers in (
        {"Sec_Fetch_Site": "cross-site", "Origin": "https://elsewhere.example"},
        {"Sec_Fetch_Site": "same-site", "Origin": f"http://{host}"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ):
        assert "Another page" in message(stopped(**headers), 403), headers
    for headers in ({}, {"Sec_Fetch_Site": "same-origin"}, {"Origin": f"http://{host}"}):
        assert message(stopped(**headers), 404), headers
    elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert server.as_().call("GET", "/jobs", cookies=cookie, headers=elsewhere).status_code == 200
    assert message(server.as_("admin").call("POST", "/jobs/123456/terminate", headers=elsewhere), 404)


def test_airflow_shows_the_api_in_its_menu_and_no_trouble_with_the_plugin(server: ApiServer) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(server.credentials("admin"))
        errors = session.get(f"{server.url}/api/v2/plugins/importErrors", timeout=60).json()
        [plugin] = session.get(f"{server.url}/api/v2/plugins", timeout=60).json()["plugins"]
    assert errors["import_errors"] == []
    [view] = plugin["external_views"]
    assert (view["href"], view["destination"]) == ("docker-runner/docs", "nav")
