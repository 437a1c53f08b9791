"""The modes sandbox, input and dry-run: one file with the data folder, in which every secret is a cipher."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.installation import SCRIPT, Installation, container_names

from docker_runner.encryption import Encryptor, Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.errors import ComponentError, ConfigurationError, ForbiddenError, UserError
from docker_runner.job.archive import store_archive
from docker_runner.job.plan import PULL_IMAGES, row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.workspace import Workspace
from docker_runner.oauth import StoredCredentials, encrypted_record
from docker_runner.storage import open_ledger
from docker_runner.storage.events import EventQuery
from docker_runner.storage.tokens import FileAccess, Permissions, bucket_permissions

SECRET = "s3cret-of-archives"
FOLDERS = {"in/tables/", "in/files/", "in/user/", "out/tables/", "out/files/", "artifacts/out/current/"}
TABLES = {
    "input": {
        "tables": [
            {"source": "in.c-main.t", "destination": "all.csv"},
            {"source": "in.c-main.t", "destination": "few.csv", "limit": 3},
        ]
    },
    "output": {"tables": [{"source": "r", "destination": "out.c-main.r", "write_always": True}]},
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation that reaches no engine, and whose component has an image that is nowhere."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    installation = Installation(tmp_path)
    installation.component(SCRIPT, {"definition": {"type": "dockerhub", "uri": "nobody/nothing"}})
    return installation


def keys(installation: Installation) -> Encryptor:
    return encryptor_of(installation.settings, create=True)


def cipher(installation: Installation, secret: str = SECRET) -> str:
    return keys(installation).encrypt_value(secret, Scope(SCRIPT))


def archive(installation: Installation, *tags: str) -> dict[str, str]:
    """What is in the only file of an installation."""
    (file,) = installation.files()
    assert (file.name, sorted(file.tags)) == ("data.zip", sorted(tags))
    assert (file.is_permanent, file.is_public) == (False, False)
    with zipfile.ZipFile(installation.download(file)) as opened:
        names = opened.namelist()
        assert len(names) == len(set(names))
        return {name: opened.read(name).decode() for name in names}


def sandbox(installation: Installation, data: dict[str, Any], **more: Any) -> None:
    installation.run("", component="", mode="sandbox", config_data=data, **more)


@pytest.mark.rules("LC-65", "API-37")
def test_a_sandbox_stores_50_rows_of_each_table_for_a_component_that_does_not_exist_yet(bare: Installation) -> None:
    bare.load("in.c-main.t", "id\n" + "".join(f"{number}\n" for number in range(60)))
    foreign = Encryptor(("A" * 43,)).encrypt_value(SECRET, Scope("vendor.future"))
    parameters = {"#p": foreign, "text": "1e3", "nested": [{"#q": ""}]}
    sandbox(bare, {"parameters": parameters, "storage": TABLES})
    found = archive(bare, "sandbox", "docker")
    assert found.keys() >= FOLDERS
    config = yaml.safe_load(found["config.yml"])
    assert config["parameters"] == parameters
    assert (config["action"], config["image_parameters"], config["authorization"]) == ("run", {}, {})
    assert yaml.safe_load(found["in/state.yml"]) == {}
    assert len(found["in/tables/all.csv"].splitlines()) == 51
    assert len(found["in/tables/few.csv"].splitlines()) == 4
    assert yaml.safe_load(found["in/tables/all.csv.manifest"])["id"] == "in.c-main.t"
    assert (bare.workspaces, bare.state("", component="sandbox")) == ([], {})


@pytest.mark.rules("API-37")
def test_a_sandbox_gives_json_to_whom_asks_for_it(bare: Installation) -> None:
    sandbox(bare, {"parameters": {"a": "{{ b }}"}}, format="json")
    found = archive(bare, "sandbox", "docker")
    assert json.loads(found["config.json"])["parameters"] == {"a": "{{ b }}"}
    assert (found["in/state.json"], "config.yml" in found) == ("{}", False)


@pytest.mark.rules("LC-65", "API-37", "AU-8")
@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"component": SCRIPT}, "A sandbox has neither a component nor a stored configuration.*mode input"),
        ({"name": "main"}, "A sandbox has neither a component nor a stored configuration"),
        ({"config_data": {}}, "sandbox needs a configuration that comes with the run"),
        ({"format": "xml"}, "The format must be yaml or json, not 'xml'"),
        ({"tag": "1.0"}, "The mode sandbox runs no image: leave out the tag '1.0'"),
        (
            {"config_data": {"authorization": {"oauth_api": {"id": "7"}}}},
            r"authorization\.oauth_api\.id: Credentials are kept for a component, and a sandbox has none",
        ),
        ({"mode": "input", "format": "json"}, "Only the mode sandbox takes a format"),
        ({"mode": "input", "component": "vendor.nobody"}, "'vendor.nobody' is not registered"),
    ],
)
def test_what_a_sandbox_cannot_take_is_told(bare: Installation, params: dict[str, Any], problem: str) -> None:
    asked = {"name": "", "component": "sandbox", "mode": "sandbox", "config_data": {"parameters": {}}, **params}
    with pytest.raises(UserError, match=problem):
        bare.job(asked.pop("name"), **asked)


def full_configuration(installation: Installation, script: str = "", **more: Any) -> dict[str, Any]:
    """A configuration with every kind of secret, its state and the component's own."""
    secret = cipher(installation)
    image_parameters = {"#own": keys(installation).encrypt_value("own-" + SECRET, Scope(SCRIPT)), "host": "h"}
    network = {"network": "none", "image_parameters": image_parameters}
    document = json.loads((installation.folder / "components" / f"{SCRIPT}.json").read_text())
    installation.component(SCRIPT, {**document["data"], **network})
    record = {"authorizedFor": "me", "appKey": "app", "#data": {"access_token": "t-" + SECRET}, "#appSecret": "a"}
    sealed = encrypted_record(record, keys(installation), component_id=SCRIPT, project_id="")
    StoredCredentials(Path(installation.settings.oauth)).put(SCRIPT, "7", sealed)
    parameters = {"script": script, "#p": secret}
    return {"parameters": parameters, "authorization": {"oauth_api": {"id": "7"}}, "storage": TABLES, **more}


