"""``docker-runner storage token …`` and ``storage events``, and what a token in the environment makes of the others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from docker_runner.errors import ForbiddenError, TokenError, UserError
from docker_runner.storage import open_ledger
from docker_runner.storage.events import EventSource, EventType, new_event
from docker_runner.storage_commands import app


@pytest.fixture
def ledger_uri(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Storage for the commands to use, on which nobody has a token."""
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE", uri)
    monkeypatch.delenv("DOCKER_RUNNER_STORAGE_TOKEN", raising=False)
    return uri


def call(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result


def secret_of(*options: str) -> str:
    return call("token", "create", "test", *options).stdout.strip()


def test_the_secret_is_alone_on_standard_output_and_shown_once(ledger_uri: str) -> None:
    made = call("token", "create", "nightly orders", "--bucket", "in.c-main:read", "--bucket", "out.c-main:write")
    secret = made.stdout.strip()
    assert made.stdout == f"{secret}\n"
    assert secret.startswith("dr-1-")
    assert "token 1 (nightly orders): in.c-main:read, out.c-main:write, files:own" in made.stderr
    assert secret not in made.stderr
    for shown in (call("token", "list"), call("token", "list", "--json")):
        assert "nightly orders" in shown.output
        assert secret.split("-", 2)[2] not in shown.output


def test_programs_get_tokens_as_json(ledger_uri: str) -> None:
    made = json.loads(call("token", "create", "t", "--files", "all", "--expires", "30d", "--json").stdout)
    assert open_ledger(ledger_uri).tokens()[0].id == made["id"] == 1
    assert made["token"].startswith("dr-1-")
    expires = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < expires < timedelta(days=30)
    permissions = {"buckets": {}, "files": "all", "can_manage": False, "read_only": False}
    (listed,) = json.loads(call("token", "list", "--json").stdout)
    assert listed["permissions"] == permissions
    assert "token" not in listed
    assert set(made) - set(listed) == {"token"}


def test_tokens_are_listed_with_their_state_and_revoked(ledger_uri: str) -> None:
    assert call("token", "list").output == "There are no tokens yet.\n"
    secret_of("--manage")
    secret_of("--read-only", "--expires", "1h")
    assert call("token", "revoke", "1").output == "Revoked the token 1 (test).\n"
    lines = call("token", "list").output.splitlines()
    assert "everything" in lines[3]
    assert "revoked 20" in lines[3]
    assert "files:own (read only)" in lines[4]
    assert "until 20" in lines[4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bucket", "in.c-main"), "is not a permission"),
        (("--files", "some"), "--files must be none, own, all"),
        (("--expires", "soon"), "--expires must be a time such as 7d"),
        (("--expires", "0d"), "must not have expired"),
    ],
)
def test_wrong_options_make_no_token(ledger_uri: str, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call("token", "create", "t", *options)
    assert open_ledger(ledger_uri).tokens() == []


def test_the_token_in_the_environment_counts_for_every_command(
    ledger_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n")
    call("import", "in.c-main.t", tmp_path / "t.csv")
    call("import", "in.c-secret.t", tmp_path / "t.csv")
    call("upload", tmp_path / "t.csv")
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE_TOKEN", secret_of("--bucket", "in.c-main:read"))
    assert "in.c-secret" not in call("list").output
    assert call("export", "in.c-main.t").stdout == '"id"\n"1"\n'
    assert call("files").output == "There are no files yet.\n"
    assert "created" in call("history", "in.c-main.t").output
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    assert call("export", "in.c-main.t", "--at", now).stdout == '"id"\n"1"\n'
    for refused in (
        ("history", "in.c-secret.t"),
        ("export", "in.c-secret.t", "--at", now),
        ("restore", "in.c-main.t", "--at", now),
        ("drop", "in.c-main.t"),
        ("sql", "select 1"),
        ("delete-file", "1"),
        ("export", "in.c-secret.t"),
        ("show", "in.c-secret.t"),
        ("import", "in.c-main.t", tmp_path / "t.csv"),
        ("maintain",),
        ("token", "list"),
        ("token", "create", "more", "--manage"),
        ("token", "revoke", "1"),
    ):
        with pytest.raises(ForbiddenError, match=r"token 1 \(test\) may not"):
            call(*refused)


def test_a_token_that_went_missing_is_not_taken_for_full_rights(
    ledger_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE_TOKEN", "")
    for command in (("list",), ("token", "list"), ("events",), ("maintain",)):
        with pytest.raises(TokenError, match="DOCKER_RUNNER_STORAGE_TOKEN is empty"):
            call(*command)


def test_events_are_shown_chosen_and_given_to_programs(ledger_uri: str) -> None:
    assert call("events").output == "There are no events yet.\n"
    source = EventSource("dag/run-1", "run-1", "vendor.ex", "main", "row")
    first = new_event(source, EventType.INFO, "Fetched.\nAll of it.", seconds=2)
    second = new_event(EventSource("dag/run-2", "run-2", "vendor.wr", "main"), EventType.WARN, "Careful.")
    open_ledger(ledger_uri).add_events([first, second])
    shown = call("events").output
    line = "info     vendor.ex/main/row  Fetched.\n    All of it. (2.0 s)\n"
    assert f"{first.created:%Y-%m-%d %H:%M:%S}  {line}" in shown
    assert shown.index("Fetched") < shown.index("Careful")
    for chosen in (("--run", "run-2"), ("--configuration", "vendor.wr/main"), ("--type", "warn"), ("--limit", "1")):
        found = call("events", *chosen).output
        assert ("Careful" in found, "Fetched" in found) == (True, False), chosen
    assert call("events", "--configuration", "vendor.wr/other").output == "There are no such events.\n"
    assert "Fetched" in call("events", "--since", "-1 hour").output
    (line,) = call("events", "--run", "dag/run-1", "--json").stdout.splitlines()
    assert json.loads(line) == first.document()
    with pytest.raises(UserError, match="--type must be info, warn, error, success"):
        call("events", "--type", "debug")
