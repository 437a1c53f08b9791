"""Options of an output table: what the mapping says laid over what the manifest says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import mapping

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.output_options import merged_options

SOURCE = {"source": "t.csv", "destination": "out.c-main.t"}


def options(mapped: dict[str, Any] | None, manifest: dict[str, Any]) -> dict[str, Any]:
    item = mapping("output", "tables", {**SOURCE, **mapped})[0] if mapped is not None else {}
    return merged_options(item, manifest, source="t.csv")


@pytest.mark.rules("OM-30", "OM-32", "TV-3")
def test_a_bare_mapping_keeps_the_manifests_options_but_drops_its_key() -> None:
    merged = options({}, {"incremental": True, "primary_key": ["id"], "delimiter": "\t"})
    assert (merged["incremental"], merged["delimiter"], merged["primary_key"]) == (True, "\t", [])


@pytest.mark.rules("OM-30")
@pytest.mark.parametrize(
    ("key", "mapped", "manifest", "result"),
    [
        ("incremental", False, True, True),
        ("incremental", True, False, True),
        ("delimiter", ",", "\t", "\t"),
        ("delimiter", ";", "\t", ";"),
        ("enclosure", '"', "", ""),
        ("enclosure", "", "'", "'"),
        ("enclosure", "'", '"', "'"),
        ("delete_where_operator", "eq", "ne", "ne"),
        ("delete_where_operator", "ne", "eq", "ne"),
        ("delete_where_operator", None, "ne", "ne"),
    ],
)
def test_a_default_in_the_mapping_never_overrides_the_manifest(
    key: str, mapped: Any, manifest: Any, result: Any
) -> None:
    assert options({key: mapped}, {key: manifest})[key] == result
    assert options({key: mapped}, {})[key] == mapped


@pytest.mark.rules("OM-35")
@pytest.mark.parametrize(
    ("key", "mapped", "manifest", "result"),
    [
        ("write_always", False, True, True),
        ("write_always", True, False, True),
        ("columns", [], ["a"], ["a"]),
        ("columns", ["b"], ["a"], ["b"]),
        ("description", "", "old", "old"),
        ("description", "new", "old", "new"),
        ("has_header", False, True, True),
        ("delete_where_values", [], ["1"], ["1"]),
    ],
)
def test_other_options_of_the_mapping_win_when_they_say_something(
    key: str, mapped: Any, manifest: Any, result: Any
) -> None:
    assert options({key: mapped}, {key: manifest})[key] == result


@pytest.mark.rules("OM-31", "OM-34")
def test_metadata_is_merged_by_key_in_the_manifests_order() -> None:
    def items(**pairs: str) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in pairs.items()]

    merged = options(
        {
            "metadata": items(c="3", a="new"),
            "column_metadata": {"id": items(x="new"), "other": items(y="1")},
            "table_metadata": {"b": "new"},
        },
        {
            "metadata": items(a="1", b="2"),
            "column_metadata": {"id": items(x="1", z="2")},
            "table_metadata": {"a": "1", "b": "2"},
        },
    )
    assert merged["metadata"] == items(a="new", b="2", c="3")
    assert merged["column_metadata"] == {"id": items(x="new", z="2"), "other": items(y="1")}
    assert merged["table_metadata"] == {"a": "1", "b": "new"}


@pytest.mark.rules("OM-33", "OM-20c")
def test_a_mappings_key_is_set_on_the_manifests_schema() -> None:
    schema = [{"name": "id"}, {"name": "day", "primary_key": True}, {"name": "v"}]
    merged = options({"primary_key": ["id"]}, {"schema": schema})
    assert [column.get("primary_key", False) for column in merged["schema"]] == [True, True, False]
    with pytest.raises(ConfigurationError, match=r"t\.csv\.manifest: schema: The primary key names x, .* id, day, v"):
        options({"primary_key": ["id", "x"]}, {"schema": schema})


@pytest.mark.rules("OM-34")
def test_schemas_are_merged_by_column() -> None:
    def column(name: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "data_type": {"base": {"type": kind}}, **more}

    merged = options(
        {"schema": [{"name": "v", "nullable": False, "metadata": {"m": "new"}}, {"name": "w"}]},
        {"schema": [column("id", "STRING"), column("v", "INTEGER", nullable=True, metadata={"m": "1", "n": "2"})]},
    )
    assert merged["schema"] == [
        column("id", "STRING"),
        column("v", "INTEGER", nullable=False, metadata={"m": "new", "n": "2"}),
        {"name": "w"},
    ]


@pytest.mark.rules("OM-36", "OM-40")
def test_names_are_cleaned_before_merging() -> None:
    merged = options(
        {"primary_key": [" id ", "", "id", None, "dlažební kostka"], "columns": ["id", "dlažební kostka", 5]},
        {"column_metadata": {"dlažební kostka": [{"key": "a", "value": "b"}]}},
    )
    assert merged["primary_key"] == ["id", "dlazebni_kostka"]
    assert merged["columns"] == ["id", "dlazebni_kostka", "5"]
    assert list(merged["column_metadata"]) == ["dlazebni_kostka"]


def test_an_empty_column_name_is_kept_so_that_the_others_do_not_shift() -> None:
    assert options({"columns": ["a", "", None, "b"]}, {})["columns"] == ["a", "", "", "b"]


@pytest.mark.rules("OM-20a", "OM-20b", "OM-37", "OM-43")
@pytest.mark.parametrize(
    ("mapped", "manifest", "problem"),
    [
        ({"columns": ["a"]}, {"schema": [{"name": "a"}]}, "schema and columns"),
        ({"metadata": [{"key": "a", "value": "b"}]}, {"schema": [{"name": "a"}]}, "schema and metadata"),
        (None, {"schema": [{"name": "a"}], "primary_key": ["a"]}, "schema and primary_key"),
        (None, {"schema": [{"name": "a"}], "distribution_key": ["a"]}, "schema and distribution_key"),
        ({"description": "x"}, {"table_metadata": {"KBC.description": "y"}}, "the description is given twice"),
        (
            None,
            {"schema": [{"name": "a", "description": "x", "metadata": {"KBC.description": "y"}}]},
            "the description of the column a is given twice",
        ),
        ({"delete_where_column": "a"}, {}, "delete_where_column needs delete_where_values"),
        (
            {"delete_where_column": "a", "delete_where_values": ["1"]},
            {"delete_where": [{"changed_since": "-1 day"}]},
            "delete_where_column and delete_where",
        ),
        ({"columns": ["a", "_timestamp"]}, {}, "_timestamp"),
        ({"column_metadata": {"_Timestamp": []}}, {}, "_timestamp"),
        (None, {"schema": [{"name": "_TIMESTAMP"}]}, "_timestamp"),
    ],
)
def test_contradictions_name_the_table(mapped: dict[str, Any] | None, manifest: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\(table t\.csv\)") as error:
        options(mapped, manifest)
    assert problem in str(error.value)


MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "incremental": st.booleans(),
        "write_always": st.booleans(),
        "delimiter": st.sampled_from([",", ";", "\t"]),
        "enclosure": st.sampled_from(['"', "'", ""]),
        "primary_key": st.lists(st.sampled_from(["a", "b"]), unique=True),
        "columns": st.lists(st.sampled_from(["a", "b"]), unique=True),
    },
)


@pytest.mark.rules("OM-30", "OM-32", "OM-35")
@given(MANIFESTS, MANIFESTS)
def test_every_option_is_the_mappings_or_the_manifests(mapped: dict[str, Any], manifest: dict[str, Any]) -> None:
    merged = options(mapped, manifest)
    item = mapping("output", "tables", {**SOURCE, **mapped})[0]
    assert merged["primary_key"] == item["primary_key"]
    assert merged["incremental"] == (item["incremental"] or manifest.get("incremental", False))
    assert merged["write_always"] == (item["write_always"] or manifest.get("write_always", False))
    for key in ("delimiter", "enclosure", "columns"):
        assert merged[key] in (item[key], manifest.get(key, item[key]))


@pytest.mark.rules("OM-30")
@given(MANIFESTS)
def test_without_a_mapping_the_manifest_is_taken_as_it_is(manifest: dict[str, Any]) -> None:
    assert options(None, manifest) == manifest