def read(installation: Installation, document: dict[str, Any]) -> dict[str, Any]:
    """A document with its ciphers as whom they are for reads them."""
    plain: dict[str, Any] = keys(installation).decrypt(document, Scope(SCRIPT))
    return plain


def check_secrets(installation: Installation, found: dict[str, str]) -> None:
    assert not [name for name, text in found.items() if SECRET in text]
    config = json.loads(found["config.json"])
    plain = read(installation, config)
    assert plain["parameters"]["#p"] == SECRET
    assert plain["image_parameters"] == {"#own": "own-" + SECRET, "host": "h"}
    credentials = plain["authorization"]["oauth_api"]["credentials"]
    assert (json.loads(credentials["#data"])["access_token"], credentials["authorizedFor"]) == ("t-" + SECRET, "me")
    assert "runtime" not in config


@pytest.mark.rules("LC-65", "LC-86", "AU-8")
def test_input_stores_what_the_component_would_get_with_ciphers_and_starts_nothing(bare: Installation) -> None:
    bare.load("in.c-main.t", "id\n" + "".join(f"{number}\n" for number in range(60)))
    bare.component("test.processor")
    item = {"definition": {"component": "test.processor"}, "parameters": {"other": 1}}
    content = full_configuration(bare, processors={"before": [item]}, runtime={"backend": {"type": "small"}})
    bare.configuration("main", content, rows={"a": {}, "b": {}})
    bare.store_state("main", {"component": {"#old": cipher(bare), "n": 1}}, row="b")
    with pytest.raises(UserError, match="input stores the data folder of one row, and 2 would run: name one of a, b"):
        bare.run("main", mode="input")
    assert bare.files() == []
    result = bare.run("main", mode="input", rows=["b"], parent_run_id="12.5")
    found = archive(bare, "input", "docker", SCRIPT)
    check_secrets(bare, found)
    assert found.keys() >= FOLDERS
    assert read(bare, json.loads(found["in/state.json"])) == {"#old": SECRET, "n": 1}
    assert len(found["in/tables/all.csv"].splitlines()) == 61
    assert len(found["in/tables/few.csv"].splitlines()) == 4
    assert list(result.manifests) == [
        "create_workspace", "pull_images", "b.load_tables", "b.write_config", "b.unload_output", "clean_up",
    ]  # fmt: skip
    (stored,) = bare.files()
    assert result.manifests["b.unload_output"] == {
        "tables": [], "state": False, "files": [{"id": stored.id, "name": "data.zip", "bytes": stored.size_bytes}],
    }  # fmt: skip
    events = list(open_ledger(bare.settings.storage).events(EventQuery()))
    assert {event.source.run_id for event in events} == {"12.5.run-1"}
    messages = [event.message for event in events]
    assert ("The data folder was stored." in messages, "Images are ready." in messages) == (True, False)
    told = "\n".join(bare.lines) + json.dumps(result.manifests)
    assert SECRET not in told
    assert '"#p": "[hidden]"' in told
    assert (bare.workspaces, bare.tables()) == ([], ["in.c-main.t"])


