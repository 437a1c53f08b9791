"""The schemas: each thing is defined once, and what is in the files is what counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from tests.builders import configuration, write

from docker_runner.documents import checked, problems, read_json
from docker_runner.errors import ConfigurationError
from docker_runner.schemas import load_schema, schema_folder, validator, violations

FILES = sorted(schema_folder().glob("*.json"))
NAMES = [file.stem for file in FILES]
TABLE = {"source": "in.c-main.t"}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_schema_is_valid_and_says_what_it_is_for(file: Path) -> None:
    schema = json.loads(file.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert schema["description"]
    assert "$ref" not in json.dumps(load_schema(file.stem))


def standard(name: str) -> Any:
    """The schema as any other tool reads it, following each ``$ref``."""
    registry: Registry[Any] = Registry().with_resources(
        (file.name, Resource.from_contents(json.loads(file.read_text()))) for file in FILES
    )
    return Draft202012Validator({"$ref": f"{name}.json"}, registry=registry)


OUTPUT_PARTS: list[dict[str, Any]] = [
    {"metadata": [{"key": "a"}]},
    {"metadata": [{"key": "a", "value": 1}]},
    {"column_metadata": {"c": [{"value": "a"}]}},
    {"schema": [{"nullable": True}]},
    {"schema": [{"name": "a", "data_type": {"base": {}}}]},
    {"schema": [{"name": "a", "data_type": {"base": {"type": "STRING"}, "oracle": {}}}]},
    {"delete_where": [{"where_filters": [{"operator": "eq"}]}]},
    {"delete_where": [{"where_filters": [{"column": "a", "values_from_workspace": {}}]}]},
    {"primary_key": "a"},
    {"unknown": 1},
    {"delimiter": ";"},
]


@pytest.mark.rules("CF-37", "OM-10", "OM-11", "OM-12", "OM-13", "OM-16", "OM-17", "OM-18", "OM-19")
@pytest.mark.parametrize("part", OUTPUT_PARTS, ids=json.dumps)
def test_a_mapping_and_a_manifest_allow_the_same_in_every_tool(part: dict[str, Any]) -> None:
    mapping = {"storage": {"output": {"tables": [{"source": "a", **part}]}}}
    verdicts = [
        validator("configuration").is_valid(mapping),
        standard("configuration").is_valid(mapping),
        validator("output-table-manifest").is_valid(part),
        standard("output-table-manifest").is_valid(part),
    ]
    assert len(set(verdicts)) == 1


def test_a_manifest_has_no_defaults_and_no_source() -> None:
    assert checked({}, "output-table-manifest") == {}
    with pytest.raises(ConfigurationError, match="Unknown key 'source'"):
        checked({"source": "a"}, "output-table-manifest")


# What is filled in where nothing is said (CF-35, with D1 for maps), and nothing else is.
INPUT_TABLE = {
    "columns": [], "column_types": [], "where_values": [], "where_operator": "eq", "overwrite": False,
    "keep_internal_timestamp_column": True,
}  # fmt: skip
INPUT_FILE = {"overwrite": True}
OUTPUT_TABLE = {
    "incremental": False, "primary_key": [], "columns": [], "distribution_key": [], "delete_where_values": [],
    "metadata": [], "column_metadata": {}, "tags": [], "schema": [], "delete_where_operator": "eq", "delimiter": ",",
    "enclosure": '"', "write_always": False,
}  # fmt: skip
OUTPUT_FILE = {"tags": [], "is_public": False, "is_permanent": False, "notify": False, "is_encrypted": True}


@pytest.mark.rules("CF-22", "CF-27", "CF-35", "D1")
@pytest.mark.parametrize(
    ("direction", "kind", "item", "defaults"),
    [
        ("input", "tables", TABLE, INPUT_TABLE),
        ("input", "files", {"tags": ["a"]}, INPUT_FILE),
        ("output", "tables", {"source": "a"}, OUTPUT_TABLE),
        ("output", "files", {"source": "a"}, OUTPUT_FILE),
    ],
)
def test_each_mapping_gets_exactly_the_listed_defaults(
    direction: str, kind: str, item: dict[str, Any], defaults: dict[str, Any]
) -> None:
    content = configuration({"storage": {direction: {kind: [item]}}})
    assert content == {
        "storage": {direction: {"tables": [], "files": [], kind: [{**item, **defaults}]}},
        "shared_code_row_ids": [],
    }


@pytest.mark.rules("CF-35", "CF-36", "D1")
@pytest.mark.parametrize(
    ("storage", "parsed"),
    [
        ({}, {}),
        ([], []),
        ({"input": {}}, {"input": {"tables": [], "files": []}}),
        ({"input": []}, {"input": {"tables": [], "files": []}}),
        ({"output": {}}, {"output": {"tables": [], "files": []}}),
    ],
)
def test_storage_is_expanded_only_as_far_as_it_is_there(storage: Any, parsed: Any) -> None:
    assert configuration({"storage": storage})["storage"] == parsed


@pytest.mark.rules("CF-12", "CF-15", "CF-28", "AR-2")
def test_other_nodes_get_their_defaults_when_they_are_there() -> None:
    content = configuration(
        {"runtime": {}, "artifacts": {"runs": {}, "options": {}}, "storage": {"output": {"table_files": {}}}}
    )
    assert content["runtime"] == {"safe": None, "backend": {}}
    assert content["artifacts"] == {"runs": {"enabled": False}, "options": {"zip": True}}
    assert content["storage"]["output"]["table_files"] == {"tags": [], "is_permanent": True}


@pytest.mark.rules("RW-3", "RW-4")
@pytest.mark.parametrize(
    "part",
    [
        {"storage": {"input": {"tables": [{"limit": 5}]}}},
        {"storage": {"input": {"files": [{"source": {"tags": [{"match": "exclude"}]}}]}}},
        {"storage": {"output": {"tables": [{"metadata": [{"value": "x"}], "schema": [{"nullable": True}]}]}}},
        {"processors": {"before": [{"parameters": {"a": 1}}]}},
    ],
)
def test_a_part_of_a_configuration_may_lack_what_a_whole_one_may_not(part: dict[str, Any]) -> None:
    assert violations(part, "configuration-row") == []
    assert violations(part, "configuration")


@pytest.mark.rules("VR-10")
def test_placeholders_may_stand_where_another_type_is_wanted() -> None:
    part = {"{{key}}": 1, "storage": {"input": {"tables": [{"where_operator": "{{op}}", "limit": "{{n}}"}]}}}
    assert violations(part, "configuration-row", placeholders=True) == []
    assert len(violations(part, "configuration-row")) == 3


WRONG = """{
  "parameters": {"a": {"b": [1, "}"]}},
  "storage": {
    "input": {"tables": [
      {"source": "in.c-a.b"},
      {
        "source": "in.c-a.c",
        "colums": []
      },
      {"limit": "x",
       "days": "ten"}
    ]},
    "output": []
  },
  "paramters": {}
}
"""


@pytest.mark.rules("CF-33", "CF-34")
def test_everything_that_is_wrong_is_found_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "config.json", WRONG)
    found = {(error.line, error.key, error.problem) for error in problems(read_json(file), "configuration", file=file)}
    assert found == {
        (15, "", "Unknown key 'paramters'; did you mean 'parameters'?"),
        (8, "storage.input.tables[1]", "Unknown key 'colums'; did you mean 'columns'?"),
        (10, "storage.input.tables[2]", "The key 'source' is missing."),
        (10, "storage.input.tables[2].limit", 'Must be a whole number or null, not "x".'),
        (11, "storage.input.tables[2].days", 'Must be number of days, not "ten".'),
    }
    with pytest.raises(ConfigurationError, match=rf"^{file}:15: Unknown key 'paramters'"):
        checked(read_json(file), "configuration", file=file)


def test_a_wrong_secret_is_not_shown() -> None:
    credentials = {"id": 1, "type": "snowflake", "#password": ["hunter2"]}
    for wrong in (credentials, {**credentials, "#password": "hunter2", "#privateKey": "hunter2"}):
        content = {"runtime": {"backend": {"workspace_credentials": wrong}}}
        for found in violations(content, "configuration"):
            assert "hunter2" not in str(found)
        assert violations(content, "configuration")


@pytest.mark.rules("IM-45", "IF-28")
def test_input_manifests_have_schemas_for_authors_of_components() -> None:
    moment = "2026-01-31T06:00:00+0000"
    table = {
        "id": "in.c-a.b", "uri": "u", "name": "b", "primary_key": [], "distribution_key": [], "created": moment,
        "last_change_date": moment, "last_import_date": moment, "columns": ["c"],
        "metadata": [{"id": 1, "key": "k", "value": "v", "provider": "p", "timestamp": moment}],
        "column_metadata": {"c": []}, "schema": [],
    }  # fmt: skip
    assert violations(table, "input-table-manifest") == []
    wrong = {**table, "created": "today"}
    assert [found.key for found in violations(wrong, "input-table-manifest")] == ["created"]
