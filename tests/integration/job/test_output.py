"""What a component says of its results, and where they end up."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import BaseType, Commit, FileQuery, FileUpload

pytestmark = pytest.mark.engine

TABLE = "import json\nopen('/data/out/tables/t.csv', 'w').write('{content}')\n"
MANIFEST = "open('/data/out/tables/t.csv.manifest', 'w').write(json.dumps({manifest!r}))\n"
SCHEMA = {
    "schema": [
        {"name": "id", "primary_key": True, "data_type": {"base": {"type": "INTEGER"}}},
        {"name": "price", "data_type": {"base": {"type": "NUMERIC", "length": "12,2"}}, "description": "Price"},
    ]
}


def script(content: str, manifest: dict[str, Any] | None = None, more: str = "") -> str:
    written = TABLE.format(content=content.replace("\n", "\\n"))
    return written + (MANIFEST.format(manifest=manifest) if manifest else "") + more


def metadata(items: Any) -> dict[str, str]:
    return {item.key: item.value for item in items if item.provider != "system"}


@pytest.mark.rules("OM-90", "OM-91", "OM-93", "OM-94", "OM-96", "CD-28", "CF-24", "D23")
def test_the_support_of_types_decides_what_a_schema_makes_of_a_table(installation: Installation) -> None:
    installation.component(
        "test.typed", {"network": "none"}, dataTypesConfiguration={"dataTypesSupport": "authoritative"}
    )
    for support in ("", "hints", "none"):
        name = support or "registered"
        output = {"default_bucket": f"out.c-{name}", **({"data_type_support": support} if support else {})}
        text = script("1,2.5\n", SCHEMA)
        installation.script(name, text, component="test.typed", storage={"output": output})
        installation.run(name, component="test.typed")
    storage = open_storage(installation.settings.storage)
    typed, hinted, plain = (storage.table(f"out.c-{name}.t") for name in ("registered", "hints", "none"))
    assert {table.primary_key for table in (typed, hinted, plain)} == {("id",)}
    assert {name: kind.base for name, kind in typed.types.items()} == {
        "id": BaseType.INTEGER,
        "price": BaseType.NUMERIC,
    }
    assert (hinted.types, plain.types) == ({}, {})
    assert metadata(plain.column_metadata["price"]) == metadata(typed.column_metadata["price"])
    assert metadata(plain.column_metadata["price"]) == {"KBC.description": "Price"}
    assert metadata(hinted.column_metadata["price"]) == {
        "KBC.description": "Price",
        "KBC.datatype.basetype": "NUMERIC",
        "KBC.datatype.length": "12,2",
        "KBC.datatype.nullable": "1",
    }
    installation.script(
        "bare", script("id\n1\n"), component="test.typed", storage={"output": {"default_bucket": "in.c-b"}}
    )
    with pytest.raises(ConfigurationError, match="must be told by a schema"):
        installation.run("bare", component="test.typed")


@pytest.mark.rules("CF-26", "OM-53", "OM-18")
def test_values_become_null_and_rows_are_only_added_when_the_configuration_says_so(installation: Installation) -> None:
    output = {
        "default_bucket": "out.c-main",
        "treat_values_as_null": ["NA", 0],
        "tables": [
            {
                "source": "t.csv",
                "destination": "out.c-main.t",
                "columns": ["id", "v"],
                "primary_key": ["id"],
                "incremental": True,
                "deduplication_strategy": "insert",
            }
        ],
    }
    installation.script("nulls", script("1,NA\n1,0\n2,x\n"), storage={"output": output})
    installation.run("nulls")
    assert installation.rows("out.c-main.t") == [{"id": "1", "v": ""}, {"id": "1", "v": ""}, {"id": "2", "v": "x"}]


@pytest.mark.rules("CF-26")
@pytest.mark.parametrize("wrong", ["NA", {"a": 1}, [["a"]]])
def test_null_values_of_another_structure_are_refused_before_anything_runs(
    installation: Installation, wrong: Any
) -> None:
    file = installation.script("nulls", "1", storage={"output": {"treat_values_as_null": wrong}})
    with pytest.raises(ConfigurationError) as error:
        installation.job("nulls")
    assert (error.value.file, error.value.key) == (str(file), "storage.output.treat_values_as_null")


@pytest.mark.rules("OM-20a", "OM-20b", "LC-42")
def test_a_mapping_that_contradicts_itself_is_refused_before_anything_runs(installation: Installation) -> None:
    item = {"source": "t.csv", "destination": "out.c-main.t", "columns": ["a"], "schema": [{"name": "a"}]}
    file = installation.script("contradicts", "1", storage={"output": {"tables": [item]}})
    with pytest.raises(ConfigurationError) as error:
        installation.job("contradicts")
    assert (error.value.file, error.value.key) == (str(file), "storage.output.tables[0].columns")


WRITES_YAML = """FROM {base}
CMD ["python3", "-c", "import os; assert os.path.exists('/data/config.yml'); \\
open('/data/out/tables/t.csv', 'w').write('1;2'); \\
open('/data/out/tables/t.csv.manifest', 'w').write('{{columns: [a, b], delimiter: \\";\\"}}'); \\
open('/data/out/files/f.txt', 'w').write(''); \\
open('/data/out/files/f.txt.manifest', 'w').write('tags: [mine]')"]
"""


@pytest.mark.rules("CD-11", "OM-7", "OF-2")
def test_a_component_that_wants_yaml_writes_its_manifests_as_yaml(installation: Installation) -> None:
    client = docker.from_env()
    dockerfile = WRITES_YAML.format(base=f"{SCRIPT_IMAGE}:latest")
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=f"{SCRIPT_IMAGE}:yaml", rm=True)
    client.close()
    definition = {"type": "dockerhub", "uri": SCRIPT_IMAGE, "tag": "yaml", "pull_policy": "never"}
    data = {"network": "none", "configuration_format": "yaml", "definition": definition}
    installation.component("test.yaml", data)
    storage = {"output": {"default_bucket": "out.c-main"}}
    installation.configuration("yaml", {"storage": storage}, component="test.yaml")
    installation.run("yaml", component="test.yaml")
    assert installation.rows("out.c-main.t") == [{"a": "1", "b": "2"}]
    found = open_storage(installation.settings.storage).files(FileQuery(tags=("mine",)))
    assert [file.name for file in found] == ["f.txt"]


@pytest.mark.rules("OM-78", "LC-8")
def test_output_variables_are_shown_without_secrets(installation: Installation) -> None:
    secret = "s3cret-of-the-run"
    encrypted = installation.command("encrypt", "--component", SCRIPT, "--value", input=secret).stdout.strip()
    code = (
        "import json; s = c['parameters']['#password']\n"
        "variables = {'count': 5, 'note': 'to ' + s, 'none': None, 'list': [1]}\n"
        "json.dump({'variables': variables}, open('/data/out/result.json', 'w'))\n"
    )
    installation.configuration("variables", {"parameters": {"script": code, "#password": encrypted}})
    shown = {"count": 5, "note": "to [hidden]", "none": None}
    assert installation.run("variables").manifests["unload_output"]["variables"] == shown
    done = installation.command("run", f"{SCRIPT}/variables")
    assert done.stdout.splitlines() == ["variable count: 5", 'variable note: "to [hidden]"', "variable none: null"]
    installation.script("wrong", "open('/data/out/result.json', 'w').write('[1]')")
    assert installation.run("wrong").manifests["unload_output"]["variables"] == {}
    assert [line for line in installation.lines if line.startswith("There are no output variables: out/result.json")]
    installation.script("none", "print(1)")
    assert installation.run("none").manifests["unload_output"]["variables"] == {}


@pytest.mark.rules("LC-27", "LC-34", "OM-82", "OM-81")
def test_files_tables_and_state_appear_together(installation: Installation) -> None:
    more = "open('/data/out/files/f.txt', 'w').write('')\njson.dump({'n': 1}, open('/data/out/state.json', 'w'))\n"
    output = {"default_bucket": "out.c-main"}
    installation.script("all", script("id\n1\n", {"description": "Orders"}, more), storage={"output": output})
    manifest = installation.run("all").manifests["unload_output"]
    assert [table["id"] for table in manifest["tables"]] == ["out.c-main.t"]
    assert [file["name"] for file in manifest["files"]] == ["f.txt"]
    assert installation.state("all")["component"] == {"n": 1}
    table = open_storage(installation.settings.storage).table("out.c-main.t")
    assert metadata(table.metadata) == {"KBC.description": "Orders"}
    # One thing that is wrong keeps everything out.
    installation.script("half", script("id,x\n1\n", None, more), storage={"output": {"default_bucket": "out.c-half"}})
    with pytest.raises(UserError, match=r"out\.c-half\.t"):
        installation.run("half")
    assert installation.state("half") == {}
    assert installation.tables() == ["out.c-main.t"]


@pytest.mark.rules("OM-97", "CD-59")
def test_with_the_older_feature_new_tables_are_typed_by_their_metadata(installation: Installation) -> None:
    hints = {"id": [{"key": "KBC.datatype.basetype", "value": "INTEGER"}]}
    text = script("1,x\n", {"columns": ["id", "v"], "column_metadata": hints})
    installation.script("older", text, storage={"output": {"default_bucket": "out.c-main"}})
    installation.load("out.c-new.t", "id,v\n1,x\n")
    for bucket, features, typed in (
        ("older", "native-types", True),
        ("new", "native-types", False),
        ("both", "native-types,new-native-types", False),
        ("none", "", False),
    ):
        installation.script("older", text, storage={"output": {"default_bucket": f"out.c-{bucket}"}})
        done = installation.command("run", f"{SCRIPT}/older", DOCKER_RUNNER_FEATURES=features)
        assert done.returncode == 0, done.stderr
        types = open_storage(installation.settings.storage).table(f"out.c-{bucket}.t").types
        assert {name: kind.base.value for name, kind in types.items()} == (
            {"id": "INTEGER", "v": "STRING"} if typed else {}
        )


@pytest.mark.rules("OM-8", "OM-50")
def test_structure_comes_first_then_what_is_deleted_then_the_rows_table_by_table(installation: Installation) -> None:
    installation.load("out.c-main.t", "id,v\n1,old\n2,old\n")
    rule = {
        "where_filters": [{"column": "v", "values_from_set": ["old", "new"]}, {"column": "id", "values_from_set": [1]}]
    }
    item = {"destination": "out.c-main.t", "incremental": True, "delete_where": [rule], "columns": ["id", "v", "w"]}
    second = {"source": "a.csv", "destination": "out.c-main.t", "incremental": True}
    code = (
        "open('/data/out/tables/b.csv', 'w').write('1,new,x\\n')\n"
        "open('/data/out/tables/a.csv', 'w').write('id,v\\n3,a\\n')\n"
    )
    # Of two sources for one table the first by name comes first, whatever the order of the mappings.
    installation.script("order", code, storage={"output": {"tables": [{**item, "source": "b.csv"}, second]}})
    installation.run("order")
    assert installation.rows("out.c-main.t") == [
        {"id": "1", "v": "new", "w": "x"},
        {"id": "2", "v": "old", "w": ""},
        {"id": "3", "v": "a", "w": ""},
    ]


@pytest.mark.rules("OM-76")
def test_what_storage_refuses_names_the_table_and_a_storage_that_fails_is_worth_another_try(
    installation: Installation,
) -> None:
    installation.load("out.c-main.t", "id\n1\n")
    tables = [{"source": "t.csv", "destination": "out.c-main.T"}]
    installation.script("refused", script("id\n1\n"), storage={"output": {"tables": tables}})
    with pytest.raises(UserError, match=r"Table out\.c-main\.T: there is out\.c-main\.t already"):
        installation.run("refused")
    installation.script("fails", "print(1)")
    (installation.folder / "no-folder").write_text("")
    broken = f"ducklake:sqlite:{installation.folder}/no-folder/catalog.sqlite"
    done = installation.command("run", f"{SCRIPT}/fails", DOCKER_RUNNER_STORAGE=broken)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.rules("BR-4", "BR-5", "BR-8", "BR-14", "OF-7", "IF-29", "OM-80")
def test_a_development_branch_writes_into_buckets_and_tags_of_its_own(
    installation: Installation, tmp_path: Path
) -> None:
    def stored(*tags: str) -> list[str]:
        return [file.name for file in open_storage(installation.settings.storage).files(FileQuery(tags=tags))]

    (tmp_path / "in.txt").write_text("")
    upload = FileUpload(tmp_path / "in.txt", "in.txt", ("todo",))
    installation.tools().storage.commit(Commit("in", files=(upload,)))
    code = script("id\n1\n", {"write_always": True}, "open('/data/out/files/f.txt', 'w').write('')\n")
    content: dict[str, Any] = {
        "parameters": {"script": code},
        "storage": {
            "input": {"files": [{"tags": ["todo"], "processed_tags": ["done"]}]},
            "output": {
                "tables": [{"source": "t.csv", "destination": "out.c-main.t", "incremental": True}],
                "files": [{"source": "f.txt", "tags": ["mine"]}],
            },
        },
    }
    installation.script("kept", "print(1)")
    installation.configuration("branched", content, branch="dev")
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    for _ in range(2):
        installation.run("branched")
    assert installation.rows("out.c-dev-main.t") == [{"id": "1"}, {"id": "1"}]
    assert installation.tables() == ["out.c-dev-main.t"]
    assert (stored("dev-mine", "dev-runId: run-1"), stored("mine")) == (["f.txt", "f.txt"], [])
    assert (stored("dev-done"), stored("done")) == (["in.txt"], [])
    table = open_storage(installation.settings.storage).table("out.c-dev-main.t")
    marks = {item.key: item.value for item in table.metadata if item.key.endswith("branch.id")}
    assert marks == {"KBC.createdBy.branch.id": "dev", "KBC.lastUpdatedBy.branch.id": "dev"}
    # A bucket of that name that is nobody's is left alone, also when the row fails.
    installation.load("out.c-dev-other.t", "id\n7\n")
    content["storage"]["output"]["tables"][0]["destination"] = "out.c-other.t"
    installation.configuration("branched", content, branch="dev")
    with pytest.raises(UserError, match=r"out\.c-dev-other belongs to no development branch"):
        installation.run("branched")
    content["parameters"] = {"script": code + "raise SystemExit('broken')"}
    installation.configuration("branched", content, branch="dev")
    with pytest.raises(UserError, match="broken"):
        installation.run("branched")
    assert installation.rows("out.c-dev-other.t") == [{"id": "7"}]
    assert [line for line in installation.lines if "belongs to no development branch" in line]
