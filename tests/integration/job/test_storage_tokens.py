"""Jobs that work with a Storage token: what it does not allow is refused, before anything runs where it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.errors import ConfigurationError, ForbiddenError, TokenError, UserError
from docker_runner.job.request import JobRequest
from docker_runner.storage import open_ledger
from docker_runner.storage.tokens import FileAccess, Permissions, bucket_permissions

COPY = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')"
MAPPING: dict[str, Any] = {
    "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
    "output": {"tables": [{"source": "t.csv", "destination": "out.c-main.copied"}]},
}
VARIABLE = "DOCKER_RUNNER_STORAGE_TOKEN"


def token(installation: Installation, *buckets: str, **more: Any) -> str:
    """The secret of a new token."""
    ledger = open_ledger(installation.settings.storage)
    return ledger.create_token("night", Permissions(bucket_permissions(buckets), **more), creator="test").secret


def cipher(installation: Installation, secret: str) -> str:
    return encryptor_of(installation.settings, create=True).encrypt_value(secret, Scope(SCRIPT))


@pytest.mark.engine
def test_a_job_with_the_right_token_runs_and_its_secret_is_nowhere(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    secret = token(installation, "in.c-main:read", "out.c-main:write")
    installation.variables[VARIABLE] = secret
    # In two parts, so that the configuration itself does not hold it.
    script = f"print('leak', '{secret[:20]}' + '{secret[20:]}'); {COPY}"
    state = "open('/data/out/state.json', 'w').write('{\"n\": 1}')"
    upload = "open('/data/out/files/f', 'w').write('x')"
    installation.configuration("copy", {"parameters": {"script": f"{script}; {state}; {upload}"}, "storage": MAPPING})
    done = installation.command("run", f"{SCRIPT}/copy")
    assert done.returncode == 0, done.stderr
    assert "leak [hidden]" in done.stderr
    shown = installation.command("storage", "events", "--json").stdout
    assert '"storage_tokens": [{"id": 1, "description": "night"}]' in shown
    del installation.variables[VARIABLE]
    assert installation.rows("out.c-main.copied") == [{"id": "1"}]
    assert installation.state("copy")["component"] == {"n": 1}
    # With files:own the next job with this token finds the file, and nobody else's.
    assert [file.owner for file in installation.files()] == [1]
    everything = done.stdout + done.stderr + shown
    for path in (installation.folder / "home").rglob("*"):
        everything += path.read_bytes().decode("latin-1") if path.is_file() else ""
    assert secret.split("-", 2)[2] not in everything


@pytest.mark.parametrize(
    ("buckets", "more", "storage", "message"),
    [
        (
            ["out.c-main:write"], {}, MAPPING,
            r"storage\.input\.tables\[0\]\.source: .*read the table in\.c-main\.t: .*permission in\.c-main:read",
        ),
        (
            ["*:read"], {}, MAPPING,
            r"storage\.output\.tables\[0\]\.destination: .*write the table out\.c-main\.copied.*out\.c-main:write",
        ),
        (
            ["*:write"], {"files": FileAccess.NONE}, {"input": {"files": [{"tags": ["a"]}]}},
            r"storage\.input\.files: .*files:own",
        ),
        (
            ["*:write"], {"files": FileAccess.NONE}, {"output": {"files": [{"source": "f"}]}},
            r"storage\.output\.files: .*files:own",
        ),
        (["*:write"], {"read_only": True}, {}, r"token 1 \(night\) may only read: no job can run with it"),
    ],
)  # fmt: skip
def test_what_a_mapping_may_not_do_is_refused_before_anything_runs(
    tmp_path: Path, buckets: list[str], more: dict[str, Any], storage: dict[str, Any], message: str
) -> None:
    installation = Installation(tmp_path)
    installation.variables[VARIABLE] = token(installation, *buckets, **more)
    installation.configuration("copy", {"parameters": {"script": "pass"}, "storage": storage})
    # The engine is not even asked: refused is what could not end well.
    with pytest.raises((ConfigurationError, ForbiddenError), match=message):
        installation.run("copy")
    assert installation.workspaces == []


@pytest.mark.engine
def test_what_only_the_component_decides_is_refused_at_the_commit_and_nothing_is_stored(
    installation: Installation,
) -> None:
    secret = token(installation, "out.c-main:write")
    output = {"tables": [{"source": "fine.csv", "destination": "out.c-main.fine"}]}
    script = (
        "for name in ('fine', 'in.c-other.sneaked'): open(f'/data/out/tables/{name}.csv', 'w').write('id\\n1\\n')\n"
        "open('/data/out/state.json', 'w').write('{\"n\": 1}')\n"
        "open('/data/out/files/f', 'w').write('x')\n"
    )
    installation.configuration(
        "sneaks",
        {
            "parameters": {"script": script},
            "storage": {"output": output},
            "runtime": {"#storage_token": cipher(installation, secret)},
        },
    )
    with pytest.raises(ForbiddenError, match=r"may not write the table in\.c-other\.sneaked.*in\.c-other:write"):
        installation.run("sneaks")
    assert installation.tables() == []
    assert installation.files() == []
    assert installation.state("sneaks") == {}


@pytest.mark.engine
def test_the_token_of_the_request_counts_before_that_of_the_configuration_and_of_the_installation(
    installation: Installation,
) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    good = token(installation, "in.c-main:read", "out.c-main:write")
    poor = token(installation)
    installation.variables[VARIABLE] = poor
    installation.script("plain", COPY, storage=MAPPING)
    refused = installation.command("run", f"{SCRIPT}/plain")
    assert refused.returncode == 1
    assert "The Storage token 2 (night) may not read the table in.c-main.t" in refused.stderr
    runtime = {"#storage_token": cipher(installation, poor)}
    installation.script("own", COPY, storage=MAPPING, runtime=runtime)
    done = installation.command("run", f"{SCRIPT}/own", "--token-env", "MY_TOKEN", MY_TOKEN=good)
    assert done.returncode == 0, done.stderr
    installation.variables[VARIABLE] = good
    refused = installation.command("run", f"{SCRIPT}/own")
    assert (refused.returncode, "token 2 (night)" in refused.stderr) == (1, True)
    for value, message in (("", "MY_TOKEN is empty"), ("wrong", "MY_TOKEN has not the form")):
        refused = installation.command("run", f"{SCRIPT}/own", "--token-env", "MY_TOKEN", MY_TOKEN=value)
        assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr


@pytest.mark.rules("LC-5")
def test_a_token_that_is_not_good_stops_the_job_before_anything_runs(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.script("any", "pass")
    secret = token(installation)
    ledger = open_ledger(installation.settings.storage)
    ledger.revoke_token(1)
    for value, message in (
        (secret, r"token 1 \(night\) was revoked"),
        ("dr-9-" + "x" * 43, "in DOCKER_RUNNER_STORAGE_TOKEN is unknown here"),
        ("", "in DOCKER_RUNNER_STORAGE_TOKEN is empty"),
    ):
        installation.variables[VARIABLE] = value
        with pytest.raises(TokenError, match=message):
            installation.run("any")
    assert installation.workspaces == []


def test_a_token_in_plain_text_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.script("named", "pass", runtime={"storage_token": "dr-1-x"})
    with pytest.raises(ConfigurationError, match=r"runtime\.storage_token: .*write it as #storage_token"):
        installation.job("named")
    installation.script("plain", "pass", runtime={"#storage_token": "dr-1-x"})
    with pytest.raises(ConfigurationError, match=r"runtime\.#storage_token: The value is not encrypted"):
        installation.job("plain")
    for text in ("dr-1-x", "", 5):
        with pytest.raises(UserError, match="storage_token must be a cipher") as refused:
            JobRequest.from_params({"storage_token": text})
        assert "dr-1-x" not in str(refused.value)


def test_an_empty_token_of_a_configuration_is_not_full_rights(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.script("empty", "pass", runtime={"#storage_token": ""})
    with pytest.raises(TokenError, match=r"runtime\.#storage_token of test\.script/empty is empty"):
        installation.run("empty")


def test_the_job_on_disk_holds_a_cipher(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.script("any", "pass")
    secret = token(installation)
    job = installation.job("any", storage_token=cipher(installation, secret))
    assert secret not in job.to_json()
    assert json.loads(job.to_json())["storage_token"].startswith("KBC::ProjectSecure::")
    assert type(job).from_json(job.to_json()) == job
    assert "KBC::" not in repr(job)