@pytest.mark.rules("EN-10", "LC-65")
@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"configuration": {"parameters": {"a": [{"#p": SECRET}]}}}, r"parameters\.a\[0\]\.#p"),
        ({"image_parameters": {"#p": SECRET}}, f"definition of {SCRIPT}.*#p"),
        ({"state": {"#p": SECRET}}, f"state of {SCRIPT}/main.*#p"),
        (
            {"configuration": {"authorization": {"oauth_api": {"id": "7"}}}, "credentials": {"#data": SECRET}},
            r"authorization\.oauth_api\.credentials\.#data",
        ),
    ],
)
def test_plain_secrets_get_into_no_archive(bare: Installation, parts: dict[str, Any], place: str) -> None:
    bare.component(SCRIPT, {"image_parameters": parts.get("image_parameters", {})})
    bare.configuration("main", parts.get("configuration", {}))
    record = {"authorizedFor": "me", "appKey": "app", "#data": "", "#appSecret": "", **parts.get("credentials", {})}
    StoredCredentials(Path(bare.settings.oauth)).put(SCRIPT, "7", record)
    if "state" in parts:
        bare.store_state("main", {"component": parts["state"]})
    with pytest.raises(ConfigurationError, match=place) as raised:
        bare.run("main", mode="input")
    assert SECRET not in str(raised.value)
    assert (bare.files(), bare.workspaces) == ([], [])


@pytest.mark.rules("LC-65")
def test_the_tasks_of_a_stored_configuration_do_what_the_mode_needs_and_no_more(bare: Installation) -> None:
    bare.load("in.c-main.t", "id\n1\n")
    bare.configuration("main", {"storage": TABLES})
    job, tools = bare.job("main", mode="input"), bare.tools()
    workspace = Workspace(bare.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    done: dict[str, Any] = {}
    # The tasks of its DAG are those of a run.
    for step in (PULL_IMAGES, *row_steps(job.rows[0].configuration, job.rows[0].component)):
        manifests = {name: done[name] for name in step.takes}
        done[step.name] = perform(step, workspace=workspace, row_id="", tools=tools, manifests=manifests)
    clean_up(workspace, tools, problem="")
    assert (done["pull_images"], done["run_component"], done["unload_always"]) == ({"images": {}}, {}, {})
    assert "There is nothing to do: the configuration that is run has no run_component in mode input." in bare.lines
    assert "in/tables/all.csv" in archive(bare, "input", "docker", SCRIPT)


@pytest.mark.rules("LC-65")
def test_what_only_a_container_is_given_need_not_be_there(bare: Installation) -> None:
    bare.component(SCRIPT, {"forward_token": True})
    bare.configuration("main", {})
    bare.run("main", mode="input")
    assert "config.json" in archive(bare, "input", "docker", SCRIPT)


@pytest.mark.rules("LC-65")
def test_a_token_need_not_allow_what_is_not_done_but_must_allow_files(bare: Installation) -> None:
    bare.load("in.c-main.t", "id\n1\n")
    bare.configuration("main", {"storage": TABLES})

    def token(files: FileAccess) -> str:
        permissions = Permissions(bucket_permissions(["in.c-main:read"]), files=files)
        return open_ledger(bare.settings.storage).create_token("t", permissions, creator="test").secret

    bare.variables["DOCKER_RUNNER_STORAGE_TOKEN"] = token(FileAccess.NONE)
    with pytest.raises(ForbiddenError, match="a run in mode input stores its data folder as one: it needs"):
        bare.run("main", mode="input")
    bare.variables["DOCKER_RUNNER_STORAGE_TOKEN"] = token(FileAccess.OWN)
    bare.run("main", mode="input")
    del bare.variables["DOCKER_RUNNER_STORAGE_TOKEN"]
    assert "config.json" in archive(bare, "input", "docker", SCRIPT)


WORK = """
import os, shutil
assert c["parameters"]["#p"].endswith("archives") and c["image_parameters"]["#own"], "decrypted"
print("mode", os.environ["KBC_COMPONENT_RUN_MODE"])
state = json.load(open("/data/in/state.json"))
json.dump({"#new": state["#old"], "copy": c["parameters"]["#p"]}, open("/data/out/state.json", "w"))
open("/data/out/tables/r", "w").write("a\\n1\\n")
open("/data/out/files/f", "w").write("f")
open("/data/artifacts/out/current/a", "w").write("a")
"""


@pytest.mark.engine
@pytest.mark.rules("LC-65", "AU-8", "EV-10")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)"])
def test_a_dry_run_runs_the_component_and_stores_its_data_folder_alone(installation: Installation, ending: str) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    file = installation.folder / "picture.png"
    file.write_text("content")
    installation.store_file(file, "wanted")
    content = full_configuration(installation, WORK + ending)
    content["storage"] = {
        "input": {**TABLES["input"], "files": [{"tags": ["wanted"], "processed_tags": ["done"]}]},
        "output": TABLES["output"],
    }
    installation.variables["DOCKER_RUNNER_FEATURES"] = "artifacts"
    installation.configuration("main", content)
    installation.store_state("main", {"component": {"#old": cipher(installation)}})
    if ending:
        with pytest.raises(ComponentError):
            installation.run("main", mode="dry-run")
    else:
        installation.run("main", mode="dry-run")
    assert "mode debug" in installation.lines
    assert (installation.tables(), installation.files("done")) == (["in.c-main.t"], [])
    assert installation.state("main")["component"].keys() == {"#old"}
    made = [stored for stored in installation.files() if stored.name != "picture.png"]
    assert len(made) == (0 if ending else 1)
    assert not [name for name in container_names() if installation.name in name]
    if made:
        assert sorted(made[0].tags) == sorted(["dry-run", "docker", SCRIPT])
        with zipfile.ZipFile(installation.download(made[0])) as opened:
            found = {name: opened.read(name).decode() for name in opened.namelist()}
        check_secrets(installation, found)
        assert (found["out/tables/r"], found["out/files/f"]) == ("a\n1\n", "f")
        assert read(installation, json.loads(found["in/state.json"])) == {"#old": SECRET}
        new = read(installation, json.loads(found["out/state.json"]))
        assert new == {"#new": SECRET, "copy": "[hidden]"}


