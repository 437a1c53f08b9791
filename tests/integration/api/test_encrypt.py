"""Encrypting over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.installation import Installation
from tests.integration.api.clients import Api, error_of, serving

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of, key_file

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TEXT = {"Content-Type": "text/plain"}
ALL = Scope("a.b", "515", "c-1", "dev")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    installation = Installation(tmp_path_factory.mktemp("encrypt"))
    manifest = {
        "version": 2,
        "project": {"id": 515, "apiHost": "connection.example.com"},
        "branches": [{"id": 1, "path": "main"}],
        "configurations": [],
    }
    folder = installation.folder / "project" / ".keboola"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with serving(installation) as api:
        yield api


def decrypted(api: Api, value: Any, scope: Scope = ALL) -> Any:
    return encryptor_of(api.installation.settings).decrypt(value, scope)


@pytest.mark.rules("API-18", "API-45", "EN-4")
@pytest.mark.parametrize(
    ("query", "kind", "readers", "others"),
    [
        ("componentId=a.b", "ComponentSecure", Scope("a.b"), Scope("a.c", "515", "c-1", "dev")),
        ("componentId=a.b&projectId=515", "ProjectSecure", Scope("a.b", "515"), Scope("a.b", "516", "c-1", "dev")),
        (
            "componentId=a.b&projectId=515&configId=c-1",
            "ConfigSecure", Scope("a.b", "515", "c-1"), Scope("a.b", "515", "c-2", "dev"),
        ),
        (
            "componentId=a.b&projectId=515&branchType=dev",
            "BranchTypeSecure", Scope("a.b", "515", "", "dev"), Scope("a.b", "515", "c-1", "default"),
        ),
        (
            "configId=c-1&componentId=a.b&projectId=515&branchType=dev",
            "BranchTypeConfigSecure", ALL, Scope("a.b", "515", "c-1", "default"),
        ),
        ("projectId=515", "ProjectWideSecure", Scope("", "515"), Scope("a.b", "516", "c-1", "dev")),
        (
            "projectId=515&branchType=default",
            "ProjectWideBranchTypeSecure", Scope("", "515", "", "default"), Scope("a.b", "515", "c-1", "dev"),
        ),
    ],
)  # fmt: skip
def test_the_parameters_say_who_may_read(api: Api, query: str, kind: str, readers: Scope, others: Scope) -> None:
    answer = api.call("POST", f"/encrypt?{query}", content="s3cret ř\n", headers=TEXT)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text.startswith(f"KBC::{kind}::")
    assert decrypted(api, {"#": answer.text}, readers) == {"#": "s3cret ř\n"}
    with pytest.raises(Exception, match="made for another"):
        decrypted(api, {"#": answer.text}, others)


@pytest.mark.rules("API-45")
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "The parameter componentId is required"),
        ("componentId=&projectId=", "The parameter componentId is required"),
        ("projectId=515&configId=c&other=1", "The parameter componentId is required"),
        ("componentId=a.b&configId=c&other=1", "configId needs projectId"),
        ("componentId=a.b&branchType=dev", "branchType needs projectId"),
        ("componentId=a.b&other=1", "Unknown parameter 'other'; allowed are componentId, projectId, configId"),
        ("componentId=a.b&componentid=a.b", "Unknown parameter 'componentid'"),
        ("componentId=a.b&componentId=a.c", "componentId was given several times"),
        ("componentId=a.b&projectId=515&branchType=main", "must be default or dev"),
        ("componentId=a.b&projectId=516", "must be the id of this installation's project, which is 515."),
    ],
)
def test_parameters_that_are_missing_unknown_or_wrong_are_named(api: Api, query: str, said: str) -> None:
    # Before anything is said of the body.
    for headers in (TEXT, {}):
        assert said in error_of(api.call("POST", f"/encrypt?{query}", content="{", headers=headers), 400)


@pytest.mark.rules("API-46", "API-47", "EN-1", "EN-2", "EN-7", "EN-8", "EN-15")
def test_a_document_keeps_its_form_and_its_ciphers(api: Api) -> None:
    cipher = api.call("POST", "/encrypt?componentId=z.z", content="x", headers=TEXT).text
    document = {
        "#a": "s3cret", "#number": 17, "#yes": True, "#nothing": None, "#cipher": cipher, "#placeholder": "{{ name }}",
        "map": {}, "list": [], "#deep": [{"#b": "other", "c": "open"}, {}], "open": ["#a", 1.5, None],
    }  # fmt: skip
    for kind in ("application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"'):
        answer = api.call(
            "POST", "/encrypt?componentId=a.b", content=json.dumps(document), headers={"Content-Type": kind}
        )
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        got = answer.json()
        assert list(got) == list(document)
        for name in ("#cipher", "#placeholder", "map", "list", "open"):
            assert got.pop(name) == document[name]
        assert decrypted(api, got) == {
            "#a": "s3cret", "#number": "17", "#yes": "1", "#nothing": "", "#deep": [{"#b": "other", "c": "open"}, {}],
        }  # fmt: skip
        assert "s3cret" not in answer.text
        assert got["#deep"][0]["#b"].startswith("KBC::ComponentSecure::")
    assert api.post("/encrypt?componentId=a.b", [{"#a": "x"}, []]).json()[1] == []


@pytest.mark.rules("API-46", "EN-3", "EN-7")
def test_a_text_is_encrypted_as_a_whole(api: Api) -> None:
    for kind in ("text/plain", "TEXT/Plain; Charset=utf-8"):
        answer = api.call("POST", "/encrypt?componentId=a.b", content='{"#a": "x"}', headers={"Content-Type": kind})
        assert decrypted(api, {"#": answer.text}) == {"#": '{"#a": "x"}'}
        again = api.call("POST", "/encrypt?componentId=a.c", content=answer.text, headers={"Content-Type": kind})
        assert again.text == answer.text


@pytest.mark.rules("API-46")
@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (None, b"x", "must be text/plain or application/json"),
        ("", b"x", "must be text/plain or application/json"),
        ("application/x-www-form-urlencoded", b"x", "must be text/plain or application/json"),
        ("text/plainer", b"x", "must be text/plain or application/json"),
        ("text/plain; charset=latin-1", b"x", "must be utf-8, not 'latin-1'"),
        ("text/plain", b"\xff", "not UTF-8"),
        ("text/plain", b"", "nothing to encrypt"),
        ("application/json", b"{", "not valid JSON"),
        ("application/json", b'{"#a": 1, "#a": 2}', "second time"),
        ("application/json", b'"s3cret"', "a map or a list; a single value is sent as text/plain"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(api: Api, kind: str | None, content: bytes, said: str) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/encrypt?componentId=a.b", "/a.b/encrypt"):
        assert said in error_of(api.call("POST", path, content=content, headers=headers), 400)


@pytest.mark.rules("API-27", "API-45")
def test_a_component_may_stand_in_the_path(api: Api) -> None:
    answer = api.post("/a.b/encrypt", {"#a": "s3cret", "b": {}}, token=api.reader)
    assert answer.json()["#a"].startswith("KBC::ComponentSecure::")
    assert decrypted(api, answer.json(), Scope("a.b")) == {"#a": "s3cret", "b": {}}
    message = error_of(api.post("/a.b/encrypt?projectId=515", {"#a": "s3cret"}), 400)
    assert message == "Unknown parameter 'projectId'; there are none."


@pytest.mark.rules("D17", "API-43")
def test_no_call_decrypts(api: Api) -> None:
    paths = api.call("GET", "/openapi.json").json()["paths"]
    assert not [path for path in paths if "decrypt" in path or "migrate" in path]
    for path in ("/decrypt", "/migrate", "/migrate?componentId=a.b"):
        assert error_of(api.post(path, {"#a": "x"}), 404)


def test_keys_that_cannot_be_used_are_no_fault_of_the_caller(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_file(api.installation.settings).exists()
    monkeypatch.setenv("DOCKER_RUNNER_KEYS", "not-a-key")
    answer = api.post("/a.b/encrypt", {"#a": "s3cret"})
    assert error_of(answer, 500).startswith("The runner failed. Try again")
    assert "Encryption key 1 of 1 is none" in caplog.text
