"""What every call of the HTTP API refuses, whoever wrote it: by the list of calls, which is compared with OpenAPI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.integration.api.calls import CALLS, GUARDED, INLINE, JOB, OPEN, STARTS, WITH_BODY, Call
from tests.integration.api.server import ApiServer

pytestmark = pytest.mark.airflow
SMALL = 100_000
"""The largest body that the server takes."""


def each(calls: tuple[Call, ...]) -> pytest.MarkDecorator:
    """A test for each call."""
    return pytest.mark.parametrize("call", calls, ids=[f"{call.method} {call.path}" for call in calls])


def refused(answer: requests.Response, status: int, words: str = "") -> None:
    """Check that an answer is a refusal, in the form that all of them have."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    document = answer.json()
    assert set(document) == {"status", "error", "code", "message", "exceptionId", "runId"}
    assert (document["status"], document["error"], document["code"]) == ("error", "User error", status)
    assert document["exceptionId"].startswith("exception-")
    assert words.lower() in document["message"].lower()


@pytest.fixture(scope="module")
def job(server: ApiServer) -> str:
    """A job that waits."""
    server.known("plain")
    answer = server.as_("admin").call("POST", "/test.script/run", json=INLINE)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def described(server: ApiServer) -> Any:
    """The OpenAPI document."""
    return server.as_("viewer").call("GET", "/openapi.json").json()


def test_the_list_of_calls_is_the_openapi_document(described: dict[str, Any]) -> None:
    found = {(method.upper(), path) for path, calls in described["paths"].items() for method in calls}
    assert found == {call.key for call in CALLS}


@pytest.mark.rules("API-3")
def test_every_call_documents_its_errors(described: dict[str, Any]) -> None:
    for call in GUARDED:
        answers = described["paths"][call.path][call.method.lower()]["responses"]
        assert {"400", "401", "403", "413", "429", "500"} <= set(answers), call.path
        for status, answer in answers.items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            assert (schema == {"$ref": "#/components/schemas/ErrorDocument"}) == (int(status) >= 400), call.path


