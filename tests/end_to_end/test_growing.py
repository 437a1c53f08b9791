"""What only shows when an installation has grown: several API processes that share one PostgreSQL."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import docker
import psutil
import pytest
import requests
from tests.end_to_end.running import Running, until
from tests.installation import SCRIPT, container_names
from tests.integration.api.server import ApiServer

pytestmark = [pytest.mark.airflow, pytest.mark.engine, pytest.mark.thorough]

JOBS = "docker_runner_jobs"
AT_ONCE = 8
TURN = """
import time
begin = time.time()
time.sleep(1)
open('/data/out/tables/t.csv', 'w').write(f'begin,end\\n{begin},{time.time()}\\n')
"""


@pytest.fixture(scope="module")
def api(grown: Running) -> ApiServer:
    return ApiServer(grown.airflow, grown.installation)


def at_once(api: ApiServer, body: dict[str, Any], count: int = AT_ONCE) -> list[requests.Response]:
    """Send one request many times at the same moment, each over a connection of its own."""
    headers = api.credentials("all")

    def post(_: int) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{api.url}/docker-runner/jobs", json=body, headers=headers, timeout=120)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(post, range(count)))


def test_several_processes_serve_the_api(grown: Running, api: ApiServer) -> None:
    server = psutil.Process(grown.process("api-server"))
    workers = [child for child in server.children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    assert api.as_("all").call("GET", "/jobs").status_code == 200
    assert "PostgreSQL" in str(grown.servers and grown.servers.postgres.execute("SELECT version()", "airflow"))


@pytest.mark.rules("LC-80")
def test_of_many_requests_with_one_deduplication_id_one_starts_a_job(grown: Running, api: ApiServer) -> None:
    body = {
        "component": SCRIPT, "deduplicationId": "nightly", "configData": {"parameters": {"script": "print('once')"}},
    }  # fmt: skip
    answers = at_once(api, body)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: AT_ONCE - 1}
    (job,) = {answer.json()["id"] for answer in answers}
    assert grown.wait(JOBS, job).state == "success"


@pytest.mark.rules("LC-11")
def test_jobs_of_one_configuration_that_come_at_once_take_turns(grown: Running, api: ApiServer) -> None:
    output = {"tables": [{"source": "t.csv", "destination": "out.c-grown.turns", "incremental": True}]}
    data = {"parameters": {"script": TURN}, "storage": {"output": output}}
    answers = at_once(api, {"component": SCRIPT, "config": "turns", "configData": data}, 3)
    assert [answer.status_code for answer in answers] == [201] * 3
    jobs = [answer.json()["id"] for answer in answers]
    assert len(set(jobs)) == 3
    assert [grown.wait(JOBS, job).state for job in jobs] == ["success"] * 3
    turns = sorted((float(row["begin"]), float(row["end"])) for row in grown.installation.rows("out.c-grown.turns"))
    assert len(turns) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(turns)), turns


@pytest.mark.rules("LC-10", "LC-85")
def test_a_job_that_is_terminated_when_its_worker_has_just_left_its_container_keeps_none(
    grown: Running, api: ApiServer
) -> None:
    body = {"component": SCRIPT, "configData": {"parameters": {"script": "import time; time.sleep(600)"}}}
    job = at_once(api, body, 1)[0].json()["id"]
    until(lambda: any(job in name for name in container_names()), seconds=120)
    # The worker leaves it half a second later (DOCKER_RUNNER_DEFER_AFTER), before it hears of the termination.
    until(lambda: age_of(job) > 5.5)
    assert api.as_("all").call("POST", f"/jobs/{job}/terminate").status_code == 202
    until(lambda: not any(job in name for name in container_names()), seconds=60)
    until(lambda: grown.installation.workspaces == [], seconds=60)
    assert grown.wait(JOBS, job).state == "failed"
    until(lambda: api.as_("all").call("GET", f"/jobs/{job}").json()["status"] == "terminated")


def age_of(job: str) -> float:
    """For how many seconds a job's container has been running."""
    client = docker.from_env()
    try:
        found = [item for item in client.containers.list(ignore_removed=True) if job in item.name]
        if not found:
            return 0.0
        started = datetime.fromisoformat(found[0].attrs["State"]["StartedAt"][:19] + "+00:00")
        return (datetime.now(UTC) - started).total_seconds()
    finally:
        client.close()
