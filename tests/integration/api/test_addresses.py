"""Where the API says that it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from tests.installation import Installation
from tests.integration.api.clients import HEADER, TestClient, new_token

from docker_runner.storage.tokens import Permissions
from docker_runner_airflow.api.addresses import airflow_url, api_url
from docker_runner_airflow.api.application import create_application

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("", "http://called.example:8080/airflow"),
        ("/airflow/", "http://called.example:8080/airflow"),
        ("https://known.example/airflow/", "https://known.example/airflow"),
    ],
)
def test_addresses_are_those_that_airflow_is_configured_with_or_called_under(
    monkeypatch: pytest.MonkeyPatch, configured: str, expected: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", configured)
    request: Any = SimpleNamespace(base_url="http://called.example:8080/airflow/")
    assert airflow_url(request) == expected
    assert api_url(request) == f"{expected}/docker-runner"


def test_an_airflow_below_a_path_serves_the_api_and_its_page_below_it(installation: Installation) -> None:
    token = new_token(installation, "all", Permissions(can_manage=True)).secret
    airflow = FastAPI(root_path="/airflow")
    airflow.mount("/docker-runner", create_application(installation.settings))
    with TestClient(airflow, raise_server_exceptions=False) as client:
        assert client.get("/airflow/docker-runner/health").status_code == 200
        assert client.get("/airflow/docker-runner/openapi.json").status_code == 401
        page = client.get("/airflow/docker-runner/docs", headers={HEADER: token})
        login = client.get("/airflow/docker-runner/docs", headers={"Accept": "text/html"})
    assert "url: '/airflow/docker-runner/openapi.json'" in page.text
    assert '"/airflow/api/v2/auth/login?next=%2Fairflow%2Fdocker-runner%2Fdocs"' in login.text


@pytest.fixture
def installation(tmp_path: Any) -> Installation:
    return Installation(tmp_path)
