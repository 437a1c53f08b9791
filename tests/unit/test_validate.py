"""`docker-runner validate`: everything that is wrong, with file and line, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write
from typer.testing import CliRunner, Result

from docker_runner.cli import app
from docker_runner.encryption import Encryptor, Scope
from docker_runner.encryption_keys import new_key

FOLDER = "main/extractor/vendor.ex-foo"
Validate = Callable[..., Result]


@pytest.fixture
def validate(built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch) -> Validate:
    """Runs the command in the folder of the project's files."""
    monkeypatch.setenv("DOCKER_RUNNER_PROJECT", str(built.directory))
    monkeypatch.setenv("DOCKER_RUNNER_COMPONENTS", str(built.folder / "components"))
    monkeypatch.setenv("DOCKER_RUNNER_HOME", str(built.folder / "home"))
    for name in ("DOCKER_RUNNER_BRANCH", "DOCKER_RUNNER_VAULT", "DOCKER_RUNNER_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(built.folder)
    return lambda *arguments: CliRunner().invoke(app, ["validate", *arguments], catch_exceptions=True)


def names(result: Result) -> list[str]:
    return [item["name"] for item in json.loads(result.stdout)["checked"]]


def places(result: Result) -> list[str]:
    """``file:line key`` of every problem."""
    problems = [problem for item in json.loads(result.stdout)["checked"] for problem in item["problems"]]
    return [f"{problem['file']}:{problem['line']} {problem['key']}".rstrip() for problem in problems]


def test_a_sound_project_is_one_line_for_each_thing_and_code_0(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration({}, rows={"a": {}})
    built.configuration({}, config_id="other")
    result = validate()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok      component vendor.ex-foo",
        "ok      vendor.ex-foo/main",
        "ok      vendor.ex-foo/other",
        "2 configurations and 1 components checked: 0 broken, 0 problems.",
    ]


@pytest.mark.rules("EN-1")
def test_plain_text_in_lists_and_maps_under_secret_keys_is_told(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration('{"parameters": {\n"#l": ["x"],\n"#m": {"k": "x", "n": true, "#s": ""}}}')
    built.component(image_parameters={"#own": {"k": "x"}})
    result = validate()
    assert result.exit_code == 0
    notes = [line.strip() for line in result.stdout.splitlines() if line.strip().startswith("note:")]
    assert [note.partition(": This is not encrypted, as it stands in a map or list")[0] for note in notes] == [
        "note: components/vendor.ex-foo.json:1: data.image_parameters.#own.k",
        f"note: project/{FOLDER}/main/config.json:2: parameters.#l[0]",
        f"note: project/{FOLDER}/main/config.json:3: parameters.#m.k",
    ]
    found = json.loads(validate("--json").stdout)["checked"]
    assert [[note["key"] for note in item["notes"]] for item in found][1] == ["parameters.#l[0]", "parameters.#m.k"]
    told = CliRunner().invoke(app, ["encrypt", str(built.directory)]).stdout
    assert told.count("note: ") == 2


def test_keys_of_a_definition_that_look_like_known_ones_are_told_and_others_are_not(
    built: ProjectBuilder, validate: Validate
) -> None:
    of_keboola = dict.fromkeys(
        ["uri", "version", "description", "longDescription", "documentationUrl", "configurationSchema", "hasUI",
         "flags", "categories", "configurationDescription", "emptyConfiguration",
         "createConfigurationRowSchema", "networking"],
        "",
    )  # fmt: skip
    file = built.component(pull_policy="never", proces_timeout=5, vendor={"memory": 1}, image_parameters={"memmory": 1})
    write(file, {**json.loads(file.read_text()), **of_keboola, "default_bucket": True})
    result = validate("--json")
    assert result.exit_code == 0
    notes = json.loads(result.stdout)["checked"][0]["notes"]
    assert [(note["key"], note["message"].rpartition("; ")[2]) for note in notes] == [
        ("data.pull_policy", "did you mean data.definition.pull_policy?"),
        ("data.proces_timeout", "did you mean data.process_timeout?"),
        ("default_bucket", "did you mean data.default_bucket?"),
    ]


@pytest.mark.rules("EN-9", "EN-10", "EN-11")
def test_ciphers_that_no_run_could_read_are_problems_where_the_keys_are(
    built: ProjectBuilder, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    keys = Encryptor((key,))
    own = keys.encrypt_value("x", Scope("vendor.ex-foo", configuration="main"), kind="ConfigSecure")
    foreign = keys.encrypt_value("x", Scope("vendor.other"), kind="ComponentSecure")
    built.configuration(
        {"parameters": {"#a": own, "#b": "KBC::ProjectSecure::garbage", "#c": foreign, "#d": "{{ v }}"},
         "authorization": {"oauth_api": {"id": "7"}}},
    )  # fmt: skip
    built.component(image_parameters={"#own": "plain"}, stack_parameters={"x": {"#own": foreign}})
    write(built.folder / "home/oauth/vendor.ex-foo/7.json", {"#data": foreign})
    without = json.loads(validate("--json").stdout)["checked"]
    assert [[problem["key"] for problem in item["problems"]] for item in without] == [
        ["data.image_parameters.#own"], []
    ]  # fmt: skip
    monkeypatch.setenv("DOCKER_RUNNER_KEYS", key)
    component, configuration = json.loads(validate("--json").stdout)["checked"]
    assert [(problem["key"], problem["message"].partition(":")[0]) for problem in component["problems"]] == [
        ("data.image_parameters.#own", "The value is not encrypted. Values of keys that start with # must be ciphers"),
        ("data.stack_parameters.x.#own", "The cipher was made for another component"),
    ]
    assert [(problem["file"][-11:], problem["key"]) for problem in configuration["problems"]] == [
        ("config.json", "parameters.#b"), ("config.json", "parameters.#c"), ("-foo/7.json", "#data"),
    ]  # fmt: skip


BROKEN = """{
  "paramters": {},
  "parameters": {"#a": "plain"},
  "storage": {"output": {"tables": [
    {"destination": "x"},
    {"source": "a", "incremental": "yes"}
  ]}}
}"""


@pytest.mark.rules("CF-33", "CF-34")
def test_every_problem_of_a_configuration_is_one_line_with_its_place(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration(BROKEN)
    built.configuration({}, config_id="sound")
    result = validate()
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[1] == "broken  vendor.ex-foo/main"
    assert {line.strip() for line in lines[2:5]} == {
        f"project/{FOLDER}/main/config.json:2: Unknown key 'paramters'; did you mean 'parameters'?",
        f"project/{FOLDER}/main/config.json:5: storage.output.tables[0]: The key 'source' is missing.",
        f'project/{FOLDER}/main/config.json:6: storage.output.tables[1].incremental: Must be true or false, not "yes".',
    }
    assert lines[5:] == [
        "ok      vendor.ex-foo/sound",
        "2 configurations and 1 components checked: 1 broken, 3 problems.",
    ]


@pytest.mark.rules("IM-17", "IF-6", "OM-20a", "CF-26", "AR-2", "AU-3")
def test_options_that_do_not_go_together_are_all_shown_with_their_lines(
    built: ProjectBuilder, validate: Validate
) -> None:
    table = {"source": "in.c-a.t", "days": 1, "changed_since": "adaptive"}
    result = {"source": "t.csv", "destination": "out.c-a.t", "delete_where_column": "a"}
    output = {"tables": [result, {"source": "u.csv", "destination": "a.b.c.d"}], "treat_values_as_null": "x"}
    content = {
        "storage": {"input": {"tables": [table, table], "files": [{"overwrite": False}]}, "output": output},
        "artifacts": {"runs": {"enabled": True}},
        "authorization": {"oauth_api": {"id": "1"}},
    }
    built.configuration(json.dumps(content, indent=1))
    found = [place.rsplit(":", 1)[1].split(" ") for place in places(validate("--json"))]
    assert [key for _, key in found] == [
        "storage.input.tables[0].days", "storage.input.tables[1].days", "storage.input.files[0]",
        "storage.output.tables[0].delete_where_values", "storage.output.tables[1].destination",
        "storage.output.treat_values_as_null", "artifacts.runs.filter", "authorization.oauth_api.id",
    ]  # fmt: skip
    lines = [int(line) for line, _ in found]
    assert lines == sorted(set(lines))


@pytest.mark.rules("CF-33", "EN-10", "PR-3", "RW-5")
def test_rows_are_checked_too_and_a_fault_of_the_root_is_shown_once(built: ProjectBuilder, validate: Validate) -> None:
    unknown = {"processors": {"before": [{"definition": {"component": f"p{n}"}} for n in (1, 2)]}}
    secrets = {"parameters": {"#a": "plain", "b": {"#c": "plain"}}}
    built.configuration(unknown | secrets, rows={"a": {}, "b": {"parameters": {"#d": "plain"}}}, disabled=("b",))
    root = f"project/{FOLDER}/main/config.json:1"
    assert places(validate("--json")) == [
        f"{root} parameters.#a",
        f"{root} parameters.b.#c",
        f"project/{FOLDER}/main/rows/b/config.json:1 parameters.#d",
    ]
    built.configuration(unknown, rows={"a": {}, "b": {}})
    key = "processors.before[{}].definition.component"
    assert places(validate("--json")) == [f"{root} {key.format(0)}", f"{root} {key.format(1)}"]
    built.configuration(unknown, rows={"a": {"storage": {"inputs": {}}}, "b": unknown})
    assert places(validate("--json")) == [
        f"project/{FOLDER}/main/rows/a/config.json:1 storage",
        f"project/{FOLDER}/main/rows/b/config.json:1 processors",
    ]


@pytest.mark.rules("VR-2", "VR-3", "SC-2")
def test_variables_values_schedules_shared_code_and_meta_data_are_checked(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.configuration({}, rows={"r": "{"})
    built.variables(["v"], {"default": {"v": ""}, "other": {"v": "1"}})
    built.write(f"{FOLDER}/main/meta.json", {"isDisabled": 1})
    built.write(f"{FOLDER}/main/schedules/s/config.json", '{"schedule":\n{"cronTab":\n"never"}}')
    built.write(f"{FOLDER}/main/schedules/t/config.json", {})
    shared = "main/_shared/vendor.ex-foo"
    built.write(f"{shared}/config.json", {"componentId": "vendor.ex-foo"})
    for name in ("a", "b"):
        built.write(f"{shared}/codes/{name}/config.json", {"name": 1, "code_content": []})
    result = validate("--json")
    main = f"project/{FOLDER}/main"
    assert places(result) == [
        f"{main}/meta.json:1 isDisabled",
        f"{main}/rows/r/config.json:None",
        f"{main}/schedules/s/config.json:2 schedule.cronTab",
        f"{main}/schedules/t/config.json:1",
        f"{main}/variables/values/default/config.json:1 values[0].value",
        f"project/{shared}/codes/a/config.json:1",
        f"project/{shared}/codes/b/config.json:1",
    ]
    assert names(result) == ["vendor.ex-foo", "vendor.ex-foo/main", "keboola.shared-code/vendor.ex-foo"]


@pytest.mark.rules("VR-2", "VR-6", "SC-2", "AU-3")
def test_what_a_configuration_names_and_is_not_there_is_shown_where_it_is_named(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.variables(["v"], {"default": {"v": "1"}})
    built.write("main/other/keboola.shared-code/lib/config.json", {})
    wrong: dict[str, dict[str, Any]] = {
        "variables_id": {"variables_id": "gone"},
        "variables_values_id": {"variables_values_id": "gone"},
        "shared_code_id": {"shared_code_id": "gone", "shared_code_row_ids": ["a"]},
        "shared_code_row_ids": {"shared_code_id": "lib", "shared_code_row_ids": ["gone"]},
        "authorization.oauth_api.id": {"authorization": {"oauth_api": {"id": "1"}}},
    }
    for key, content in wrong.items():
        built.configuration(json.dumps({"parameters": {}, **content}, indent=1), rows={"a": {}})
        file = built.directory / FOLDER / "main/config.json"
        line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if f'"{key.split(".")[-1]}"' in text)
        assert places(validate("--json")) == [f"project/{FOLDER}/main/config.json:{line} {key}"]


@pytest.mark.rules("VR-7", "VR-11", "D21")
def test_placeholders_without_a_value_are_a_problem_of_the_configuration(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.configuration({"parameters": ["{{ x }}", "{{ vault.y }}"]})
    built.variables(["v"], {"default": {"v": "1"}})
    assert "no value: vault.y, x." in validate().stdout
    built.write("../home/vault.json", {"y": "1"})
    assert "no value: x." in validate().stdout


@pytest.mark.rules("CD-33")
def test_every_problem_of_a_component_is_shown(built: ProjectBuilder, validate: Validate) -> None:
    built.component("vendor.broken", memory="much", network="host")
    built.component("vendor.workspace", staging_storage={"input": "workspace-snowflake"})
    result = validate("--json")
    assert sorted(places(result)) == [
        "components/vendor.broken.json:1 data.memory",
        "components/vendor.broken.json:1 data.network",
        "components/vendor.workspace.json:1 data.staging_storage.input",
    ]
    assert names(validate("--json", "components/vendor.broken.json")) == ["vendor.broken"]
    assert len(names(validate("--json", "components"))) == 3
    assert json.loads(result.stdout)["components"] == 3


@pytest.mark.rules("EV-13")
def test_a_component_that_needs_a_token_is_a_problem_where_there_is_none(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.component("vendor.processor", forward_token=True)
    built.configuration({"processors": {"after": [{"definition": {"component": "vendor.processor"}}]}})
    assert "vendor.processor works with a Keboola Storage token" in validate("vendor.ex-foo/main").stdout


@pytest.fixture
def several(built: ProjectBuilder) -> ProjectBuilder:
    """Two configurations in the default branch, one in another."""
    built.configuration({}, rows={"r": {}})
    built.configuration({}, config_id="second")
    built.write("dev/extractor/vendor.ex-foo/third/config.json", {"wrong": 1})
    return built


@pytest.mark.parametrize(
    ("arguments", "checked"),
    [
        (["vendor.ex-foo/second"], ["second"]),
        (["vendor.ex-foo/second", "vendor.ex-foo/second", "project/main"], ["second", "main"]),
        (["project"], ["main", "second"]),
        (["project", "--branch", "dev"], ["third"]),
        (["project/dev"], ["third"]),
        (["project/main/extractor"], ["main", "second"]),
        ([f"project/{FOLDER}/main"], ["main"]),
        ([f"project/{FOLDER}/main/rows/r/config.json"], ["main"]),
        (["--branch", "dev"], ["third"]),
    ],
)
def test_paths_and_ids_say_what_is_checked(
    several: ProjectBuilder, validate: Validate, arguments: list[str], checked: list[str]
) -> None:
    result = validate("--json", *arguments)
    assert [name.partition("/")[2] for name in names(result) if "/" in name] == checked
    assert result.exit_code == ("third" in checked)


def test_another_project_is_told_by_its_directory(several: ProjectBuilder, validate: Validate) -> None:
    other = several.folder / "other"
    (other / "main").mkdir(parents=True)
    assert names(validate("--json", "other")) == []
    write(other / "main/extractor/vendor.ex-foo/x/config.json", {})
    assert names(validate("--json", "other")) == ["vendor.ex-foo/x"]
    write(other / ".keboola/manifest.json", {"branches": [{"id": 1, "path": "main"}], "configurations": []})
    assert names(validate("--json", "other/main/../.keboola")) == []


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("nowhere", "neither a path that exists nor <component>/<configuration>"),
        ("vendor.ex-foo/thrid", "no configuration vendor.ex-foo/thrid"),
        ("elsewhere", "is no project directory and lies in none"),
        ("project/main/empty", "no configuration at"),
    ],
)
def test_an_argument_that_names_nothing_is_told(
    several: ProjectBuilder, validate: Validate, argument: str, problem: str
) -> None:
    for folder in ("elsewhere", "project/main/empty"):
        (several.folder / folder).mkdir()
    result = validate(argument)
    assert result.exit_code == 1
    assert problem in str(result.exception)


@pytest.mark.rules("BR-12", "BR-13")
def test_what_may_not_run_in_a_branch_is_broken_there(several: ProjectBuilder, validate: Validate) -> None:
    several.component(root={"features": ["dev-branch-configuration-unsafe", "dev-branch-job-blocked"]})
    several.write("dev/extractor/vendor.ex-foo/third/config.json", {})
    (item,) = json.loads(validate("--json", "project/dev").stdout)["checked"]
    messages = [problem["message"] for problem in item["problems"]]
    assert len(messages) == 2
    assert "cannot be run in development branches" in messages[0]
    assert "runtime.safe" in messages[1]
    assert validate("project/main").exit_code == 0


def test_a_broken_item_of_the_manifest_hides_no_other(built: ProjectBuilder, validate: Validate) -> None:
    sound: dict[str, Any] = {"branchId": 1, "componentId": "vendor.ex-foo", "id": "1", "path": "x/vendor.ex-foo/s"}
    items = [{"id": 7}, sound, {**sound, "id": "2", "path": 5}]
    built.write(".keboola/manifest.json", {"branches": [{"id": 1, "path": "main"}], "configurations": items})
    built.write("main/x/vendor.ex-foo/s/config.json", {})
    result = validate("--json", "project")
    assert [item["ok"] for item in json.loads(result.stdout)["checked"]] == [False, True, False]


def test_validating_writes_nothing(several: ProjectBuilder, validate: Validate, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    validate()
    assert sorted(tmp_path.rglob("*")) == before


def flow(*tasks: dict[str, Any]) -> dict[str, Any]:
    items = [
        {"id": str(index), "name": "t", "phase": "p", "task": {"componentId": "vendor.ex-foo", **task}}
        for index, task in enumerate(tasks)
    ]
    return {"phases": [{"id": "p", "name": "P"}], "tasks": items}


def test_flows_are_checked_with_their_tasks_and_schedules(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration({})
    folder = "main/other/keboola.orchestrator/night"
    built.write(f"{folder}/config.json", flow({"configId": "main"}))
    result = validate()
    assert (result.exit_code, result.stdout.splitlines()[2:]) == (
        0,
        [
            "ok      keboola.orchestrator/night",
            "1 configurations, 1 flows and 1 components checked: 0 broken, 0 problems.",
        ],
    )
    built.write(f"{folder}/config.json", flow({"configId": "gone"}, {"configId": "main", "mode": "x"}))
    built.write(f"{folder}/schedules/s/config.json", {"schedule": {"cronTab": "daily"}})
    built.write(f"{folder}/meta.json", {"name": "Night"})
    result = validate("keboola.orchestrator/night", "--json")
    assert places(result) == [
        f"project/{folder}/config.json:1 tasks[0].task.configId",
        f"project/{folder}/config.json:1 tasks[1].task.mode",
        f"project/{folder}/schedules/s/config.json:1 schedule.cronTab",
    ]
    (checked,) = json.loads(result.stdout)["checked"]
    assert (checked["kind"], checked["name"]) == ("flow", "keboola.orchestrator/night")


def test_the_component_of_a_tasks_own_configuration_must_be_registered(
    built: ProjectBuilder, validate: Validate
) -> None:
    own = flow({"configData": {}}, {"componentId": "vendor.nothing", "configData": {}})
    built.write("main/other/keboola.flow/f/config.json", own)
    assert places(validate("--json")) == ["project/main/other/keboola.flow/f/config.json:1 tasks[1].task.componentId"]


def test_the_configuration_that_a_task_brings_is_checked_like_a_stored_one(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.component()
    data = {"parameters": {}, "storage": {"inputs": {}}, "runtime": {"granularity": "{{ how }}"}}
    built.write("main/other/keboola.flow/f/config.json", flow({"componentId": "vendor.ex-foo", "configData": data}))
    assert places(validate("--json")) == [
        "project/main/other/keboola.flow/f/config.json:1 tasks[0].task.configData.storage"
    ]


def test_what_could_never_start_by_itself_is_found_without_airflow(built: ProjectBuilder, validate: Validate) -> None:
    built.component()
    own, table = "out.c-main.own", {"source": "out.c-main.own", "destination": "a.csv"}
    output = {"tables": [{"source": "a.csv", "destination": own}]}
    trigger = {"runtime": {"trigger": "any_input"}}
    built.configuration({"storage": {"input": {"tables": [table]}, "output": output}, **trigger}, config_id="circle")
    placeholder = {**table, "source": "in.{{ name }}.t"}
    built.configuration({"storage": {"input": {"tables": [placeholder]}}, **trigger}, config_id="late")
    built.write(f"{FOLDER}/late/variables/config.json", {"variables": [{"name": "name", "type": "string"}]})
    values = {"values": [{"name": "name", "value": "c-main"}]}
    built.write(f"{FOLDER}/late/variables/values/default/config.json", values)
    built.configuration({}, config_id="zones")
    for name, zone in (("a", "UTC"), ("b", "Europe/Prague")):
        schedule = {"schedule": {"cronTab": "0 6 * * *", "timezone": zone}}
        built.write(f"{FOLDER}/zones/schedules/{name}/config.json", schedule)
    runtime = {"granularity": "merged", "parallelism": 2}
    built.configuration({"runtime": runtime}, rows={"a": {}, "b": {}}, config_id="at-once")
    expected = [
        f"project/{FOLDER}/at-once/config.json:1 runtime.parallelism",
        f"project/{FOLDER}/circle/config.json:1 runtime.trigger",
        f"project/{FOLDER}/late/config.json:1 runtime.trigger",
        f"project/{FOLDER}/zones/schedules/a/config.json:1 schedule.timezone",
    ]
    assert places(validate("--json")) == expected


def test_options_of_runs_are_checked_where_they_would_do_nothing(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration({"runtime": {"trigger": "any_input"}}, rows={"a": {"runtime": {"granularity": "merged"}}})
    built.configuration({"runtime": {"granularity": "x"}}, config_id="other")
    assert places(validate("--json")) == [
        f"project/{FOLDER}/main/rows/a/config.json:1 runtime.granularity",
        f"project/{FOLDER}/main/config.json:1 runtime.trigger",
        f"project/{FOLDER}/other/config.json:1 runtime.granularity",
    ]


def test_a_manifest_that_cannot_be_read_is_a_problem_like_any_other(built: ProjectBuilder, validate: Validate) -> None:
    built.write(".keboola/manifest.json", {"version": 3, "branches": [], "configurations": []})
    result = validate("--json")
    assert (result.exit_code, places(result)) == (1, ["project/.keboola/manifest.json:1 version"])
    project, component = json.loads(result.stdout)["checked"]
    assert (project["kind"], project["name"]) == ("project", str(built.directory))
    assert (component["kind"], component["ok"]) == ("component", True)
    assert "Must be 1 or 2" in validate(str(built.directory)).stdout


def manifest(*configurations: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 2,
        "branches": [{"id": 1, "path": "main"}],
        "configurations": [{"branchId": 1, "componentId": "vendor.ex-foo", **item} for item in configurations],
    }


def test_what_stands_twice_in_the_manifest_is_broken_and_hides_no_other(
    built: ProjectBuilder, validate: Validate
) -> None:
    path = "extractor/vendor.ex-foo"
    for config_id in ("a", "b", "c", "d"):
        built.configuration({}, config_id=config_id, rows={"1": {}})
    row = {"id": "1", "path": "rows/1"}
    items = [
        {"id": "a", "path": f"{path}/a"}, {"id": "b", "path": f"{path}/b", "rows": [row, {**row, "id": 1}]},
        {"id": "c", "path": f"{path}/c"}, {"id": "c", "path": f"{path}/d"},
    ]  # fmt: skip
    built.write(".keboola/manifest.json", manifest(*items))
    result = validate("--json")
    assert [item["ok"] for item in json.loads(result.stdout)["checked"]] == [True, True, False, False]
    assert places(result) == [
        "project/.keboola/manifest.json:1 configurations[1].rows[1]",
        "project/.keboola/manifest.json:1 configurations[3]",
    ]


def test_what_the_manifest_does_not_name_is_a_note_and_no_problem(built: ProjectBuilder, validate: Validate) -> None:
    for config_id in ("a", "mine"):
        built.configuration({}, config_id=config_id)
    built.write(".keboola/manifest.json", manifest({"id": "a", "path": "extractor/vendor.ex-foo/a"}))
    whole = validate()
    assert whole.exit_code == 0
    note = f"note    project/{FOLDER}/mine: not in the manifest, so it is left alone"
    assert whole.stdout.splitlines()[-2:] == [
        note,
        "1 configurations and 1 components checked: 0 broken, 0 problems.",
    ]
    # The project's folder, and a folder with both, named together: still one note.
    part = validate(str(built.directory), str(built.directory / "main" / "extractor"))
    assert (part.exit_code, part.stdout.count("note  ")) == (0, 1)
    assert validate(str(built.directory / FOLDER / "a")).stdout.count("note  ") == 0
    assert json.loads(validate("--json").stdout)["not_in_manifest"] == [f"project/{FOLDER}/mine"]
    refused = validate(str(built.directory / FOLDER / "mine"))
    assert "There is no configuration at" in str(refused.exception)
    assert "manifest.json does not name it: `kbc local persist` adds it there." in str(refused.exception)


def test_a_manifest_whose_configurations_are_in_no_branch_is_broken(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration({}, config_id="a")
    lost = {"branchId": "2", "componentId": "keboola.variables", "id": "v", "path": "variables"}
    items = manifest({"id": "a", "path": "extractor/vendor.ex-foo/a", "branchId": 2}, lost)
    built.write(".keboola/manifest.json", items)
    result = validate("--json")
    assert result.exit_code == 1
    assert places(result) == [
        "project/.keboola/manifest.json:1 configurations[0].branchId",
        "project/.keboola/manifest.json:1 configurations[1].branchId",
    ]


def test_configurations_that_take_each_others_place_are_a_problem_of_the_project(
    built: ProjectBuilder, validate: Validate
) -> None:
    built.configuration({}, config_id="a")
    path = "extractor/vendor.ex-foo/a"
    items = [{"id": "a", "path": path}, {"id": "b", "path": path}, {"id": "x y", "path": path}]
    built.write(".keboola/manifest.json", manifest(*items, {"id": "x_20_y", "path": path}))
    (project, *_) = json.loads(validate("--json").stdout)["checked"]
    assert [problem["message"] for problem in project["problems"]] == [
        "vendor.ex-foo/x y and vendor.ex-foo/x_20_y would be DAGs of one id: give one of them another id.",
        "vendor.ex-foo/a and vendor.ex-foo/b lie in the same folder: each needs one of its own.",
        "vendor.ex-foo/a and vendor.ex-foo/x y lie in the same folder: each needs one of its own.",
        "vendor.ex-foo/a and vendor.ex-foo/x_20_y lie in the same folder: each needs one of its own.",
    ]


@pytest.mark.parametrize("path", ["/etc", "../other", "extractor/../../other", ".."])
def test_a_path_that_leads_out_of_the_project_is_refused(built: ProjectBuilder, validate: Validate, path: str) -> None:
    built.write(".keboola/manifest.json", manifest({"id": "a", "path": path}))
    assert places(validate("--json")) == ["project/.keboola/manifest.json:1 configurations[0].path"]


def test_a_key_that_stands_twice_is_shown_with_its_line(built: ProjectBuilder, validate: Validate) -> None:
    built.configuration('{\n"parameters": {"a": 1,\n"a": 2}}')
    assert places(validate("--json")) == [f"project/{FOLDER}/main/config.json:3 parameters.a"]


def started(built: ProjectBuilder, name: str, reads: list[str], writes: str, *, trigger: str = "any_input") -> None:
    """A configuration that runs when tables have changed, and writes another one."""
    tables = {
        "input": {"tables": [{"source": table} for table in reads]},
        "output": {"tables": [{"source": "x.csv", "destination": writes}] if writes else []},
    }
    built.configuration({"runtime": {"trigger": trigger}, "storage": tables}, config_id=name)


def circles(result: Result) -> list[str]:
    checked = json.loads(result.stdout)["checked"]
    return [problem["message"] for item in checked for problem in item["problems"]]


def test_configurations_that_would_start_each_other_without_end_are_a_problem(
    built: ProjectBuilder, validate: Validate
) -> None:
    started(built, "a", ["in.c-m.other", "out.c-m.c"], "out.c-m.a")
    started(built, "b", ["out.c-m.a"], "out.c-m.b", trigger="all_inputs")
    started(built, "c", ["out.c-m.b"], "out.c-m.c")
    # It is started by the circle and is not in it.
    started(built, "report", ["out.c-m.a"], "out.c-m.report")
    result = validate("--json")
    assert result.exit_code == 1
    (circle,) = circles(result)
    step = "vendor.ex-foo/{0} writes out.c-m.{0}, which starts vendor.ex-foo/{1}"
    order = next(names for names in ("abc", "bca", "cab") if f": {step.format(*names[:2])}" in circle)
    steps = "; ".join(step.format(*pair) for pair in zip(order, order[1:] + order[0], strict=True))
    assert circle == f"These start each other without an end: {steps}. Give one of them a schedule instead."
    assert places(result) == [f"project/{FOLDER}/{order[0]}/config.json:1 runtime.trigger"]


def test_a_circle_that_comes_to_an_end_is_none(built: ProjectBuilder, validate: Validate) -> None:
    started(built, "a", ["in.c-m.other", "out.c-m.b"], "out.c-m.a", trigger="all_inputs")
    started(built, "b", ["out.c-m.a"], "out.c-m.b")
    started(built, "itself", ["out.c-m.itself", "in.c-m.other"], "out.c-m.itself")
    # One that runs at a time of its own starts others and is started by none.
    started(built, "d", ["out.c-m.e"], "out.c-m.d")
    storage = {"input": {"tables": [{"source": "out.c-m.d"}]}, "output": {"tables": []}}
    storage["output"]["tables"] = [{"source": "x.csv", "destination": "out.c-m.e"}]
    built.configuration({"storage": storage}, config_id="e")
    result = validate("--json")
    assert circles(result) == []
    assert result.exit_code == 0


def test_a_circle_through_tables_of_default_buckets_is_found_too(built: ProjectBuilder, validate: Validate) -> None:
    built.component("vendor.ex-foo", default_bucket=True)
    started(built, "a", ["in.c-vendor-ex-foo-b.t"], "")
    started(built, "b", ["in.c-vendor-ex-foo-a.t"], "")
    (circle,) = circles(validate("--json"))
    assert "vendor.ex-foo/a writes in.c-vendor-ex-foo-a.t, which starts vendor.ex-foo/b" in circle
