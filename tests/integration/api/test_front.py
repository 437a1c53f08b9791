"""What stands before every call: who is let in, how much and how often, and how errors are told."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.installation import Installation
from tests.integration.api.clients import HEADER, Api, TestClient, error_of, new_token, serving
from tests.tokens import expired_token

from docker_runner.storage import open_ledger
from docker_runner.storage.tokens import Permissions
from docker_runner_airflow.api import encrypt_calls
from docker_runner_airflow.api.application import create_application

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ENCRYPT = "/encrypt?componentId=a.b"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(Installation(tmp_path_factory.mktemp("front"))) as api:
        yield api


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.mark.rules("API-2", "API-48")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/docs"), ("GET", "/docs/swagger-ui.css"), ("GET", "/openapi.json"), ("GET", "/"), ("GET", "/no/call"),
        ("POST", "/health/"), ("GET", "//health"), ("GET", "/healthy"), ("POST", "/encrypt"), ("PUT", "/encrypt"),
        ("POST", "/a.b/action/look"), ("POST", "/branch/main/a.b/action/look"), ("POST", "/a.b/encrypt"),
    ],
)  # fmt: skip
def test_nobody_gets_in_without_credentials_whatever_they_ask_for(api: Api, method: str, path: str) -> None:
    for content in (b"{}", b"{ not JSON"):
        answer = api.call(method, path, token="", content=content, headers={"Content-Type": "application/json"})
        assert "Storage token in the header X-StorageApi-Token" in error_of(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.rules("API-2")
def test_only_health_asks_nobody_who_they_are_and_it_tells_nothing(api: Api) -> None:
    answer = api.call("GET", "/health", token="")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.rules("API-2", "API-3")
def test_tokens_that_are_not_good_are_refused_and_never_repeated(api: Api) -> None:
    settings = api.installation.settings
    revoked = new_token(api.installation, "revoked", Permissions(can_manage=True))
    open_ledger(settings.storage).revoke_token(revoked.token.id)
    expired = expired_token(open_ledger(settings.storage), "expired", Permissions(can_manage=True))
    for secret, said in (
        (revoked.secret, "revoked"),
        (expired.secret, "expired"),
        (api.token[:-1] + ("A" if api.token[-1] != "A" else "B"), ""),
        ("dr-999999-" + "x" * 40, ""),
        ("4711-secret", ""),
        (" ", ""),
    ):
        message = error_of(api.call("POST", ENCRYPT, token="", headers={HEADER: secret}), 401)
        assert said in message
        assert secret.strip() == "" or secret not in message


@pytest.mark.rules("API-3")
def test_the_run_id_of_the_caller_is_in_errors(api: Api) -> None:
    answer = api.call("GET", "/no/call", headers={"X-KBC-RunId": "12.34"})
    assert error_of(answer, 404) == "There is no such call."
    assert answer.json()["runId"] == "12.34"
    assert error_of(api.call("GET", ENCRYPT), 405) == "This call does not exist with this method."


@pytest.mark.rules("API-3")
def test_a_crash_tells_nothing_but_where_it_is_in_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("at /secret/place")

    monkeypatch.setattr(encrypt_calls, "airflow_encryptor", crash)
    caplog.set_level(logging.ERROR, "docker_runner")
    answer = api.post(ENCRYPT, {"#a": "b"})
    message = error_of(answer, 500)
    assert "secret" not in answer.text
    assert answer.json()["exceptionId"] in message
    [record] = [record for record in caplog.records if answer.json()["exceptionId"] in record.getMessage()]
    assert record.exc_info
    assert "secret/place" in str(record.exc_info[1])


@pytest.mark.rules("API-3")
def test_storage_that_is_down_is_no_fault_of_the_caller(installation: Installation) -> None:
    with serving(installation) as api:
        installation.variables["DOCKER_RUNNER_STORAGE"] = (
            f"ducklake:postgres:host=127.0.0.1 port=1 dbname=lake user=lake?data_path={installation.folder}"
        )
        application = create_application(installation.settings)
        with TestClient(application, raise_server_exceptions=False) as client:
            answer = client.get("/jobs", headers={HEADER: api.token})
    assert error_of(answer, 500).startswith("Storage failed or cannot be reached. Try again")
    assert "127.0.0.1" not in answer.text


@pytest.mark.rules("API-4")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"", "missing"),
        (b"[1]", "dictionary"),
        (b"\xff{}", "not UTF-8"),
        (b'{"configData": {}, "configData": {}}', "second time"),
        (b'{"configData": {"a": NaN}}', "NaN"),
        (b'{"configData": {"a": 1e999}}', "too large"),
        (b'{"configData": {"a": "\\ud83d"}}', "half a character"),
        (b'{"configData": {"a": "\\u0000"}}', "cannot be stored"),
        (b'{"configData": {"\\u0000": 1}}', "cannot be stored"),
        (b'{"configData": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}", "nested more than 100"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"configData": {}, "other": 1}', "Unknown attribute other; allowed are configData"),
        (b'{"configData": "text"}', "configData"),
        (b'{"configData": null}', "configData"),
        (b"{}", "configData is missing."),
    ],
)
def test_a_body_is_json_to_the_letter_with_known_attributes(api: Api, body: bytes, said: str) -> None:
    api.installation.component("test.asked", {"synchronous_actions": ["look"]})
    json_type = {"Content-Type": "application/json; charset=utf-8"}
    answer = api.call("POST", "/test.asked/action/look", content=body, headers=json_type)
    assert said in error_of(answer, 400)
    if body.startswith(b"{"):
        answer = api.call("POST", "/test.asked/action/look", content=body, headers={"Content-Type": "text/plain"})
        assert "sent with the header Content-Type" in error_of(answer, 400)


def test_a_parameter_that_a_call_does_not_have_is_refused_and_not_left_out(api: Api) -> None:
    api.installation.component("test.asked", {"synchronous_actions": ["look"]})
    inline = {"configData": {"parameters": {}}}
    for path, allowed in (
        ("/test.asked/run?tag=1", "this call has none"),
        ("/branch/main/test.asked/debug?branchId=2&tag=1", "this call has none"),
        ("/sandbox?rows=1&format=json", "allowed are format"),
        ("/test.asked/action/look?branch=main", "this call has none"),
        ("/configuration/resolve?branch=main", "this call has none"),
        ("/run?component=test.asked", "this call has none"),
        ("/jobs?component=test.asked", "this call has none"),
    ):
        message = error_of(api.post(path, inline), 400)
        assert message.startswith("Unknown parameter "), path
        assert message.endswith(f"{allowed}."), path


@pytest.mark.rules("API-4")
def test_pages_of_others_may_call_with_a_token_and_without_the_browsers_credentials(api: Api) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = api.call("OPTIONS", ENCRYPT, token="", headers={**asked, "Access-Control-Request-Headers": HEADER})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert HEADER.lower() in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for token in (None, ""):
        answer = api.call("POST", ENCRYPT, token=token, content="x", headers={"Origin": "https://elsewhere.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_request_that_is_too_large_is_refused_before_it_is_read_whole(installation: Installation) -> None:
    installation.variables["DOCKER_RUNNER_API_MAX_BODY_BYTES"] = "1000"
    text = {"Content-Type": "text/plain"}
    taken = 0

    def streamed() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b"x" * 100

    with serving(installation) as api:
        assert api.call("POST", ENCRYPT, content=b"x" * 1000, headers=text).status_code == 200
        for content in (b"x" * 1001, streamed()):
            assert "more than 1000 bytes" in error_of(api.call("POST", ENCRYPT, content=content, headers=text), 413)
        assert error_of(api.call("POST", ENCRYPT, token="", content=b"x" * 1001), 401)
        assert api.call("POST", ENCRYPT, content=b"x", headers={**text, "Content-Length": "9" * 30}).status_code == 413


def test_who_calls_too_often_is_told_when_to_come_again(installation: Installation) -> None:
    installation.variables["DOCKER_RUNNER_API_RATE"] = "3/hour"
    with serving(installation) as api:
        for _ in range(3):
            assert api.call("GET", "/openapi.json").status_code == 200
        answer = api.call("GET", "/openapi.json")
        assert "Too many requests" in error_of(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= 3600
        # Others are not kept out by one.
        assert api.call("GET", "/openapi.json", token=api.reader).status_code == 200
        for _ in range(3):
            assert api.call("GET", "/openapi.json", token="dr-1-" + os.urandom(20).hex()).status_code == 401
        # Whoever tries one secret after the other is kept out, also with a good one.
        for secret in ("dr-1-" + os.urandom(20).hex(), api.reader):
            answer = api.call("GET", "/openapi.json", token=secret)
            assert error_of(answer, 429)
            assert answer.headers["Retry-After"]
        assert api.call("GET", "/health", token="").status_code == 200


def test_the_documentation_leads_people_to_the_login_and_back(api: Api) -> None:
    answer = api.call("GET", "/docs", token="", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("text/html")
    assert '<a href="/api/v2/auth/login?next=%2Fdocs" target="_top">' in answer.text
    for path, accepted in (("/docs", "application/json"), ("/openapi.json", "text/html"), ("/no/call", "text/html")):
        assert error_of(api.call("GET", path, token="", headers={"Accept": accepted}), 401)


def test_the_documentation_needs_nothing_from_elsewhere(api: Api) -> None:
    page = api.call("GET", "/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    # Without this Swagger UI has a service on the internet check the description.
    assert '"validatorUrl": null' in page.text
    for name, kind in (("swagger-ui-bundle.js", "javascript"), ("swagger-ui.css", "css"), ("favicon.png", "png")):
        part = api.call("GET", f"/docs/{name}")
        assert part.status_code == 200
        assert kind in part.headers["Content-Type"]
        assert f"/docs/{name}" in page.text
    # OpenAPI 3.1 is shown since version 5.
    assert api.call("GET", "/openapi.json").json()["openapi"].startswith("3.1")
    assert "openapi: 3.1.x" in api.call("GET", "/docs/swagger-ui-bundle.js").text
    for name in ("index.html", "..%2f__init__.py", "swagger-ui-bundle.js.map"):
        assert error_of(api.call("GET", f"/docs/{name}"), 404)


def test_the_description_names_every_answer_of_every_call(api: Api) -> None:
    document = api.call("GET", "/openapi.json").json()
    assert document["security"] == [{"AirflowUser": []}, {"StorageToken": []}]
    for path, calls in document["paths"].items():
        for call in calls.values():
            assert "422" not in call["responses"]
            if path == "/health":
                assert call["security"] == []
            else:
                assert {"400", "401", "403", "413", "429", "500"} <= set(call["responses"]), path
