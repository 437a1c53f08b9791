"""What one finds out over HTTP about jobs that a real Airflow has run, and how they are stopped."""

from __future__ import annotations

from typing import Any

import pytest
from tests.end_to_end.running import Running, until
from tests.installation import SCRIPT, container_names
from tests.integration.api.server import ApiServer

pytestmark = [pytest.mark.airflow, pytest.mark.engine]
JOBS = "docker_runner_jobs"

WORK = """
import json, shutil
shutil.copy('/data/in/tables/r.csv', '/data/out/tables/t.csv')
open('/data/out/files/report.txt', 'w').write('fine')
json.dump([{'metric': 'calls', 'value': 2}], open('/data/out/usage.json', 'w'))
json.dump({'variables': {'n': 3, 'secret': 'mark-' + c['parameters']['#key']}}, open('/data/out/result.json', 'w'))
"""


@pytest.fixture(scope="module")
def api(running: Running) -> ApiServer:
    return ApiServer(running.airflow, running.installation)


def start(api: ApiServer, body: dict[str, Any], *, caller: str = "admin", **arguments: Any) -> str:
    answer = api.as_(caller).call("POST", f"/{SCRIPT}/run", json=body, **arguments)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def document(api: ApiServer, job: str, *, caller: str = "admin") -> dict[str, Any]:
    answer = api.as_(caller).call("GET", f"/jobs/{job}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(api: ApiServer, job: str, *, caller: str = "admin") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = document(api, job, caller=caller)
        return found if found["isFinished"] else None

    found: dict[str, Any] = until(look, seconds=400)
    return found


@pytest.mark.rules("API-55", "LC-8", "LC-85", "OM-78", "US-2")
def test_a_job_that_ended_well_tells_what_it_read_wrote_and_used(running: Running, api: ApiServer) -> None:
    running.installation.load("in.c-records.r", "a\n1\n2\n")
    storage = {
        "input": {"tables": [{"source": "in.c-records.r", "destination": "r.csv"}]},
        "output": {"tables": [{"source": "t.csv", "destination": "out.c-records.t"}]},
    }
    body = {"configData": {"parameters": {"script": WORK, "#key": "of-a-job"}, "storage": storage}}
    job = start(api, body, caller="all", headers={"X-KBC-RunId": "top"})
    done = ended(api, job, caller="all")
    assert (done["status"], done["desiredStatus"], done["runId"], done["parentRunId"]) == (
        "success", "processing", f"top.{job}", "top",
    )  # fmt: skip
    result = done["result"]
    assert result["message"] == "Component processing finished."
    assert result["error"] is None
    ((image,),) = result["images"]
    assert image["id"] == "docker-runner-test/script:latest"
    (table,) = result["input"]["tables"]
    assert (table["id"], table["name"], table["rows"]) == ("in.c-records.r", "r", 2)
    (table,) = result["output"]["tables"]
    assert (table["id"], table["rows"], table["tableRows"]) == ("out.c-records.t", 2, 2)
    (file,) = result["output"]["files"]
    assert (file["name"], file["bytes"]) == ("report.txt", 4)
    assert result["outputVariables"] == {"n": 3, "secret": "mark-[hidden]"}
    assert done["usageData"] == [{"metric": "calls", "value": 2}]
    moved = done["metrics"]["storage"]
    assert moved["inputTablesBytesSum"] > 0
    assert moved["outputTablesBytesSum"] > 0
    assert moved["outputFilesBytesSum"] == 4
    assert "of-a-job" not in str(done)
    assert api.tokens["all"].secret not in str(done)
    assert done["token"] == {"id": str(api.tokens["all"].token.id)}
    assert [log["task"] for log in done["airflow"]["logs"]] == ["run_job"]
    for url in (done["airflow"]["url"], done["airflow"]["logs"][0]["url"]):
        assert api.as_("admin").get(url, timeout=60).status_code == 200
    assert api.as_("all").get(done["url"], timeout=60).json() == done
    sums = api.as_("all").call("GET", "/stats/project").json()
    assert sums["jobs"]["durationSum"] >= done["durationSeconds"] > 0


@pytest.mark.rules("API-55", "LC-8", "LC-85", "LC-86")
def test_a_run_that_airflow_started_is_a_job_with_the_components_own_message(running: Running, api: ApiServer) -> None:
    def writing(script: str) -> dict[str, Any]:
        storage = {"output": {"tables": [{"source": "t.csv", "destination": "out.c-rows.t"}]}}
        return {"parameters": {"script": script}, "storage": storage}

    running.installation.configuration(
        "records",
        {},
        rows={
            "a b": writing("open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')"),
            "bad": writing("import sys; sys.exit('The city of Atlantis is unknown.')"),
        },
    )
    dag, run = running.trigger("records")
    running.wait(dag, run)
    (found,) = api.as_("admin").call("GET", f"/jobs?component={SCRIPT}&config=records").json()
    assert found["id"].isdecimal()
    assert found["runId"] == run
    assert "result" not in found
    done = document(api, found["id"])
    assert (done["status"], done["result"]["message"]) == ("error", "The city of Atlantis is unknown.")
    assert done["result"]["error"]["type"] == "user"
    # The row before it has stored its table.
    assert [table["id"] for table in done["result"]["output"]["tables"]] == ["out.c-rows.t"]
    assert len(done["result"]["images"]) == 1
    failed = [log["task"] for log in done["airflow"]["logs"] if log["state"] == "failed"]
    assert "row_bad.run_component" in failed


@pytest.mark.rules("API-55", "LC-8", "LC-85")
def test_a_job_may_end_with_a_warning_in_place_of_an_error(running: Running, api: ApiServer) -> None:
    script = "import json, sys; json.dump([{'metric': 'calls', 'value': 4}], open('/data/out/usage.json', 'w'))"
    failing = {"parameters": {"script": f"{script}; sys.exit('The quota is used up.')"}}
    body = {"component": SCRIPT, "configData": failing, "behavior": {"onError": "warning"}}
    answer = api.as_("all").call("POST", "/jobs", json=body)
    assert answer.status_code == 201, answer.text
    done = ended(api, answer.json()["id"], caller="all")
    assert (done["status"], done["behavior"]) == ("warning", {"onError": "warning"})
    assert (done["result"]["message"], done["result"]["error"]["type"]) == ("The quota is used up.", "user")
    assert done["usageData"] == [{"metric": "calls", "value": 4}]
    assert [image["id"] for (image,) in done["result"]["images"]] == ["docker-runner-test/script:latest"]
    assert done["result"]["output"] == {}


@pytest.mark.rules("LC-10", "LC-85", "LC-86")
def test_a_job_that_runs_is_terminated_with_its_container_and_its_children(running: Running, api: ApiServer) -> None:
    sleeping = {"parameters": {"script": "import time; print('here'); time.sleep(600)"}}
    # Its rows have tasks of their own: Airflow itself would show the run as one that went well.
    running.installation.configuration("asleep", {}, rows={"one": sleeping, "two": sleeping})
    api.known("asleep")
    job = start(api, {"configData": sleeping}, caller="all")
    child = start(api, {"config": "asleep"}, caller="manage", headers={"X-KBC-RunId": job})

    def containers() -> list[str]:
        return [name for name in container_names() if job in name or child in name]

    until(lambda: len(containers()) == 2)
    assert document(api, job, caller="all")["status"] == "processing"
    assert api.as_("bucket").call("POST", f"/jobs/{job}/terminate").status_code == 404
    answer = api.as_("all").call("POST", f"/jobs/{job}/terminate")
    assert answer.status_code == 202, answer.text
    assert answer.json()["desiredStatus"] == "terminating"
    assert document(api, child, caller="manage")["status"] in ("terminating", "terminated")
    until(lambda: not containers())
    for one in (job, child):
        done = ended(api, one, caller="manage")
        assert (done["status"], done["result"]["message"]) == ("terminated", "The job was terminated.")
    again = api.as_("all").call("POST", f"/jobs/{job}/terminate")
    assert (again.status_code, "terminated" in again.json()["message"]) == (400, True)
    with running.airflow.api() as airflow:
        note = airflow.run(JOBS, job)["note"]
        assert airflow.run(JOBS, job)["state"] == "failed"
    assert f"storage-token-{api.tokens['all'].token.id}" in note
    until(lambda: not running.installation.workspaces)
    listed = api.as_("manage").call("GET", "/jobs?status=terminated").json()
    assert {one["id"] for one in listed} >= {job, child}
