"""From a configuration as written to a job as run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.encryption import Encryptor, Scope
from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.job.definition import Job, Mode
from docker_runner.job.request import full_run_id
from docker_runner.job.resolution import JobRequest, described, resolve_job
from docker_runner.project.variables import VariableValues

KEY = "dGhlIGZpcnN0IGtleSBvZiB0aGUgZW5jcnlwdG9yLi4="
BLOCKED = "dev-branch-job-blocked"


def processors(**positions: list[Any]) -> dict[str, Any]:
    return {
        "processors": {
            position: [{"definition": {"component": name}} if isinstance(name, str) else name for name in names]
            for position, names in positions.items()
        }
    }


@pytest.mark.rules("LC-21")
def test_the_trigger_form_is_read() -> None:
    assert JobRequest.from_params({}) == JobRequest()
    assert JobRequest.from_params({"mode": None, "tag": None, "rows": None, "variables": None}) == JobRequest()
    assert JobRequest.from_params(
        {"mode": "debug", "tag": 1.5, "rows": "a, b\nc", "variables": {"x": "1"}, "values": 7}
    ) == JobRequest(mode=Mode.DEBUG, tag="1.5", rows=("a", "b", "c"), variables=VariableValues({"x": "1"}, row_id="7"))
    assert JobRequest.from_params({"rows": [1, "b"]}).rows == ("1", "b")


def test_what_the_api_keeps_beside_a_run_changes_nothing_of_it() -> None:
    assert JobRequest.from_params({"api": {"behavior": {"onError": "warning"}}}) == JobRequest()
    assert JobRequest.from_params({"api": None, "parent_run_id": "", "format": None}) == JobRequest()


@pytest.mark.rules("LC-86", "EV-1")
@pytest.mark.parametrize(
    ("parent", "full"), [("", "manual__2026.5"), ("12.34", "12.34.manual__2026.5"), (7, "7.manual__2026.5")]
)
def test_a_run_is_known_by_its_parents_id_in_front_of_its_own(built: ProjectBuilder, parent: Any, full: str) -> None:
    built.configuration({})
    params = {"parent_run_id": parent}
    job = resolve_job(
        built.project, built.registry, component_id="vendor.ex-foo", config_id="main", job_id="j",
        run_id="manual__2026.5", request=JobRequest.from_params(params),
    )  # fmt: skip
    identity = Job.from_json(job.to_json()).rows[0].identity
    assert (identity.run_id, identity.job_id) == (full, "manual__2026.5")
    assert full_run_id(params, "manual__2026.5") == full
    # What is wrong with a request is told under the run's own id.
    assert full_run_id({"parent_run_id": "a b"}, "own") == "own"


@pytest.mark.rules("LC-21")
@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"mode": "dryrun"}, "must be run, forceRun, debug, sandbox, input or dry-run, not 'dryrun'"),
        ({"mode": ["run"]}, "must be run, forceRun, debug, sandbox, input or dry-run"),
        ({"mode": "input", "tag": "1"}, "The mode input runs no image: leave out the tag '1'"),
        ({"parent_run_id": "a b"}, "parent_run_id must be the id of a run"),
        ({"parent_run_id": "x" * 251}, "parent_run_id must be the id of a run"),
        ({"parent_run_id": ["1"]}, "parent_run_id must be a text"),
        *(({"api": wrong}, "api must be a map") for wrong in ([], "", "text", [1], 0, False)),
        ({"variables": "a=1"}, "must be a map of names and values"),
        ({"rows": 5}, "must be a list of ids"),
        ({"rows": [["a"]]}, "must be a list of ids"),
        ({"row": "a"}, "no setting 'row'; did you mean 'rows'?"),
        ({"delay": 5}, "no setting 'delay'; known are mode, tag"),
        ({"config_data": [1]}, "configuration of a run must be a map"),
        ({"config_data": "text"}, "configuration of a run must be a map"),
        ({"backend": "small"}, "must be a map of type and context"),
        ({"backend": {"type": {}}}, "must be texts"),
    ],
)
def test_a_wrong_trigger_form_is_told(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        JobRequest.from_params(params)


@pytest.mark.rules("RW-1", "ST-7")
def test_a_configuration_without_rows_is_one_definition(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"a": 1}})
    (row,) = built.job().rows
    assert (row.row_id, row.config_id, row.mode, row.main.name) == ("", "main", Mode.RUN, "run_component")
    assert row.configuration["parameters"] == {"a": 1}
    assert (row.identity.run_id, row.identity.config_version) == ("42", row.config_version)
    assert (row.state_key.component_id, row.state_key.config_id, row.state_key.row_id) == ("vendor.ex-foo", "main", "")


@pytest.mark.rules("RW-2", "RW-6", "RW-7", "RW-8", "LC-7", "LC-24", "ST-7")
def test_rows_are_definitions_in_stored_order(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"a": 1}}, rows={"x": {}, "y": {"parameters": {"a": 2}}}, disabled=("x",))
    (only,) = built.job().rows
    assert (only.row_id, only.configuration["parameters"], only.state_key.row_id) == ("y", {"a": 2}, "y")
    both = built.job(JobRequest(rows=("y", "x")))
    assert [row.row_id for row in both.rows] == ["x", "y"]
    assert len({row.config_version for row in both.rows}) == 1
    assert both.row("x") == both.rows[0]
    assert both.row("z") is None
    built.configuration({}, rows={"x": {}, "y": {}}, disabled=("x", "y"))
    assert built.job().rows == ()
    assert described(built.job(), selected=[])["rows"] == []


@pytest.mark.rules("OM-21", "CD-16", "CD-17", "CF-23")
def test_the_default_bucket_is_named_after_component_and_configuration(built: ProjectBuilder) -> None:
    def bucket(output: dict[str, Any], *, config_id: str = "main", **data: Any) -> str:
        built.component(**data)
        request = JobRequest(config_data={"storage": {"output": output}})
        return built.job(request, config_id=config_id).rows[0].default_bucket()

    assert bucket({}, default_bucket=True) == "in.c-vendor-ex-foo-main"
    assert bucket({}, default_bucket=True, default_bucket_stage="out") == "out.c-vendor-ex-foo-main"
    assert bucket({}) == ""
    assert bucket({"default_bucket": "out.c-mine"}, config_id="") == "out.c-mine"
    assert bucket({"default_bucket": "out.c-mine"}, default_bucket=True, config_id="") == "out.c-mine"
    nameless = JobRequest(config_data={"parameters": {}})
    built.component(default_bucket=True, staging_storage={"input": "local", "output": "none"})
    assert built.job(nameless, config_id="").rows
    built.component(default_bucket=True)
    with pytest.raises(ConfigurationError, match="this one has no id") as error:
        built.job(nameless, config_id="")
    assert error.value.key == "storage.output.default_bucket"


@pytest.mark.rules("VR-12")
def test_what_was_replaced_is_told_of_all_rows(built: ProjectBuilder, tmp_path: Path) -> None:
    vault = write(tmp_path / "vault.json", {"a": "1", "b": "2", "c": "3"})
    built.configuration({}, rows={name: {"parameters": f"{{{{ vault.{name} }}}}"} for name in "ab"})
    job = built.job(vault=vault)
    assert described(job, selected=[])["variables"] == {"vault.a": "1", "vault.b": "2"}


@pytest.mark.rules("LC-82", "PR-1", "PR-2", "PR-4", "PR-17", "CF-13", "IG-2")
@pytest.mark.parametrize(
    ("runtime", "tag", "image"),
    [
        ({}, "", "vendor/foo:latest"),
        ({"image_tag": "old"}, "", "vendor/foo:old"),
        ({"image_tag": "old", "tag": 2}, "", "vendor/foo:2"),
        ({"tag": "2"}, "job", "vendor/foo:job"),
    ],
)
def test_stages_are_processors_and_the_component_in_order(
    built: ProjectBuilder, runtime: dict[str, Any], tag: str, image: str
) -> None:
    built.component("vendor.processor", uri="vendor/processor")
    tagged = {"definition": {"component": "vendor.processor", "tag": "p"}, "parameters": {"q": 1}}
    built.configuration(
        {"runtime": runtime, **processors(before=["vendor.processor"], after=[tagged, "vendor.processor"])}
    )
    job = built.job(JobRequest(tag=tag))
    (row,) = job.rows
    assert [(stage.name, stage.image_reference, stage.is_main) for stage in row.stages] == [
        ("before_1", "vendor/processor:latest", False),
        ("run_component", image, True),
        ("after_1", "vendor/processor:p", False),
        ("after_2", "vendor/processor:latest", False),
    ]
    assert [stage.parameters for stage in row.stages] == [{}, {}, {"q": 1}, {}]
    assert list(job.images()) == ["vendor/processor:latest", image, "vendor/processor:p"]


@pytest.mark.rules("PR-14", "D20", "CD-29")
@pytest.mark.parametrize(("allowed", "position"), [("before", "after"), ("after", "before")])
def test_a_processor_in_a_position_that_it_does_not_allow_is_refused(
    built: ProjectBuilder, allowed: str, position: str
) -> None:
    built.component("vendor.any")
    built.component("vendor.picky", root={"processorConfiguration": {"allowedProcessorPosition": allowed}})
    file = built.configuration(processors(**{position: ["vendor.any", "vendor.picky"]}))
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), f"processors.{position}[1].definition.component")
    assert f"may only stand {allowed} the component" in error.value.problem
    built.configuration(processors(**{allowed: ["vendor.picky"]}))
    assert len(built.job().rows[0].stages) == 2


@pytest.mark.rules("PR-3")
def test_an_unknown_processor_names_key_and_similar_components(built: ProjectBuilder) -> None:
    built.component("vendor.processor")
    file = built.configuration(rows={"r": processors(after=["vendor.procesor"])}).parent / "rows/r/config.json"
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), "processors.after[0].definition.component")
    assert "Did you mean vendor.processor" in error.value.problem


@pytest.mark.rules("PR-12", "LC-31")
def test_without_staging_there_are_neither_processors_nor_mappings(built: ProjectBuilder) -> None:
    built.component(staging_storage={"input": "none"})
    built.configuration({"storage": {"input": {"tables": [{"source": "in.c-a.b"}]}}, **processors(before=["unknown"])})
    (row,) = built.job().rows
    assert [stage.name for stage in row.stages] == ["run_component"]
    assert row.mapping("input", "tables") == []


@pytest.mark.rules("RW-4", "SC-7", "VR-9", "VR-12", "LC-5")
def test_rows_shared_code_variables_and_defaults_meet_in_this_order(built: ProjectBuilder) -> None:
    built.write("main/other/keboola.shared-code/lib/config.json", {})
    built.write("main/other/keboola.shared-code/lib/rows/x/config.json", {"code_content": ["print({{v}})"]})
    built.configuration(
        {
            "shared_code_id": "lib",
            "shared_code_row_ids": ["x"],
            "storage": {"input": {"tables": [{"source": "in.c-a.{{v}}"}]}},
        },
        rows={"r": {"parameters": {"code": ["{{x}}"]}}},
    )
    built.variables(["v"], {"default": {"v": "5"}, "other": {"v": "6"}})
    (row,) = built.job().rows
    assert row.configuration["parameters"]["code"] == ["print(5)"]
    assert row.mapping("input", "tables")[0]["source"] == "in.c-a.5"
    assert row.mapping("input", "tables")[0]["columns"] == []
    assert row.variables == {"v": "5"}
    (row,) = built.job(JobRequest(variables=VariableValues(row_id="other"))).rows
    assert row.variables == {"v": "6"}


@pytest.mark.rules("CF-33", "CF-34", "VR-11", "LC-42")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"paramters": {}}, "Unknown key 'paramters'; did you mean 'parameters'?"),
        ({"variables_id": "vendor.ex-foo-main", "parameters": "{{ nope }}"}, "no value: nope"),
        ({"variables_id": "other"}, "keboola.variables/other"),
        ({"shared_code_id": "lib", "shared_code_row_ids": "x"}, "shared_code_row_ids: Must be a list"),
        ({"authorization": {"oauth": {}}}, "authorization: Unknown key 'oauth'; did you mean 'oauth_api'?"),
    ],
)
def test_whatever_is_wrong_the_file_of_the_row_is_named(built: ProjectBuilder, content: Any, problem: str) -> None:
    file = built.configuration({}, rows={"r": content}).parent / "rows/r/config.json"
    built.variables(["v"], {"default": {"v": "1"}})
    with pytest.raises(UserError) as error:
        built.job()
    assert re.match(rf"{file}(:1)?: ", str(error.value))
    assert problem in str(error.value)


@pytest.mark.rules("LC-3", "LC-4", "LC-40", "LC-42", "BR-12")
def test_what_is_wrong_is_told_in_the_order_of_the_steps(built: ProjectBuilder) -> None:
    content = {
        "shared_code_id": "s",
        "shared_code_row_ids": ["r"],
        "parameters": ["{{ vault.v }}"],
        "storage": {"unknown": 1},
    }
    shared = "dev/other/keboola.shared-code/s"
    vault = built.folder / "vault.json"

    def share_code() -> None:
        built.write(f"{shared}/config.json", {})
        built.write(f"{shared}/rows/r/config.json", {"code_content": []})

    steps: list[tuple[str, Callable[[], object]]] = [
        ("'vendor.new' is not registered", lambda: built.component("vendor.new", root={"features": [BLOCKED]})),
        ("cannot be run in development branches", lambda: built.component("vendor.new")),
        ("no configuration vendor.new/main", lambda: built.write("dev/other/vendor.new/main/config.json", content)),
        ("no configuration keboola.shared-code/s", share_code),
        ("no value: vault.v", lambda: write(vault, {"v": "1"})),
        ("storage: Unknown key 'unknown'", lambda: None),
    ]
    built.write("dev/meta.json", {"isDefault": False})
    for problem, repair in steps:
        with pytest.raises(UserError, match=problem):
            built.job(component_id="vendor.new", branch="dev", vault=vault)
        repair()


@pytest.mark.rules("LC-40", "LC-41")
def test_an_unknown_component_or_configuration_is_told_before_anything_runs(built: ProjectBuilder) -> None:
    with pytest.raises(NotFoundError, match="component 'nope' is not registered"):
        built.job(component_id="nope")
    with pytest.raises(NotFoundError, match=r"no configuration vendor\.ex-foo/nope"):
        built.job(config_id="nope")
    built.component(memory="much")
    with pytest.raises(ConfigurationError, match=r"vendor\.ex-foo\.json:1: data\.memory: "):
        built.job(config_id="nope")


@pytest.mark.rules("EN-9", "EN-10")
@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"parameters": {"#password": "hunter2"}}, "parameters.#password"),
        (
            {
                "processors": {
                    "before": [{"definition": {"component": "vendor.ex-foo"}, "parameters": {"#p": "hunter2"}}]
                }
            },
            "processors.before[0].parameters.#p",
        ),
    ],
)
def test_a_secret_in_plain_text_is_refused_before_it_is_written_anywhere(
    built: ProjectBuilder, content: Any, key: str
) -> None:
    file = built.configuration(content)
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), key)
    assert "hunter2" not in str(error.value)


@pytest.mark.rules("EN-4", "LC-5")
def test_a_job_survives_serialising_and_holds_only_ciphers(built: ProjectBuilder) -> None:
    encryptor = Encryptor((KEY,))
    built.component(
        "vendor.processor", image_parameters=encryptor.encrypt({"#own": "hunter2"}, Scope("vendor.processor"))
    )
    secret = encryptor.encrypt({"#password": "hunter2"}, Scope("vendor.ex-foo", "", "main"))
    item = {"definition": {"component": "vendor.processor"}, "parameters": secret}
    built.configuration(
        {"parameters": secret, **processors(after=[item])}, rows={"a": {}, "b": {"parameters": {"x": 1}}}
    )
    job = built.job(JobRequest(mode=Mode.DEBUG))
    text = job.to_json()
    assert "hunter2" not in text
    assert Job.from_json(text) == job
    assert Job.from_json(text).to_json() == text
    json.loads(text)
    assert "KBC::" not in repr(job)
    assert built.project.id == ""


def test_resolving_writes_nothing(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {}}, rows={"r": {}})

    def files() -> list[Path]:
        return sorted(built.folder.rglob("*"))

    before = files()
    built.job()
    assert files() == before


ROOT = """{
  "parameters": {"a": 1},
  "storage": {
    "input": {"tables": [
      {"source": "in.c-a.b", "limit": %s}
    ]}
  }
}"""
ROW = """{
  "storage": {"input": {"tables": [
    {"columns": %s},
    %s
  ]}}
}"""


@pytest.mark.rules("RW-3", "RW-4", "CF-33", "CF-34")
@pytest.mark.parametrize(
    ("root", "row", "place", "problem"),
    [
        (
            ROOT % '"x"',
            ROW % ("[]", '{"source": "in.c-a.c"}'),
            "main/config.json:5",
            "tables[0].limit: Must be a whole",
        ),
        (
            ROOT % "1",
            ROW % ("1", '{"source": "in.c-a.c"}'),
            "rows/r/config.json:3",
            "tables[0].columns: Must be a list",
        ),
        (ROOT % "1", ROW % ("[]", '{"colums": []}'), "rows/r/config.json:4", "tables[1]: Unknown key 'colums'"),
        (ROOT % "1", ROW % ("[]", '{"limit": 5}'), "rows/r/config.json:4", "tables[1]: The key 'source' is missing"),
        (
            ROOT % '"{{v}}"',
            ROW % ("[]", '{"source": "in.c-a.c"}'),
            "main/config.json:5",
            "tables[0].limit: Must be a whole number",
        ),
        (
            ROOT % "1",
            ROW % ('["{{v}}"]', '{"source": "a", "limit": "{{v}}"}'),
            "rows/r/config.json:4",
            "tables[1].limit: Must be a whole number",
        ),
    ],
)
def test_a_wrong_key_is_shown_in_the_file_that_holds_it(
    built: ProjectBuilder, root: str, row: str, place: str, problem: str
) -> None:
    built.variables(["v"], {"default": {"v": "x"}})
    root = root.replace("{", '{"variables_id": "vendor.ex-foo-main",', 1)
    built.configuration(root, rows={"r": row})
    with pytest.raises(ConfigurationError) as error:
        built.job()
    where = f"{error.value.file}:{error.value.line}"
    assert where.endswith(place)
    assert f"{where}: storage.input.{problem}" in str(error.value)


@pytest.mark.rules("RW-3")
def test_half_an_item_in_each_file_is_a_whole_one(built: ProjectBuilder) -> None:
    built.configuration(ROOT % "1", rows={"r": ROW % ('["a"]', '{"source": "in.c-a.c"}')})
    tables = built.job().rows[0].mapping("input", "tables")
    assert [(table["source"], table.get("limit"), table["columns"]) for table in tables] == [
        ("in.c-a.b", 1, ["a"]),
        ("in.c-a.c", None, []),
    ]


@pytest.mark.rules("EN-10", "CF-33")
def test_other_errors_name_the_right_file_and_line_too(built: ProjectBuilder) -> None:
    root = built.configuration('{\n"parameters": {\n"#a": "hunter2"}}', rows={"r": {"parameters": {"b": 1}}})
    with pytest.raises(ConfigurationError, match=rf"^{root}:3: parameters\.#a: The value is not encrypted"):
        built.job()


@pytest.mark.rules("CF-35")
def test_empty_ways_to_choose_files_and_empty_delete_rules_are_taken_away(built: ProjectBuilder) -> None:
    empty = {"tags": [], "query": "", "processed_tags": [], "file_ids": [], "source": {"tags": [{"name": "a"}]}}
    built.configuration(
        {
            "storage": {
                "input": {"files": [empty]},
                "output": {"tables": [{"source": "a", "destination": "out.c-a.b", "delete_where": []}]},
            }
        }
    )
    row = built.job().rows[0]
    assert row.mapping("input", "files") == [
        {"overwrite": True, "source": {"tags": [{"name": "a", "match": "include"}]}}
    ]
    assert "delete_where" not in row.mapping("output", "tables")[0]


@pytest.mark.rules("LC-4", "LC-5", "VR-14")
def test_shared_code_comes_first_then_the_vault_then_variables_and_ciphers_last(built: ProjectBuilder) -> None:
    built.write("main/other/keboola.shared-code/lib/config.json", {})
    built.write("main/other/keboola.shared-code/lib/rows/x/config.json", {"code_content": ["{{v}}", "{{ vault.w }}"]})
    cipher = Encryptor((KEY,)).encrypt_value("hunter2", Scope("vendor.ex-foo"))
    vault = write(built.folder / "vault.json", {"w": "w{{v}}", "secret": cipher})
    built.configuration(
        {
            "shared_code_id": "lib",
            "shared_code_row_ids": ["x"],
            "parameters": {"code": ["{{x}}"], "#p": "{{ vault.secret }}", "#q": "{{v}}"},
        }
    )
    built.variables(["v"], {"default": {"v": cipher}})
    row = built.job(vault=vault).rows[0]
    assert row.configuration["parameters"] == {"code": [cipher, f"w{cipher}"], "#p": cipher, "#q": cipher}
    assert row.variables == {"vault.w": "w{{v}}", "vault.secret": cipher, "v": cipher}
