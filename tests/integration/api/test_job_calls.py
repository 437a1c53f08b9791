"""Looking at jobs, stopping them and summing them up, against a real API server: what is started there stays queued."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from airflow_follow import known_dag
from tests.end_to_end.running import until
from tests.installation import SCRIPT
from tests.integration.api.server import ApiServer

from docker_runner.project.dag_ids import dag_id

pytestmark = pytest.mark.airflow

INLINE = {"configData": {"parameters": {"script": "pass"}}}
JOBS = "docker_runner_jobs"


@pytest.fixture(scope="module", autouse=True)
def _known(server: ApiServer) -> None:
    with server.airflow_api() as api:
        known_dag(server.airflow, api, JOBS)
    server.known("plain")


def start(server: ApiServer, body: dict[str, Any] = INLINE, *, caller: str = "all", **arguments: Any) -> str:
    answer = server.as_(caller).call("POST", f"/{SCRIPT}/run", json=body, **arguments)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == status
    for word in words:
        assert word in answer.json()["message"]


def seen(server: ApiServer, caller: str, query: str = "") -> list[str]:
    answer = server.as_(caller).call("GET", f"/jobs{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()]


@pytest.mark.rules("API-55")
def test_everybody_sees_their_own_jobs_and_nothing_tells_of_others(server: ApiServer) -> None:
    job = start(server)
    assert job in seen(server, "all", "?limit=1")
    for caller, visible in {"all": True, "manage": True, "admin": True, "viewer": True, "bucket": False}.items():
        assert (job in seen(server, caller)) is visible, caller
        answer = server.as_(caller).call("GET", f"/jobs/{job}")
        assert answer.status_code == (200 if visible else 404), caller
    unknown = job[:-1] + ("0" if job[-1] != "0" else "1")
    hidden, missing = (server.as_("bucket").call("GET", f"/jobs/{one}") for one in (job, unknown))
    assert hidden.json()["message"].replace(job, "") == missing.json()["message"].replace(unknown, "")
    for wrong in ("999999999", "99999999999999999999", "x", "0"):
        refused(server.as_("admin").call("GET", f"/jobs/{wrong}"), 404)
    assert server.as_().call("GET", f"/jobs/{job}").status_code == 401


@pytest.mark.rules("API-55")
def test_a_filter_that_is_wrong_is_refused_by_name(server: ApiServer) -> None:
    for query in (
        "componet=x", "limit=0", "limit=501", "offset=-1", "status=done", "mode=walk", "config=a/b",
        "createdTimeFrom=yesterday", "createdTimeTo=0001-01-01",
    ):  # fmt: skip
        word = query.partition("=")[0]
        refused(server.as_("admin").call("GET", f"/jobs?{query}"), 400, word)


@pytest.mark.rules("LC-85", "LC-86")
def test_a_job_that_has_not_begun_is_cancelled_with_those_that_are_a_part_of_it(server: ApiServer) -> None:
    job = start(server)
    stored = start(server, {"config": "plain"}, headers={"X-KBC-RunId": job})
    other = start(server)
    answer = server.as_("all").call("POST", f"/jobs/{job}/terminate")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    for one in (job, stored):
        done = server.as_("all").call("GET", f"/jobs/{one}").json()
        assert (done["status"], done["isFinished"], done["startTime"]) == ("cancelled", True, None)
        assert "cancelled" in done["result"]["message"]
    assert server.as_("all").call("GET", f"/jobs/{other}").json()["status"] == "waiting"
    refused(server.as_("all").call("POST", f"/jobs/{job}/terminate"), 400, "cancelled", "waiting or processing")
    with server.airflow_api() as api:
        run = api.run(JOBS, job)
        log = api.call("GET", f"/eventLogs?event=terminate_job&run_id={job}")["event_logs"]
    assert (run["state"], "storage-token-" in run["note"]) == ("failed", True)
    assert [entry["owner"] for entry in log] == [f"storage-token-{server.tokens['all'].token.id}"]


@pytest.mark.rules("LC-86")
@pytest.mark.parametrize("way", ["the API", "Airflow's UI"])
def test_a_flow_that_is_stopped_takes_the_runs_with_it_that_it_has_started(server: ApiServer, way: str) -> None:
    content = {"phases": [{"id": 1, "name": "One"}], "tasks": []}
    server.installation.configuration("stopped", content, component="keboola.flow")
    server.known("stopped", component="keboola.flow")
    dag, target = "keboola.flow--stopped", dag_id(SCRIPT, "plain")
    with server.airflow_api() as api:
        body = {"component": "keboola.flow", "config": "stopped"}
        flow = server.as_("admin").call("POST", "/jobs", json=body).json()["id"]
        inner, outer = (api.trigger(target, {"orchestration_id": f"{dag}/{run}"}) for run in (flow, "another"))
        # Only tasks start runs like this, and here is nobody who would run one.
        with sqlite3.connect(server.airflow.home / "airflow.db", timeout=60) as database:
            database.execute("UPDATE dag_run SET triggered_by = 'OPERATOR' WHERE run_id IN (?, ?)", (inner, outer))
        database.close()
        if way == "the API":
            assert server.as_("user").call("POST", f"/jobs/{flow}/terminate").status_code == 202
        else:
            api.call("PATCH", f"/dags/{dag}/dagRuns/{flow}", json={"state": "failed"})
        until(lambda: api.run(target, inner)["state"] == "failed")
        assert api.run(target, outer)["state"] == "queued"
        note = api.run(target, inner)["note"]
    assert note.startswith("user stopped" if way == "the API" else f"Marking {dag} failed stopped")


@pytest.mark.rules("LC-85")
def test_who_may_not_stop_a_job_is_told_so(server: ApiServer) -> None:
    job = start(server)
    refused(server.as_("viewer").call("POST", f"/jobs/{job}/terminate"), 403, JOBS)
    refused(server.as_("bucket").call("POST", f"/jobs/{job}/terminate"), 404)
    assert server.as_("all").call("GET", f"/jobs/{job}").json()["status"] == "waiting"
    assert server.as_("user").call("POST", f"/jobs/{job}/terminate").status_code == 202


@pytest.mark.rules("API-50", "API-20")
def test_the_sum_of_the_project_has_one_number(server: ApiServer) -> None:
    for caller in ("bucket", "viewer"):
        answer = server.as_(caller).call("GET", "/stats/project")
        assert answer.status_code == 200
        assert list(answer.json()) == ["jobs"]
        assert isinstance(answer.json()["jobs"]["durationSum"], int)


@pytest.mark.rules("API-51", "API-21")
def test_the_days_of_a_period_are_all_listed(server: ApiServer) -> None:
    for plus in ("%2B", "+"):
        query = f"fromDate=2026-01-30&toDate=2026-02-02&timezoneOffset={plus}02:00"
        answer = server.as_("bucket").call("GET", f"/stats/project/daily?{query}")
        days = [f"2026-{day}" for day in ("01-30", "01-31", "02-01", "02-02")]
        assert answer.json() == {"jobs": [{"date": day, "durationSum": 0} for day in days]}


@pytest.mark.rules("API-51")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fromDate": None}, ["fromDate"]),
        ({"toDate": None}, ["toDate"]),
        ({"timezoneOffset": None}, ["timezoneOffset"]),
        ({"fromDate": "2026-02-30"}, ["fromDate"]),
        ({"fromDate": "30.1.2026"}, ["fromDate"]),
        ({"toDate": "0001-01-01"}, ["toDate"]),
        ({"toDate": "2025-12-31"}, ["toDate", "fromDate"]),
        ({"toDate": "2037-01-01"}, ["3660"]),
        ({"timezoneOffset": "2"}, ["timezoneOffset"]),
        ({"timezoneOffset": "+15:00"}, ["timezoneOffset"]),
        ({"timezoneOffset": "+02:60"}, ["timezoneOffset"]),
        ({"x": "1"}, ["x"]),
    ],
)
def test_each_wrong_part_of_a_period_is_refused_by_name(
    server: ApiServer, changed: dict[str, str | None], words: list[str]
) -> None:
    period = {"fromDate": "2026-01-30", "toDate": "2026-02-02", "timezoneOffset": "+00:00", **changed}
    query = {name: value for name, value in period.items() if value is not None}
    refused(server.as_("bucket").call("GET", "/stats/project/daily", params=query), 400, *words)
