"""`docker-runner encrypt` and `docker-runner oauth`: what the owner of secrets does with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write
from tests.commands import Command, refused

from docker_runner.encryption import Scope, is_cipher
from docker_runner.encryption_keys import encryptor_of, new_key
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.oauth import StoredCredentials
from docker_runner.settings import Settings
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, StateKey

FOLDER = "main/extractor/vendor.ex-foo"


def value_of(document: dict[str, Any], scope: Scope) -> Any:
    """What a run of such a scope would read."""
    return encryptor_of(Settings.from_environment()).decrypt(document, scope)


def test_a_value_from_standard_input_becomes_a_cipher_and_stays_off_the_screen(command: Command) -> None:
    done = command("encrypt", "--component", "vendor.ex-foo", "--value", input="hunter2\n")
    assert done.exit_code == 0
    assert value_of({"#a": done.stdout.strip()}, Scope("vendor.ex-foo")) == {"#a": "hunter2"}
    assert "hunter2" not in done.output
    assert done.stderr == ""


def test_a_value_for_a_component_that_nobody_has_registered_comes_with_a_warning(command: Command) -> None:
    done = command("encrypt", "--component", "vendor.ex-fo", "--value", input="hunter2\n")
    assert done.exit_code == 0
    assert is_cipher(done.stdout.strip())
    assert len(done.stderr.splitlines()) == 1
    assert "'vendor.ex-fo' is not registered" in done.stderr
    assert "Did you mean vendor.ex-foo?" in done.stderr
    assert command("encrypt", "--component", "vendor.new", "--definition", "--value", input="x").stderr == ""


def test_a_secret_of_several_lines_keeps_its_own_last_line_end(command: Command) -> None:
    done = command("encrypt", "--component", "vendor.ex-foo", "--value", input="-----BEGIN-----\nx\n\n")
    assert value_of({"#a": done.stdout.strip()}, Scope("vendor.ex-foo")) == {"#a": "-----BEGIN-----\nx\n"}


@pytest.mark.rules("EN-1", "EN-7", "EN-11", "D18")
def test_a_whole_project_is_encrypted_in_place_for_the_component_of_each_configuration(
    built: ProjectBuilder, command: Command
) -> None:
    main = built.configuration({"parameters": {"#a": "s3cret-1", "b": "open"}}, rows={"r": {"parameters": {"#c": 7}}})
    built.component("vendor.other")
    other = write(built.directory / "main/other/vendor.other/x/config.json", {"parameters": {"#d": "{{ v }}"}})
    untouched = other.read_text()
    done = command("encrypt", str(built.directory))
    row = main.parent / "rows/r/config.json"
    assert done.stdout.splitlines() == [f"{main}: 1 value encrypted.", f"{row}: 1 value encrypted."]
    content = json.loads(main.read_text())
    assert content["parameters"]["b"] == "open"
    assert value_of(content, Scope("vendor.ex-foo"))["parameters"]["#a"] == "s3cret-1"
    assert value_of(json.loads(row.read_text()), Scope("vendor.ex-foo"))["parameters"]["#c"] == "7"
    assert other.read_text() == untouched
    before = main.read_text()
    assert command("encrypt", str(built.directory)).stdout == "Nothing to encrypt in 3 files.\n"
    assert main.read_text() == before
    assert command("validate").exit_code == 0


@pytest.mark.rules("EN-4", "EN-11")
@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        ("component", "ComponentSecure"), ("project", "ProjectSecure"), ("configuration", "ConfigSecure"),
        ("project-wide", "ProjectWideSecure"), ("branch-type", "BranchTypeSecure"),
        ("branch-type-configuration", "BranchTypeConfigSecure"),
        ("project-wide-branch-type", "ProjectWideBranchTypeSecure"),
    ],
)  # fmt: skip
def test_every_scope_can_be_asked_for_and_the_run_of_that_configuration_reads_it(
    built: ProjectBuilder, command: Command, scope: str, kind: str
) -> None:
    file = built.configuration({"parameters": {"#a": "s3cret"}})
    assert command("encrypt", "--scope", scope, str(file)).exit_code == 0
    assert json.loads(file.read_text())["parameters"]["#a"].startswith(f"KBC::{kind}::")
    built.job()
    content = json.loads(file.read_text())
    assert value_of(content, Scope("vendor.ex-foo", configuration="main"))["parameters"]["#a"] == "s3cret"


def test_secrets_of_a_development_branch_are_bound_to_it(built: ProjectBuilder, command: Command) -> None:
    file = write(built.directory / "feature/extractor/vendor.ex-foo/main/config.json", {"parameters": {"#a": "x"}})
    built.configuration({})
    assert command("encrypt", "--scope", "branch-type", str(built.directory / "feature")).exit_code == 0
    content = json.loads(file.read_text())
    assert value_of(content, Scope("vendor.ex-foo", branch_type="dev"))["parameters"]["#a"] == "x"
    with pytest.raises(ConfigurationError, match="another branch type"):
        value_of(content, Scope("vendor.ex-foo"))


def test_the_definition_of_a_component_is_encrypted_for_the_component_alone(
    built: ProjectBuilder, command: Command
) -> None:
    built.component("vendor.ex-foo", image_parameters={"#key": "own-s3cret"})
    file = built.folder / "components/vendor.ex-foo.json"
    assert command("encrypt", str(file)).exit_code == 0
    assert json.loads(file.read_text())["data"]["image_parameters"]["#key"].startswith("KBC::ComponentSecure::")


def test_any_file_can_be_encrypted_for_a_component_and_keeps_its_indentation(
    built: ProjectBuilder, command: Command
) -> None:
    file = built.folder / "any.json"
    file.write_text('{\n    "a": "ě/",\n    "#b": "x"\n}\n')
    file.chmod(0o640)
    assert command("encrypt", "--component", "vendor.ex-foo", str(file)).exit_code == 0
    assert file.read_text().startswith('{\n    "a": "ě/",\n    "#b": "KBC::ProjectSecure::')
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in built.folder.iterdir() if "any" in path.name) == ["any.json"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name files or folders"),
        (("--value", "x.json"), "Name files or folders"),
        (("--value",), "--component ID"),
        (("--scope", "world", "--value"), "There is no scope 'world'; there are: component, project, "),
        (("--scope", "configuration", "--component", "c", "--value"), "needs --configuration ID"),
        (("--definition", "--scope", "project", "--value"), "belongs to no project"),
        (("--branch-type", "x", "--value"), "--branch-type must be default or dev"),
        (("nowhere.json",), "There is no nowhere.json"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_the_way_out(
    command: Command, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused(command("encrypt", *arguments))


def test_when_one_file_is_broken_none_is_changed(built: ProjectBuilder, command: Command) -> None:
    sound = built.configuration({"parameters": {"#a": "x"}})
    text = sound.read_text()
    broken = built.folder / "broken.json"
    broken.write_text('{"#a": ')
    assert f"{broken}: This is not valid JSON" in refused(
        command("encrypt", "--component", "c", str(sound), str(broken))
    )
    assert sound.read_text() == text


@pytest.mark.rules("D18")
def test_rotation_moves_everything_to_a_new_key_so_that_the_old_one_can_go(
    built: ProjectBuilder, command: Command
) -> None:
    settings = Settings.from_environment()
    main = built.configuration({"parameters": {"#a": "s3cret-1"}})
    built.component("vendor.ex-foo", image_parameters={"#own": "s3cret-2"})
    command("encrypt", str(built.directory), str(built.folder / "components"))
    cipher = command("encrypt", "--component", "vendor.ex-foo", "--value", input="s3cret-3").stdout.strip()
    vault = write(settings.vault, {"v": cipher, "plain": "text"})
    command("oauth", "add", "vendor.ex-foo", "7", input='{"#data": "s3cret-4"}')
    key = StateKey("vendor.ex-foo", "main")
    with open_storage(settings.storage) as storage:
        storage.commit(Commit(key="1", state={key: {"component": {"#t": cipher, "n": [1]}}}))
    old = (settings.home / "keys").read_text()
    note = write(built.directory / "main/notes.txt", "no secrets, but ě")
    stamp = note.stat().st_mtime_ns

    done = command("encrypt", "--rotate")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:2] == [
        "4 ciphers in 4 files are made anew with the first key.",
        "1 stored states are made anew with the first key.",
    ]
    new, *rest = (settings.home / "keys").read_text().split()
    assert rest == old.split()
    (settings.home / "keys").write_text(new)
    scope = Scope("vendor.ex-foo")
    assert value_of(json.loads(main.read_text()), scope)["parameters"]["#a"] == "s3cret-1"
    assert value_of({"#v": json.loads(vault.read_text())["v"]}, scope) == {"#v": "s3cret-3"}
    assert value_of(StoredCredentials(Path(settings.oauth)).get("vendor.ex-foo", "7"), scope)["#data"] == "s3cret-4"
    with open_storage(settings.storage) as storage:
        assert value_of(storage.state(key), scope) == {"component": {"#t": "s3cret-3", "n": [1]}}
    definition = json.loads((built.folder / "components/vendor.ex-foo.json").read_text())
    assert value_of(definition["data"]["image_parameters"], scope) == {"#own": "s3cret-2"}
    assert note.stat().st_mtime_ns == stamp


@pytest.mark.rules("D18")
def test_rotation_names_the_places_of_ciphers_that_no_key_can_read(
    built: ProjectBuilder, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = command("encrypt", "--component", "vendor.ex-foo", "--value", input="x").stdout.strip()
    foreign = "KBC::ProjectSecure::gAAAAABfromAnotherPlace"
    file = built.configuration(json.dumps({"parameters": {"#a": foreign, "#b": own}}, indent=2))
    monkeypatch.setenv("DOCKER_RUNNER_KEYS", f"{new_key()} {(built.folder / 'home/keys').read_text()}")
    message = refused(command("encrypt", "--rotate", str(built.directory)))
    assert f"{file}:3" in message
    assert f"{file}:4" not in message
    content = json.loads(file.read_text())["parameters"]
    assert content["#a"] == foreign
    assert content["#b"] != own
    assert len((built.folder / "home/keys").read_text().split()) == 1


def test_a_new_key_is_one_that_can_be_used(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    key = command("encrypt", "--new-key").stdout.strip()
    monkeypatch.setenv("DOCKER_RUNNER_KEYS", key)
    assert is_cipher(command("encrypt", "--component", "c", "--value", input="x").stdout.strip())


@pytest.mark.rules("AU-3", "AU-4")
def test_credentials_are_stored_encrypted_and_listed_without_their_secrets(
    built: ProjectBuilder, command: Command
) -> None:
    record = {
        "authorizedFor": "me", "creator": {"id": 1, "description": "me@x"}, "oauthVersion": "2.0", "appKey": "app",
        "#data": {"access_token": "s3cret-1", "expires": 3600}, "#appSecret": "s3cret-2",
    }  # fmt: skip
    done = command("oauth", "add", "vendor.ex-foo", "../7 x", input=json.dumps(record))
    assert done.stdout == "Stored the OAuth credentials ../7 x for vendor.ex-foo.\n"
    (file,) = (built.folder / "home/oauth").rglob("*.json")
    assert file.parent == built.folder / "home/oauth/vendor.ex-foo"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in file.read_text()
    shown = command("oauth", "list").stdout + command("oauth", "list", "--json").stdout
    assert "s3cret" not in shown
    assert "KBC::" not in shown
    assert json.loads(command("oauth", "list", "--json").stdout)[0]["id"] == "../7 x"
    stored = value_of(
        StoredCredentials(built.folder / "home/oauth").get("vendor.ex-foo", "../7 x"), Scope("vendor.ex-foo")
    )
    assert json.loads(stored["#data"]) == record["#data"]
    assert (stored["#appSecret"], stored["id"], stored["authorizedFor"]) == ("s3cret-2", "../7 x", "me")
    with pytest.raises(ConfigurationError, match="another component"):
        value_of(StoredCredentials(built.folder / "home/oauth").get("vendor.ex-foo", "../7 x"), Scope("another"))
    assert command("oauth", "remove", "vendor.ex-foo", "../7 x").exit_code == 0
    assert command("oauth", "list").stdout == "There are no OAuth credentials yet.\n"
    assert isinstance(command("oauth", "remove", "vendor.ex-foo", "../7 x").exception, NotFoundError)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "standard input: This is not valid JSON"),
        ("{}", "standard input: The key '#data' is missing"),
        ('{"#data": ""}', "standard input: #data: "),
        ('{"#data": 5}', "standard input: #data: "),
        ('{"#data": "s3cret", "created": 5}', "standard input: created: "),
        ('{"#data": "x", "appSecret": "s3cret"}', "appSecret: This is a secret, which is encrypted only as #appSecret"),
        ('{"data": "s3cret"}', "data: This is a secret, which is encrypted only as #data"),
    ],
)
def test_credentials_that_are_none_are_refused(command: Command, text: str, says: str) -> None:
    message = refused(command("oauth", "add", "vendor.ex-foo", "7", input=text))
    assert says in message
    assert "s3cret" not in message
    assert command("oauth", "list").stdout == "There are no OAuth credentials yet.\n"


@pytest.mark.parametrize(
    ("component_id", "credentials_id", "says"),
    [
        ("", "", "neither of them empty"), ("vendor.ex-foo", "", "neither of them empty"),
        ("vendor.ex-fo", "7", "'vendor.ex-fo' is not registered"), ("vendor.ex-foo", "x" * 300, "far too long"),
    ],
)  # fmt: skip
def test_credentials_that_no_configuration_could_name_are_refused(
    command: Command, component_id: str, credentials_id: str, says: str
) -> None:
    assert says in refused(command("oauth", "add", component_id, credentials_id, input='{"#data": "x"}'))
    assert command("oauth", "list").stdout == "There are no OAuth credentials yet.\n"


def test_a_spoilt_record_keeps_nobody_from_the_others_and_can_be_removed(
    built: ProjectBuilder, command: Command
) -> None:
    command("oauth", "add", "vendor.ex-foo", "7", input='{"#data": "x", "authorizedFor": "me"}')
    spoilt = write(built.folder / "home/oauth/my.first/9.json", "{")
    first, second = command("oauth", "list").stdout.splitlines()
    assert first.startswith(f"my.first  9  broken: {spoilt}: This is not valid JSON")
    assert second.endswith("  me")
    assert [bool(item["problem"]) for item in json.loads(command("oauth", "list", "--json").stdout)] == [True, False]
    assert command("oauth", "remove", "my.first", "9").exit_code == 0
    assert not spoilt.exists()


@pytest.mark.rules("AU-3")
def test_validate_knows_whether_the_credentials_of_a_configuration_are_there(
    built: ProjectBuilder, command: Command
) -> None:
    built.configuration({"authorization": {"oauth_api": {"id": 7, "version": 3}}})
    missing = command("validate")
    assert missing.exit_code == 1
    assert "docker-runner oauth add vendor.ex-foo 7" in missing.stdout
    command("oauth", "add", "vendor.ex-foo", "7", input='{"#data": "s3cret"}')
    assert command("validate").exit_code == 0


def test_where_a_broker_keeps_the_credentials_none_are_stored_here(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_RUNNER_OAUTH", "https://oauth.example.com")
    for arguments in (("add", "c", "7"), ("list",), ("remove", "c", "7")):
        assert "kept by https://oauth.example.com" in refused(command("oauth", *arguments, input='{"#data": "x"}'))


@pytest.mark.rules("EN-1", "EN-11")
def test_secrets_that_tasks_of_a_flow_bring_are_encrypted_for_their_components(
    built: ProjectBuilder, command: Command
) -> None:
    built.configuration({})
    data = {"configData": {"parameters": {"#a": "s3cret"}}}
    jobs = [
        {"componentId": "vendor.other", **data},
        {"componentId": "vendor.ex-foo", "configId": "main", **data},
        {"configPath": "extractor/vendor.ex-foo/main", **data},
    ]
    tasks = [{"id": number, "name": "t", "phase": 1, "task": job} for number, job in enumerate(jobs)]
    content = {"phases": [{"id": 1, "name": "p"}], "tasks": tasks}
    file = built.write("main/flow/keboola.flow/night/config.json", content)
    inside = built.write("main/flow/keboola.flow/day/phases/1/t/task.json", {"name": "t", "task": jobs[0]})
    built.write("main/flow/keboola.flow/day/phases/1/phase.json", {"name": "p"})
    built.write("main/flow/keboola.flow/day/config.json", {})
    result = command("encrypt", str(built.directory), "--scope", "configuration")
    assert "night/config.json: 3 values encrypted" in result.stdout
    found = [task["task"]["configData"] for task in json.loads(file.read_text())["tasks"]]
    found.append(json.loads(inside.read_text())["task"]["configData"])
    ids = [("vendor.other", ""), ("vendor.ex-foo", "main"), ("vendor.ex-foo", "main"), ("vendor.other", "")]
    for document, (component_id, config_id) in zip(found, ids, strict=True):
        assert value_of(document, Scope(component_id, configuration=config_id)) == {"parameters": {"#a": "s3cret"}}
    built.project.flow("keboola.flow", "night")
