"""Jobs that are started over HTTP, and run by a real Airflow to their end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.end_to_end.running import Running
from tests.integration.api.server import ApiServer

pytestmark = [pytest.mark.airflow, pytest.mark.engine]
JOBS = "docker_runner_jobs"
TASK = "run_job"


@pytest.fixture(scope="module")
def api(running: Running) -> ApiServer:
    return ApiServer(running.airflow, running.installation)


def started(api: ApiServer, path: str, body: dict[str, Any], *, caller: str = "admin") -> str:
    answer = api.as_(caller).call("POST", path, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def writing(table: str, text: str = "a\\n1\\n") -> dict[str, Any]:
    """A configuration that writes a table."""
    script = f"open('/data/out/tables/t.csv', 'w').write('{text}')"
    storage = {"output": {"tables": [{"source": "t.csv", "destination": table}]}}
    return {"parameters": {"script": script}, "storage": storage}


@pytest.mark.rules("API-10")
def test_a_configuration_in_the_request_runs_and_its_table_is_stored(running: Running, api: ApiServer) -> None:
    job = started(api, "/test.script/run", {"configData": writing("out.c-inline.t")})
    result = running.wait(JOBS, job)
    assert result.state == "success"
    assert running.installation.rows("out.c-inline.t") == [{"a": "1"}]
