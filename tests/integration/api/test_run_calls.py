"""What starts jobs, against a real API server: which run of which DAG a request becomes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow_follow import known_dag
from tests.installation import SCRIPT
from tests.integration.api.server import ApiServer

from docker_runner.encryption import Scope, is_cipher
from docker_runner.encryption_keys import encryptor_of
from docker_runner.project.dag_ids import dag_id

pytestmark = pytest.mark.airflow

INLINE = {"configData": {"parameters": {"script": "print('hello')"}}}
JOBS = "docker_runner_jobs"
STORED = dag_id(SCRIPT, "stored")


@pytest.fixture(scope="module", autouse=True)
def configurations(server: ApiServer) -> None:
    """Configurations that Airflow knows as DAGs."""
    own = server.installation
    own.script("stored", "pass")
    own.configuration("rows", {"parameters": {}}, rows={name: {"parameters": {}} for name in ("one", "two")})
    disabled = own.script("disabled", "pass")
    (disabled.parent / "meta.json").write_text('{"name": "Disabled", "isDisabled": true}')
    own.script("paused", "pass")
    own.configuration("only_there", {"parameters": {"script": "pass"}}, branch="dev")
    for name in ("turns", "own"):
        own.script(name, "pass")
    server.known("stored", "rows", "disabled", "paused", "turns", "own")
    with server.airflow_api() as api:
        known_dag(server.airflow, api, JOBS)
        api.set_paused(dag_id(SCRIPT, "paused"), paused=True)


def post(server: ApiServer, path: str, body: Any, *, caller: str = "admin", **arguments: Any) -> Any:
    return server.as_(caller).call("POST", path, json=body, **arguments)


def created(answer: Any) -> str:
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "waiting"
    return str(answer.json()["id"])


def run_of(server: ApiServer, answer: Any, dag: str = JOBS) -> dict[str, Any]:
    """The DAG run that an answer tells of."""
    with server.airflow_api() as api:
        return api.run(dag, created(answer))


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert (document["status"], document["code"]) == ("error", status)
    for word in words:
        assert word in document["message"]


@pytest.mark.rules("API-5", "API-10")
def test_a_configuration_in_the_request_runs_as_the_dag_that_takes_any(server: ApiServer) -> None:
    answer = post(server, f"/{SCRIPT}/run", INLINE)
    job_id = created(answer)
    assert answer.json() == {"id": job_id, "url": f"{server.url}/docker-runner/jobs/{job_id}", "status": "waiting"}
    run = run_of(server, answer)
    assert run["conf"] == {
        "component": SCRIPT, "config": "", "branch": "", "mode": "run", "config_data": INLINE["configData"]
    }  # fmt: skip
    assert run["triggering_user_name"] == "admin"


@pytest.mark.rules("API-10", "API-11", "API-34", "LC-86")
def test_a_stored_configuration_runs_as_its_dag_with_what_is_asked(server: ApiServer) -> None:
    plain = run_of(server, post(server, f"/{SCRIPT}/run", {"config": "stored"}), STORED)
    assert plain["conf"] == {"mode": "run"}
    values = {"values": [{"name": "a", "value": 1}]}
    body = {"config": "stored", "variableValuesData": values}
    answer = post(server, f"/{SCRIPT}/run/tag/1.2", body, headers={"X-KBC-RunId": "12.34"})
    assert run_of(server, answer, STORED)["conf"] == {
        "mode": "run", "tag": "1.2", "variables": {"a": "1"}, "parent_run_id": "12.34"
    }  # fmt: skip
    assert run_of(server, post(server, f"/{SCRIPT}/run", {"config": "rows", "row": "two"}), dag_id(SCRIPT, "rows"))[
        "conf"
    ] == {"mode": "run", "rows": ["two"]}


@pytest.mark.rules("API-30")
def test_every_attribute_of_a_run_reaches_its_job(server: ApiServer) -> None:
    named = {
        "config": "rows",
        "variableValuesData": {"values": [{"name": "a", "value": 1}, {"name": "b", "value": "x"}]},
    }
    conf = run_of(server, post(server, f"/{SCRIPT}/run", named), dag_id(SCRIPT, "rows"))["conf"]
    assert conf["variables"] == {"a": "1", "b": "x"}
    body = {"config": "rows", "row": "two", "variableValuesId": 7, **INLINE}
    conf = run_of(server, post(server, f"/{SCRIPT}/run", body))["conf"]
    assert (conf["config"], conf["rows"], conf["values"]) == ("rows", ["two"], "7")
    assert conf["config_data"] == INLINE["configData"]


@pytest.mark.rules("API-12", "API-13", "API-14", "API-15", "API-25", "API-26", "API-34")
@pytest.mark.parametrize(
    ("path", "conf"),
    [
        (f"/{SCRIPT}/debug", {"mode": "debug"}),
        (f"/branch/dev/{SCRIPT}/run", {"mode": "run", "branch": "dev"}),
        (f"/branch/dev/{SCRIPT}/run/tag/7", {"mode": "run", "branch": "dev", "tag": "7"}),
        (f"/branch/dev/{SCRIPT}/debug", {"mode": "debug", "branch": "dev"}),
        (f"/{SCRIPT}/input", {"mode": "input"}),
        (f"/{SCRIPT}/dry-run", {"mode": "dry-run"}),
    ],
)
def test_what_no_dag_of_its_own_does_runs_as_the_dag_that_takes_any(
    server: ApiServer, path: str, conf: dict[str, Any]
) -> None:
    stored = run_of(server, post(server, path, {"config": "stored"}))["conf"]
    stored.pop("api", None)
    assert stored == {"component": SCRIPT, "config": "stored", "branch": "", **conf}


@pytest.mark.rules("LC-11")
def test_jobs_of_one_configuration_wait_for_each_other_whatever_dag_they_run_as(server: ApiServer) -> None:
    body = {"config": "turns", **INLINE}
    first, second = (post(server, f"/{SCRIPT}/run", body) for _ in range(2))
    stored = post(server, f"/{SCRIPT}/run", {"config": "turns"})
    debug = post(server, f"/{SCRIPT}/debug", {"config": "turns"})
    other = post(server, f"/branch/dev/{SCRIPT}/run", {"config": "turns"})
    ids = [created(answer) for answer in (first, second, stored)]
    assert "api" not in run_of(server, first)["conf"]
    assert run_of(server, second)["conf"]["api"] == {"after": [[JOBS, ids[0]]]}
    assert run_of(server, stored)["conf"]["api"] == {"after": [[JOBS, ids[1]]]}
    assert all("api" not in run_of(server, answer)["conf"] for answer in (debug, other))
    own, inline = (post(server, f"/{SCRIPT}/run", {"config": "own", **more}) for more in ({}, INLINE))
    after = [[dag_id(SCRIPT, "own"), created(own)]]
    assert run_of(server, inline)["conf"]["api"] == {"after": after}


@pytest.mark.rules("API-24", "API-37")
def test_a_sandbox_needs_a_configuration_and_takes_a_format(server: ApiServer) -> None:
    body = {"configData": {"storage": {}}}
    sandbox = {
        "component": "sandbox",
        "config": "",
        "branch": "",
        "mode": "sandbox",
        "config_data": {"storage": {}},
    }
    assert run_of(server, post(server, "/sandbox", body))["conf"] == {**sandbox, "format": "yaml"}
    assert run_of(server, post(server, "/sandbox?format=json", body))["conf"] == {**sandbox, "format": "json"}
    refused(post(server, "/sandbox?format=xml", body), 400, "format", "json")
    refused(post(server, "/sandbox", {"config": "stored"}), 400, "config", "configData")
    refused(post(server, "/sandbox", {}), 400, "configData is missing")


@pytest.mark.rules("API-36", "API-35", "API-31")
@pytest.mark.parametrize(
    "body", [{"config": "nowhere"}, {"config": "rows", "row": {"a": 1}}, {"config": "rows", "row": "x"}]
)
def test_what_is_wrong_with_the_job_itself_is_left_to_the_job(server: ApiServer, body: dict[str, Any]) -> None:
    conf = run_of(server, post(server, f"/{SCRIPT}/run", body))["conf"]
    assert (conf["config"], conf.get("rows", [])) == (body["config"], [body["row"]] if "row" in body else [])


@pytest.mark.rules("CF-39")
def test_with_both_the_configuration_of_the_request_is_run_under_the_stored_ones_id(server: ApiServer) -> None:
    conf = run_of(server, post(server, f"/{SCRIPT}/run", {"config": "disabled", **INLINE}))["conf"]
    assert (conf["config"], conf["config_data"]) == ("disabled", INLINE["configData"])


@pytest.mark.rules("API-31", "API-34", "API-6")
def test_requests_are_checked_in_an_order_that_callers_can_rely_on(server: ApiServer) -> None:
    run = f"/{SCRIPT}/run"
    refused(post(server, "/run", INLINE), 400, "name of a component is required")
    refused(post(server, "/nobody.knows/run", {"row": "1", "wrong": 1}), 400, "nobody.knows", "not found")
    refused(post(server, run, {"row": "1", "wrong": 1}), 400, "row", "config")
    refused(post(server, run, {"wrong": 1}), 400, "config", "configData")
    refused(post(server, run, {"config": "", "configData": {}}), 400, "config", "configData")
    refused(post(server, run, {"config": {}, "component": SCRIPT}), 400, "component", "variableValuesId", "row")
    refused(post(server, run, {"config": ["stored"]}), 400, "config")
    refused(post(server, run, {"configData": [1]}), 400, "configData")
    two = {"config": "stored", "variableValuesId": "1", "variableValuesData": {"values": [{"name": "a", "value": "b"}]}}
    refused(post(server, run, two), 400, "not both")
    for values in (
        [{"name": "a"}],
        [{"name": "a", "value": ""}],
        [{"name": "a", "value": 1}, {"name": "a", "value": 2}],
    ):
        refused(post(server, run, {"config": "stored", "variableValuesData": {"values": values}}), 400)
    refused(post(server, run, {"config": "stored"}, headers={"X-KBC-RunId": "a b"}), 400, "X-KBC-RunId")
    refused(post(server, f"/branch/nowhere/{SCRIPT}/run", {"config": "stored"}), 400, "no branch", "nowhere")


@pytest.mark.rules("LC-84")
def test_a_disabled_configuration_and_a_paused_dag_are_refused(server: ApiServer) -> None:
    refused(post(server, f"/{SCRIPT}/run", {"config": "disabled"}), 400, "disabled", "forceRun")
    refused(post(server, f"/{SCRIPT}/debug", {"config": "disabled"}), 400, "disabled")
    refused(post(server, f"/{SCRIPT}/run", {"config": "paused"}), 409, "paused", dag_id(SCRIPT, "paused"))


def test_values_that_the_form_of_the_dag_does_not_take_are_refused(server: ApiServer) -> None:
    variables = server.installation.configuration("values", {"variables_id": "v"})
    folder = variables.parents[2] / "keboola.variables" / "v"
    (folder / "values").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"variables": [{"name": "city", "type": "string"}]}))
    server.known("values")
    answer = post(server, f"/{SCRIPT}/run", {"config": "values", "variableValuesId": "unknown"})
    refused(answer, 400, "values", "unknown")


@pytest.mark.rules("API-33", "EN-13")
def test_secrets_of_a_request_are_stored_as_ciphers_of_its_component(server: ApiServer) -> None:
    parameters = {"#key": "plain-secret", "#number": 7, "#variable": "{{ x }}", "deep": [{"#inner": "plain-secret"}]}
    values = {"values": [{"name": "#v", "value": "plain-secret"}, {"name": "v", "value": "shown"}]}
    body = {"configData": {"parameters": parameters}, "variableValuesData": values}
    conf = run_of(server, post(server, f"/{SCRIPT}/run", body, caller="all"))["conf"]
    assert is_cipher(conf["variables"]["#v"])
    assert conf["variables"]["v"] == "shown"
    token = server.tokens["all"].secret
    assert "plain-secret" not in json.dumps(conf)
    assert token not in json.dumps(conf)
    stored = conf["config_data"]["parameters"]
    assert all(is_cipher(value) for value in (stored["#key"], stored["#number"], stored["deep"][0]["#inner"]))
    assert stored["#variable"] == "{{ x }}"
    encryptor, scope = encryptor_of(server.installation.settings), Scope(SCRIPT)
    assert encryptor.decrypt(stored, scope) == {
        "#key": "plain-secret", "#number": "7", "#variable": "{{ x }}", "deep": [{"#inner": "plain-secret"}]
    }  # fmt: skip
    assert encryptor.decrypt({"#token": conf["storage_token"]}, scope) == {"#token": token}
    again = run_of(server, post(server, f"/{SCRIPT}/run", {"configData": {"parameters": stored}}))["conf"]
    assert again["config_data"]["parameters"] == stored


@pytest.mark.rules("API-32")
def test_who_may_not_start_a_job_is_told_so(server: ApiServer) -> None:
    refused(post(server, f"/{SCRIPT}/run", INLINE, caller="viewer"), 403, JOBS)
    refused(post(server, f"/{SCRIPT}/run", {"config": "stored"}, caller="viewer"), 403, STORED)
    refused(post(server, f"/{SCRIPT}/run", {}, caller="read_only"), 400, "may only read")
    refused(post(server, "/sandbox", INLINE, caller="read_only"), 400, "may only read")
    run = run_of(server, post(server, f"/{SCRIPT}/run", {"config": "stored"}, caller="bucket"), STORED)
    assert run["triggering_user_name"] == f"storage-token-{server.tokens['bucket'].token.id}"
    assert is_cipher(run["conf"]["storage_token"])
