"""Credentials from a service that answers like Keboola's OAuth broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from docker_runner import oauth
from docker_runner.encryption import Encryptor, Scope
from docker_runner.encryption_keys import new_key
from docker_runner.errors import ApplicationError, UserError
from docker_runner.oauth import credentials_at
from docker_runner.settings import Settings

TOKEN = "4711-42-tokenTOKENtoken"
RECORD = {"id": "7", "authorizedFor": "me", "appKey": "app", "#data": '{"access_token":"s3cret"}', "#appSecret": "t0p"}
ENCRYPTOR = Encryptor((new_key(),))


class Broker(BaseHTTPRequestHandler):
    """Gives the prepared answers in turn, the last one for ever, and remembers what it was asked."""

    answers: ClassVar[list[tuple[int, Any]]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []
    pause = 0.0

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked.append((self.path, self.headers.get("X-StorageApi-Token")))
        status, answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            for index in range(0, len(body), size := 10 if self.pause else len(body)):
                self.wfile.write(body[index : index + size])
                time.sleep(self.pause)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    Broker.answers, Broker.asked, Broker.pause = [(200, RECORD)], [], 0.0
    with ThreadingHTTPServer(("127.0.0.1", 0), Broker) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def fetched(url: str, *, component: str = "vendor.ex-foo", token: str = TOKEN) -> dict[str, Any]:
    return credentials_at(url, ENCRYPTOR, project_id="1", token=token).get(component, "7/8")


@pytest.mark.rules("AU-3", "AU-4", "AU-9")
def test_credentials_are_asked_for_with_the_token_and_kept_encrypted(url: str) -> None:
    record = fetched(url)
    assert Broker.asked == [("/credentials/vendor.ex-foo/7%2F8", TOKEN)]
    assert "s3cret" not in json.dumps(record)
    assert ENCRYPTOR.decrypt(record, Scope("vendor.ex-foo", "1")) == RECORD


@pytest.mark.rules("AU-3")
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_the_users_error_with_the_services_words_and_is_not_repeated(url: str, status: int) -> None:
    Broker.answers = [(status, {"message": "No such credentials, sorry."})]
    with pytest.raises(UserError, match=r"refuses the credentials '7/8' of vendor\.ex-foo: No such credentials, sorry"):
        fetched(url)
    assert len(Broker.asked) == 1


@pytest.mark.rules("AU-3")
def test_a_failure_that_passes_is_not_noticed(url: str) -> None:
    Broker.answers = [(503, "busy"), (500, ""), (200, RECORD)]
    assert fetched(url)["id"] == "7"


@pytest.mark.rules("AU-3")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((500, {"error": "out of order"}), r"failed \(500\): out of order"),
        ((502, "<html>"), r"failed \(502\): it does not say why"),
        ((302, ""), r"failed|gives no credentials"),
        ((200, "<html>"), "gives no credentials"),
        ((200, {"id": "7"}), "gives no credentials: .*#data"),
    ],
)
def test_a_service_that_fails_is_no_fault_of_the_user(url: str, answer: tuple[int, Any], says: str) -> None:
    Broker.answers = [answer]
    with pytest.raises(ApplicationError, match=says) as error:
        fetched(url)
    assert TOKEN not in str(error.value)
    assert {path for path, _ in Broker.asked} == {"/credentials/vendor.ex-foo/7%2F8"}


def test_nobody_there_is_told_without_the_token() -> None:
    with pytest.raises(ApplicationError, match=r"http://127\.0\.0\.1:9 does not answer: ConnectionError") as error:
        fetched("http://127.0.0.1:9")
    assert TOKEN not in str(error.value)


def test_without_a_token_the_service_is_not_asked(url: str) -> None:
    with pytest.raises(UserError, match="DOCKER_RUNNER_KBC_TOKEN is not set"):
        fetched(url, token="")
    assert Broker.asked == []


def test_secrets_are_never_sent_over_a_network_in_plain_text() -> None:
    with pytest.raises(UserError, match="must be an https:// address or a folder"):
        Settings.from_environment({"DOCKER_RUNNER_OAUTH": "http://oauth.example.com"})


@pytest.mark.rules("AU-3")
def test_a_service_that_never_comes_to_an_end_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oauth, "_LONGEST_ANSWER_SECONDS", 0.3)
    Broker.answers, Broker.pause = [(200, "x" * 10_000)], 0.05
    with pytest.raises(ApplicationError, match="does not come to the end of its answer"):
        fetched(url)
    assert len(Broker.asked) == 1


@pytest.mark.rules("AU-3")
def test_an_answer_without_end_is_not_kept_in_memory(url: str) -> None:
    Broker.answers = [(200, "x" * 3_000_000)]
    with pytest.raises(ApplicationError, match="gives no credentials: far too much"):
        fetched(url)