@pytest.mark.engine
@pytest.mark.rules("LC-65")
def test_after_processors_have_run_the_folder_is_that_of_the_last_one(installation: Installation) -> None:
    installation.component("test.processor", {"network": "none"})
    script = "open('/data/out/files/mine', 'w').write(str(c['parameters'].get('#k')))"
    secret = keys(installation).encrypt_value(SECRET, Scope(SCRIPT))
    item = {
        "definition": {"component": "test.processor"},
        "parameters": {"script": script[:-1] + "[:2])", "#k": secret},
    }
    content = {"parameters": {"script": script}, "processors": {"after": [item]}}
    installation.configuration("main", content)
    installation.run("main", mode="dry-run")
    found = archive(installation, "dry-run", "docker", SCRIPT)
    assert (found["in/files/mine"], found["out/files/mine"]) == ("None", SECRET[:2])
    assert json.loads(found["config.json"])["parameters"]["#k"] == secret
    assert not [name for name, text in found.items() if SECRET in text or "state" in name]


@pytest.mark.rules("LC-65")
def test_what_a_killed_worker_left_in_plain_text_gets_into_no_archive(bare: Installation) -> None:
    bare.configuration("main", {"parameters": {"#p": cipher(bare)}})
    job, tools = bare.job("main", mode="dry-run"), bare.tools()
    workspace = Workspace(bare.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    folders = workspace.row("")
    data = folders.make_stage(0)
    names = [f"{name}.{extension}" for name in ("config", "in/state", "out/state") for extension in ("json", "yml")]
    for name in names:
        (data.root / name).write_text(SECRET)
    (data.outputs / "files" / "f").write_text("f")
    store_archive(job, job.rows[0], folders, tools)
    found = archive(bare, "dry-run", "docker", SCRIPT)
    assert {name for name, text in found.items() if text} == {"config.json", "in/state.json", "out/files/f"}
    assert SECRET not in "".join(found.values())


@pytest.mark.rules("LC-65", "API-37")
def test_the_command_line_plans_and_runs_a_sandbox(bare: Installation) -> None:
    bare.load("in.c-main.t", "id\n1\n")
    file = bare.folder / "mine.json"
    file.write_text(json.dumps({"storage": TABLES}))
    arguments = ("--mode", "sandbox", "--format", "json", "--config", str(file))
    planned = bare.command("plan", *arguments)
    assert planned.returncode == 0, planned.stderr
    assert "Steps: create_workspace, load_tables, write_config, unload_output, clean_up" in planned.stdout
    assert "at most 50" in planned.stdout
    assert "Runs nothing\nWrites\n  file data.zip: tags sandbox, docker\n  state: not stored" in planned.stdout
    done = bare.command("run", *arguments)
    assert done.returncode == 0, done.stderr
    assert "data.zip" in done.stdout
    assert "config.json" in archive(bare, "sandbox", "docker")
