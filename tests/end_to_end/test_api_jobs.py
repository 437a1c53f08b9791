"""Jobs that are started over HTTP, and run by a real Airflow to their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.running import Running, until
from tests.installation import SCRIPT, container_names
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


def writing(table: str) -> dict[str, Any]:
    """A configuration that writes a table."""
    script = "import os; open('/data/out/tables/t.csv', 'w').write('id\\n' + os.environ['KBC_RUNID'] + '\\n')"
    storage = {"output": {"tables": [{"source": "t.csv", "destination": table}]}}
    return {"parameters": {"script": script}, "storage": storage}


def left_of(running: Running, secret: str) -> list[Path]:
    """What Airflow and the runner keep in which a text stands."""
    return [place for place, content in running.everything() if secret.encode() in content]


@pytest.mark.rules("API-10", "LC-86", "API-14", "LC-63")
def test_a_configuration_in_the_request_runs_and_one_that_is_debugged_leaves_snapshots(
    running: Running, api: ApiServer
) -> None:
    answer = api.as_("admin").call(
        "POST", f"/{SCRIPT}/run", json={"configData": writing("out.c-inline.t")}, headers={"X-KBC-RunId": "77"}
    )
    running.installation.configuration("debugged", writing("out.c-debugged.t"))
    debugged = started(api, f"/{SCRIPT}/debug", {"config": "debugged"})
    assert running.wait(JOBS, answer.json()["id"]).state == "success"
    assert running.wait(JOBS, debugged).state == "success"
    assert running.installation.rows("out.c-inline.t") == [{"id": f"77.{answer.json()['id']}"}]
    assert "out.c-debugged.t" not in running.installation.tables()
    assert [file.name for file in running.installation.files("debug", f"jobId:{debugged}")] == [
        "stage_0.zip", "stage_output.zip"
    ]  # fmt: skip


def test_two_jobs_that_bring_their_configuration_run_at_once(running: Running, api: ApiServer) -> None:
    slow = started(api, f"/{SCRIPT}/run", {"configData": {"parameters": {"script": "import time; time.sleep(300)"}}})
    until(lambda: any(slow in name for name in container_names()))
    fast = started(api, f"/{SCRIPT}/run", {"configData": {"parameters": {"script": "print('fast')"}}})
    assert running.wait(JOBS, fast).state == "success"
    with running.airflow.api() as airflow:
        assert airflow.run(JOBS, slow)["state"] == "running"
        airflow.call("PATCH", f"/dags/{JOBS}/dagRuns/{slow}", json={"state": "failed"})
    until(lambda: not any(slow in name for name in container_names()))


@pytest.mark.rules("API-2", "API-33", "API-36")
def test_a_job_may_do_what_its_token_allows_and_nothing_tells_the_token(running: Running, api: ApiServer) -> None:
    running.installation.load("in.c-one.t", "a\n1\n")
    running.installation.load("in.c-two.t", "a\n1\n")
    script = "import json; print(len(json.load(open('/data/config.json'))['parameters']['#p']))"
    jobs = {}
    for bucket in ("in.c-one", "in.c-two"):
        storage = {"input": {"tables": [{"source": f"{bucket}.t"}]}}
        content = {"parameters": {"script": script, "#p": "marked-secret-of-a-request"}, "storage": storage}
        jobs[bucket] = started(api, f"/{SCRIPT}/run", {"configData": content}, caller="bucket")
    nowhere = started(api, f"/{SCRIPT}/run", {"config": "nowhere"}, caller="all")
    assert running.wait(JOBS, jobs["in.c-one"]).state == "success"
    refused, missing = running.wait(JOBS, jobs["in.c-two"]), running.wait(JOBS, nowhere)
    assert (refused.state, missing.state) == ("failed", "failed")
    assert [task.attempt for task in (*refused.tasks, *missing.tasks)] == [1, 1]
    assert any("in.c-two" in line and "may not" in line for line in running.log(refused, TASK))
    assert any("There is no configuration" in line for line in running.log(missing, TASK))
    for secret in (api.tokens["bucket"].secret, "marked-secret-of-a-request"):
        assert not left_of(running, secret)
    with running.airflow.api() as airflow:
        assert secret not in json.dumps(airflow.run(JOBS, jobs["in.c-one"]))


@pytest.mark.rules("LC-11", "CF-39")
def test_a_job_and_a_run_that_airflow_starts_of_one_configuration_never_run_at_the_same_time(
    running: Running, api: ApiServer
) -> None:
    script = (
        "import time; begin = time.time(); time.sleep(1)\n"
        "open('/data/out/tables/t.csv', 'w').write(f'begin,end\\n{begin},{time.time()}\\n')"
    )
    output = {"tables": [{"source": "t.csv", "destination": "out.c-turns.t", "incremental": True}]}
    content = {"parameters": {"script": script}, "storage": {"output": output}}
    running.installation.configuration("turns", content)
    api.known("turns")
    body = {"config": "turns", "configData": content}
    runs = [(JOBS, started(api, f"/{SCRIPT}/run", body)), running.trigger("turns")]
    assert [running.wait(*run).state for run in runs] == ["success", "success"]
    first, second = sorted(running.installation.rows("out.c-turns.t"), key=lambda row: float(row["begin"]))
    assert float(first["end"]) <= float(second["begin"])


@pytest.mark.rules("LC-86")
def test_terminating_a_flow_stops_the_containers_of_what_it_has_started(running: Running, api: ApiServer) -> None:
    running.installation.script("asleep", "import time; time.sleep(300)")
    task = {"id": 1, "name": "Sleep", "phase": 1, "task": {"componentId": SCRIPT, "configId": "asleep"}}
    content = {"phases": [{"id": 1, "name": "One"}], "tasks": [task]}
    running.installation.configuration("sleepy", content, component="keboola.flow")
    api.known("asleep")
    api.known("sleepy", component="keboola.flow")
    body = {"component": "keboola.flow", "config": "sleepy"}
    flow = api.as_("admin").call("POST", "/jobs", json=body).json()["id"]
    until(lambda: any("asleep" in name for name in container_names()))
    (job,) = api.as_("admin").call("GET", f"/jobs?component={SCRIPT}&config=asleep").json()
    assert job["status"] == "processing"
    answer = api.as_("admin").call("POST", f"/jobs/{flow}/terminate")
    assert (answer.status_code, answer.json()["desiredStatus"]) == (202, "terminating")
    until(lambda: not any("asleep" in name for name in container_names()))
    for one in (flow, job["id"]):
        until(lambda: api.as_("admin").call("GET", f"/jobs/{one}").json()["status"] == "terminated")  # noqa: B023
