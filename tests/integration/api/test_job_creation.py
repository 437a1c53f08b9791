"""Jobs in the form of Keboola's newer queue: what becomes of each attribute, and which are refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow_follow import known_dag
from tests.installation import SCRIPT
from tests.integration.api.server import ApiServer

from docker_runner.encryption import is_cipher
from docker_runner.project.dag_ids import dag_id

pytestmark = pytest.mark.airflow

JOBS = "docker_runner_jobs"
DATA = {"parameters": {"script": "pass"}, "runtime": {"parallelism": 2}}
INLINE = {"component": SCRIPT, "configData": DATA}


@pytest.fixture(scope="module", autouse=True)
def configurations(server: ApiServer) -> None:
    rows = {name: {"parameters": {}} for name in ("one", "two")}
    server.installation.configuration("job", {"runtime": {"parallelism": "2"}}, rows=rows)
    folder = server.installation.folder / "project" / "main" / "other" / "keboola.flow" / "nightly"
    (folder / "phases" / "one").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "phases" / "one" / "phase.json").write_text('{"name": "One"}')
    server.known("job")
    server.known("nightly", component="keboola.flow")
    with server.airflow_api() as api:
        known_dag(server.airflow, api, JOBS)


def post(server: ApiServer, body: Any, *, caller: str = "admin", **headers: str) -> Any:
    return server.as_(caller).call("POST", "/jobs", json=body, headers=headers)


def job_of(answer: Any, status: int = 201) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def run_of(server: ApiServer, job: dict[str, Any]) -> dict[str, Any]:
    with server.airflow_api() as api:
        return api.run(job["airflow"]["dagId"], job["id"])


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json()["message"]


@pytest.mark.rules("API-55", "LC-80", "LC-86")
def test_every_attribute_of_a_job_counts(server: ApiServer) -> None:
    body = {
        "component": SCRIPT, "config": "job", "configRowIds": ["two", "unknown"], "mode": "forceRun", "tag": 1.5,
        "parentRunId": "7.8", "type": "standard", "parallelism": 2, "variableValuesId": None,
        "variableValuesData": {"values": []}, "backend": {"type": "small", "context": "c", "other": 1},
        "behavior": {"onError": "warning"}, "orchestrationJobId": 5, "previousJobId": "4", "branchId": None,
    }  # fmt: skip
    job = job_of(post(server, body))
    assert job["airflow"]["dagId"] == dag_id(SCRIPT, "job")
    assert run_of(server, job)["conf"] == {
        "mode": "forceRun", "tag": "1.5", "rows": ["two"], "parent_run_id": "7.8", "orchestration_id": "5",
        "backend": {"type": "small", "context": "c"},
        "api": {"behavior": {"onError": "warning"}, "previous_job_id": "4", "parallelism": "2"},
    }  # fmt: skip
    shown = {"status": "waiting", "component": SCRIPT, "config": "job", "configRowIds": ["two"], "tag": "1.5"}
    shown |= {"runId": f"7.8.{job['id']}", "parentRunId": "7.8", "behavior": {"onError": "warning"}}
    assert {name: job[name] for name in shown} == shown


@pytest.mark.rules("API-55", "API-33", "LC-86")
def test_a_job_may_bring_its_configuration_and_its_parent_in_a_header(server: ApiServer) -> None:
    body = {**INLINE, "configData": {"parameters": {"#p": "plain-secret"}}, "mode": "debug"}
    job = job_of(post(server, body, caller="all", **{"X-KBC-RunId": "9"}))
    assert (job["runId"], job["mode"]) == (f"9.{job['id']}", "debug")
    conf = run_of(server, job)["conf"]
    assert is_cipher(conf["config_data"]["parameters"]["#p"])
    assert is_cipher(conf["storage_token"])
    assert job["token"] == {"id": str(server.tokens["all"].token.id)}
    assert "plain-secret" not in str(job)


@pytest.mark.rules("LC-80")
def test_a_job_may_start_later(server: ApiServer) -> None:
    now = datetime.now(UTC)
    moments = []
    for later in ({"delay": 3600}, {"delay": "3600"}, {"delayedStartTime": (now + timedelta(hours=1)).isoformat()}):
        run = run_of(server, job_of(post(server, {**INLINE, **later})))
        moments.append(datetime.fromisoformat(run["run_after"]))
    assert all(timedelta(minutes=59) < moment - now < timedelta(minutes=62) for moment in moments)


@pytest.mark.rules("LC-80", "API-31")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"component": "vendor.nobody"}, ["vendor.nobody", "not found"]),
        ({"component": ""}, ["component"]),
        ({"component": None}, ["component"]),
        ({"configId": "1"}, ["configId", "configRowIds", "deduplicationId"]),
        ({"configData": {}}, ["config", "configData"]),
        ({"configData": "x"}, ["configData"]),
        ({"config": {}}, ["config"]),
        ({"configRowIds": ["1"]}, ["config"]),
        ({"configRowIds": [{}]}, ["configRowIds[0]"]),
        ({"mode": "sandbox"}, ["mode", "forceRun"]),
        ({"tag": "a b"}, ["tag"]),
        ({"branchId": "../main"}, ["no branch"]),
        ({"parentRunId": "a b"}, ["parentRunId"]),
        ({"type": "container"}, ["type", "standard"]),
        ({"parallelism": 5}, ["parallelism", "2"]),
        ({"delay": -1}, ["delay"]),
        ({"delay": 10**30}, ["delay", "within a year"]),
        ({"delay": 1, "delayedStartTime": "2020-01-01T00:00:00Z"}, ["not both"]),
        ({"delayedStartTime": "2126-01-01T00:00:00Z"}, ["within a year"]),
        ({"delayedStartTime": "2026-01-01T00:00:00"}, ["time zone"]),
        ({"delayedStartTime": "tomorrow"}, ["2030-01-31T08:00:00Z"]),
        ({"delayedStartTime": "0001-01-01T00:00:00+23:59"}, ["2030-01-31T08:00:00Z"]),
        ({"backend": {"type": {}}}, ["backend.type"]),
        ({"behavior": {"onError": "ignore"}}, ["behavior.onError", "warning"]),
        ({"behavior": {"onSuccess": "stop"}}, ["onSuccess", "onError"]),
        ({"deduplicationId": "x" * 300}, ["deduplicationId"]),
        ({"variableValuesData": {}}, ["values"]),
        ({"variableValuesId": 1, "variableValuesData": {"values": [{"name": "a", "value": "b"}]}}, ["not both"]),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_would_be_right(
    server: ApiServer, change: dict[str, Any], words: list[str]
) -> None:
    refused(post(server, {**INLINE, **change}), 400, *words)


@pytest.mark.rules("LC-86", "API-32")
def test_a_job_with_two_parents_and_one_of_a_token_that_only_reads_are_refused(server: ApiServer) -> None:
    refused(post(server, {**INLINE, "parentRunId": "1"}, **{"X-KBC-RunId": "2"}), 400, "parentRunId")
    refused(post(server, INLINE, caller="read_only"), 400, "may only read")
    refused(post(server, INLINE, caller="viewer"), 403, JOBS)


@pytest.mark.rules("LC-80")
def test_of_jobs_with_one_deduplication_id_only_the_first_is_started_however_many_come_at_once(
    server: ApiServer,
) -> None:
    body = {**INLINE, "deduplicationId": "nightly"}
    # Each thread has a connection of its own.
    clients = [server.credentials("all") for _ in range(8)]

    def send(headers: dict[str, str]) -> Any:
        from tests.integration.api.server import Client

        with Client(server.url, headers) as client:
            return client.call("POST", "/jobs", json=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, clients))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    (job_id,) = {answer.json()["id"] for answer in answers}
    refused(post(server, body, caller="bucket"), 409, "deduplicationId")
    assert job_of(post(server, body), 200)["id"] == job_id
    assert job_of(post(server, {**body, "deduplicationId": "other"}))["id"] != job_id
    with server.airflow_api() as api:
        api.call("PATCH", f"/dags/{JOBS}/dagRuns/{job_id}", json={"state": "failed"})
    assert job_of(post(server, body))["id"] != job_id


@pytest.mark.rules("API-55")
def test_a_flow_is_started_as_it_is_stored(server: ApiServer) -> None:
    flow = {"component": "keboola.flow", "config": "nightly"}
    job = job_of(post(server, {**flow, "parentRunId": "1"}))
    assert (job["airflow"]["dagId"], job["type"]) == ("keboola.flow--nightly", "orchestrationContainer")
    job_of(post(server, flow, caller="manage"))
    refused(post(server, flow, caller="all"), 403, "permissions of this installation")
    refused(post(server, flow, caller="viewer"), 403, "keboola.flow--nightly")
    refused(post(server, {**flow, "config": "other"}), 400, "no flow keboola.flow/other")
    refused(post(server, {**flow, "tag": "1"}), 400, "leave out tag")
    refused(post(server, {**flow, "mode": "debug"}), 400, "mode")
    refused(post(server, {**flow, "configData": {"a": 1}}), 400, "configData")
