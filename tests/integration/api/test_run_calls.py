"""What starts jobs, against a real API server: which run of which DAG a request becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.installation import SCRIPT
from tests.integration.api.server import ApiServer

pytestmark = pytest.mark.airflow

INLINE = {"configData": {"parameters": {"script": "print('hello')"}}}
JOBS = "docker_runner_jobs"


@pytest.fixture(scope="module", autouse=True)
def configurations(server: ApiServer) -> None:
    """Configurations that Airflow knows as DAGs, and one that it does not."""
    server.installation.script("stored", "print('stored')")
    server.installation.configuration(
        "rows", {"parameters": {"script": "pass"}}, rows={name: {"parameters": {}} for name in ("one", "two")}
    )
    disabled = server.installation.script("disabled", "pass")
    (disabled.parent / "meta.json").write_text('{"name": "Disabled", "isDisabled": true}')
    server.known("stored", "rows", "disabled")
    with server.airflow_api() as api:
        from airflow_follow import known_dag

        known_dag(server.airflow, api, JOBS)


def run_of(server: ApiServer, job_id: str, dag: str = JOBS) -> dict[str, Any]:
    with server.airflow_api() as api:
        return api.run(dag, job_id)


def created(answer: Any) -> str:
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == status
    for word in words:
        assert word in answer.json()["message"]


@pytest.mark.rules("API-5", "API-10")
def test_a_configuration_in_the_request_runs_as_the_dag_that_takes_any(server: ApiServer) -> None:
    answer = server.as_("admin").call("POST", f"/{SCRIPT}/run", json=INLINE)
    job_id = created(answer)
    assert answer.json() == {"id": job_id, "url": f"{server.url}/docker-runner/jobs/{job_id}", "status": "waiting"}
    run = run_of(server, job_id)
    assert run["conf"] == {
        "component": SCRIPT, "config": "", "branch": "", "mode": "run", "config_data": INLINE["configData"]
    }  # fmt: skip
    assert run["triggering_user_name"] == "admin"