@pytest.mark.rules("API-2", "API-48")
@each(GUARDED)
def test_nobody_gets_in_without_good_credentials(server: ApiServer, job: str, call: Call) -> None:
    good = server.tokens["manage"].secret
    admin = server.credentials("admin")["Authorization"]
    for name, headers in {
        "nothing": {},
        "an empty token": {"X-StorageApi-Token": ""},
        "a token that is none": {"X-StorageApi-Token": "dr-1"},
        "a token with another secret": {"X-StorageApi-Token": good[:-4] + "aaaa"},
        "a revoked token": server.credentials("revoked"),
        "an expired token": server.credentials("expired"),
        "an empty bearer": {"Authorization": "Bearer "},
        "another bearer": {"Authorization": f"{admin[:-4]}aaaa"},
        "the password": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "a Storage token as bearer": {"Authorization": f"Bearer {good}"},
        "a bad token beside a good user": {"Authorization": admin, "X-StorageApi-Token": "dr-1"},
    }.items():
        answer = server.as_().call(call.method, call.url.replace(JOB, job), headers=headers, **call.arguments())
        assert answer.status_code == 401, f"{name}: {answer.text}"
        refused(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert good not in answer.text


@pytest.mark.rules("API-2")
def test_who_calls_is_asked_before_anything_else(server: ApiServer) -> None:
    nobody = server.as_()
    answer = nobody.call("GET", "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    for path in ("/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/no/such/call", "/health/", "//health"):
        refused(nobody.call("GET", path), 401)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        refused(nobody.call(method, "/jobs"), 401)
    for call in WITH_BODY:
        refused(nobody.call(call.method, call.url, data="{", headers={"Content-Type": "application/json"}), 401)
        refused(nobody.call(call.method, call.url, data="x" * 2 * SMALL), 401)


@each(CALLS)
def test_another_method_is_405(server: ApiServer, job: str, call: Call) -> None:
    allowed = {other.method for other in CALLS if other.path == call.path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - allowed:
        answer = server.as_("admin").call(method, call.url.replace(JOB, job), **call.arguments())
        refused(answer, 405)
        assert answer.headers["Allow"] in allowed


def test_what_is_no_call_is_404(server: ApiServer) -> None:
    for path in ("/", "/no/such/call/at/all", "/jobs/", "/docs/passwd", "/docs/..%2f..%2fsecrets"):
        refused(server.as_("admin").call("GET", path), 404)


@pytest.mark.rules("API-4")
@each(WITH_BODY)
def test_a_body_that_is_not_what_it_should_be_is_400(server: ApiServer, call: Call) -> None:
    admin = server.as_("admin")

    def sent(body: str | bytes, kind: str | None = "application/json") -> requests.Response:
        return admin.call(call.method, call.url, data=body, headers={"Content-Type": kind})

    for text in ('{"a": ', "{'a': 1}", '{"a": 1} b', '{"a": NaN}', "[" * 200 + "]" * 200, '{"a": "\\u0000"}', b"\xff"):
        refused(sent(text), 400)
    refused(sent('{"component": 1, "component": 2}'), 400, "component")
    refused(sent(b"a=b", "application/x-www-form-urlencoded"), 400, "Content-Type")
    refused(sent(b"{}", None), 400, "Content-Type")
    refused(sent(b""), 400)
    if not call.text:
        for text in ("[]", "1", "null", '"text"'):
            refused(sent(text), 400)
    for words, body in call.wrong.items():
        refused(admin.call(call.method, call.url, json=body), 400, words)


@each(tuple(call for call in GUARDED if call.wrong_urls))
def test_a_path_or_parameter_that_is_wrong_is_refused_as_documented(
    server: ApiServer, described: dict[str, Any], call: Call
) -> None:
    for (status, words), url in call.wrong_urls.items():
        assert str(status) in described["paths"][call.path][call.method.lower()]["responses"]
        refused(server.as_("admin").call(call.method, url, **call.arguments()), status, words)


@each(WITH_BODY)
def test_a_body_that_is_too_large_is_413(server: ApiServer, call: Call) -> None:
    admin = server.as_("admin")
    large = b'{"configData": {"a": "' + b"x" * SMALL + b'"}}'
    refused(admin.call(call.method, call.url, data=large, headers={"Content-Type": "application/json"}), 413)

    def in_pieces() -> Iterator[bytes]:
        yield from (large[:1000], large[1000:])

    refused(admin.call(call.method, call.url, data=in_pieces(), headers={"Content-Type": "application/json"}), 413)


@pytest.mark.rules("API-32")
@each(STARTS)
def test_who_may_only_look_starts_nothing(server: ApiServer, call: Call) -> None:
    refused(server.as_("viewer").call(call.method, call.url, **call.arguments()), 403, "docker_runner_jobs")
    refused(server.as_("read_only").call(call.method, call.url, **call.arguments()), 400, "may only read")


def test_a_job_of_somebody_else_is_not_there_for_a_token(server: ApiServer, job: str) -> None:
    for caller in ("all", "bucket", "read_only"):
        refused(server.as_(caller).call("GET", f"/jobs/{job}"), 404)
        refused(server.as_(caller).call("POST", f"/jobs/{job}/terminate"), 404)
        assert job not in server.as_(caller).call("GET", "/jobs").text
    assert server.as_("manage").call("GET", f"/jobs/{job}").status_code == 200
    refused(server.as_("viewer").call("POST", f"/jobs/{job}/terminate"), 403)


@pytest.mark.rules("API-4")
def test_pages_of_other_origins_may_call_with_a_token_of_their_own(server: ApiServer) -> None:
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-storageapi-token,content-type",
    }
    preflight = server.as_().call("OPTIONS", "/test.script/run", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-storageapi-token" in preflight.headers["Access-Control-Allow-Headers"].lower()
    for caller in ("manage", ""):
        answer = server.as_(caller).call("GET", "/stats/project", headers={"Origin": "https://elsewhere.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_call_that_is_open_stays_open_with_bad_credentials(server: ApiServer) -> None:
    assert server.as_("revoked").call("GET", OPEN).status_code == 200
