"""Options of an output table: what the mapping says laid over what the manifest says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import mapping

from docker_runner.documents import checked
from docker_runner.errors import ConfigurationError
from docker_runner.mapping.output_options import merged_options

SOURCE = {"source": "t.csv", "destination": "out.c-main.t"}


def options(mapped: dict[str, Any] | None, manifest: dict[str, Any]) -> dict[str, Any]:
    item = mapping("output", "tables", {**SOURCE, **mapped})[0] if mapped is not None else {}
    return dict(merged_options(item, manifest, source="t.csv", key="storage.output.tables[0]").values)


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
    with pytest.raises(ConfigurationError) as error:
        options({"primary_key": ["id", "x"]}, {"schema": schema})
    assert error.value.key == "storage.output.tables[0].primary_key"
    assert error.value.problem.startswith(
        "The schema in out/tables/t.csv.manifest has no column x; its columns are: id, day, v."
    )


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


@pytest.mark.rules("OM-34")
def test_types_are_merged_by_their_kind() -> None:
    told = {"base": {"type": "STRING"}, "bigquery": {"type": "STRING"}}
    mapped = {"base": {"type": "DATE"}, "snowflake": {"type": "DATE"}}
    merged = options({"schema": [{"name": "v", "data_type": mapped}]}, {"schema": [{"name": "v", "data_type": told}]})
    assert merged["schema"] == [{"name": "v", "data_type": {**told, **mapped}}]


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


def test_each_change_of_a_name_is_told_with_both_names_and_where_it_is_written() -> None:
    told: list[str] = []
    mapped = mapping("output", "tables", {**SOURCE, "primary_key": ["a b", ""], "columns": ["a b", "c"]})[0]
    manifest = {"column_metadata": {"č": []}}
    merged_options(mapped, manifest, source="t.csv", key="storage.output.tables[0]", warn=told.append)
    assert told == [
        "storage.output.tables[0]: columns: the column 'a b' is stored as 'a_b'.",
        "storage.output.tables[0]: primary_key: an empty column name is left out.",
        "out/tables/t.csv.manifest: column_metadata: the column 'č' is stored as 'c'.",
    ]


@pytest.mark.rules("OM-36", "OM-40")
def test_a_distribution_key_is_cleaned_but_not_sanitised() -> None:
    assert options(None, {"distribution_key": ["a b", "a b", " c "]})["distribution_key"] == ["a b", "c"]


@pytest.mark.rules("OM-43")
def test_the_internal_column_is_refused_wherever_it_is_named_in_one_message() -> None:
    with pytest.raises(ConfigurationError) as error:
        options({"columns": ["a", "_timestamp"], "column_metadata": {"_Timestamp": []}}, {})
    assert error.value.key == "storage.output.tables[0].columns"
    assert error.value.problem.endswith("remove it from columns and from column_metadata.")
    with pytest.raises(ConfigurationError) as error:
        options(None, {"schema": [{"name": "_TIMESTAMP"}]})
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", "schema")


SCHEMA = {"schema": [{"name": "a"}]}
DESCRIBED_TWICE = {"name": "a", "description": "x", "metadata": {"KBC.description": "y"}}
RULE = {"delete_where_column": "a", "delete_where_values": ["1"]}
RULES = {"delete_where": [{"changed_since": "-1 day"}]}


@pytest.mark.rules("OM-20a", "OM-20b")
@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({**SCHEMA, "columns": ["a"]}, "columns"),
        ({**SCHEMA, "metadata": [{"key": "a", "value": "b"}]}, "metadata"),
        ({**SCHEMA, "column_metadata": {"a": []}}, "column_metadata"),
        ({**SCHEMA, "primary_key": ["a"]}, "primary_key"),
        ({**SCHEMA, "distribution_key": ["a"]}, "distribution_key"),
        ({"description": "x", "table_metadata": {"KBC.description": "y"}}, "table_metadata.KBC.description"),
        ({"schema": [{"name": "b"}, DESCRIBED_TWICE]}, "schema[1].metadata.KBC.description"),
        ({"delete_where_column": "a"}, "delete_where_values"),
        ({**RULE, **RULES}, "delete_where"),
        ({"delete_where": [{"where_filters": []}]}, "delete_where[0]"),
        ({"delete_where": [{"where_filters": [{"column": "a"}]}]}, "delete_where[0].where_filters[0]"),
        (
            {"delete_where": [{"where_filters": [{"column": "a", "values_from_set": []}]}]},
            "delete_where[0].where_filters[0]",
        ),
    ],
)
def test_what_one_side_must_not_say_is_refused_where_it_is_written(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as by_manifest:
        options({}, wrong)
    assert (by_manifest.value.file, by_manifest.value.key) == ("out/tables/t.csv.manifest", key)
    with pytest.raises(ConfigurationError) as by_mapping:
        options(wrong, {})
    assert (by_mapping.value.file, by_mapping.value.key) == (None, f"storage.output.tables[0].{key}")


@pytest.mark.rules("OM-20b", "OM-37")
@pytest.mark.parametrize(
    ("mapped", "manifest", "key", "other"),
    [
        ({"columns": ["a"]}, SCHEMA, "columns", "schema"),
        (SCHEMA, {"columns": ["a"]}, "schema", "columns"),
        ({"metadata": [{"key": "a", "value": "b"}]}, SCHEMA, "metadata", "schema"),
        ({"distribution_key": ["a"]}, SCHEMA, "distribution_key", "schema"),
        ({"description": "x"}, {"table_metadata": {"KBC.description": "y"}}, "description", "table_metadata"),
        ({"table_metadata": {"KBC.description": "y"}}, {"description": "x"}, "table_metadata", "description"),
        (RULE, RULES, "delete_where_column", "delete_where"),
        (RULES, RULE, "delete_where", "delete_where_column"),
    ],
)
def test_what_the_two_sides_must_not_say_together_names_both(
    mapped: dict[str, Any], manifest: dict[str, Any], key: str, other: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        options(mapped, manifest)
    assert error.value.key.startswith(f"storage.output.tables[0].{key}")
    assert f"together with {other}" in error.value.problem
    assert error.value.problem.endswith("in out/tables/t.csv.manifest: change one of the two.")


@pytest.mark.rules("OM-20b", "OM-37")
def test_two_descriptions_of_one_column_name_the_column_and_both_places() -> None:
    with pytest.raises(ConfigurationError) as error:
        options(
            {"schema": [{"name": "b", "description": "x"}]},
            {"schema": [{"name": "a"}, {"name": "b", "metadata": {"KBC.description": "y"}}]},
        )
    assert error.value.key == "storage.output.tables[0].schema"
    assert "The column b gets a description here and another one in out/tables/t.csv.manifest" in error.value.problem


NAMES = st.sampled_from(["a", "b", "c"])
PAIRS = st.lists(st.fixed_dictionaries({"key": NAMES, "value": st.sampled_from(["1", "2"])}), max_size=3)
COLUMN = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "nullable": st.booleans(),
        "metadata": st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=2),
        "data_type": st.fixed_dictionaries({"base": st.sampled_from([{"type": "STRING"}, {"type": "DATE"}])}),
    },
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "incremental": st.booleans(),
        "write_always": st.booleans(),
        "has_header": st.booleans(),
        "delimiter": st.sampled_from([",", ";", "\t", "0"]),
        "enclosure": st.sampled_from(['"', "'", ""]),
        "delete_where_operator": st.sampled_from(["eq", "ne", "", None]),
        "description": st.sampled_from(["", "x", "y"]),
        "table_metadata": st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=2),
        "deduplication_strategy": st.sampled_from(["insert", "upsert"]),
        "delete_where_values": st.lists(NAMES, max_size=2),
    },
)
KEYED = st.fixed_dictionaries(
    {},
    optional={
        "primary_key": st.lists(NAMES, unique=True, max_size=2),
        "columns": st.lists(NAMES, unique=True, max_size=2),
        "metadata": PAIRS,
        "column_metadata": st.dictionaries(NAMES, PAIRS, max_size=2),
    },
)
WITH_SCHEMA = st.fixed_dictionaries({"schema": st.lists(COLUMN, min_size=1, max_size=3, unique_by=lambda c: c["name"])})
NOTHING = (None, False, 0, "", "0", [], {})


def last_said(*sides: list[dict[str, str]]) -> list[dict[str, str]]:
    """Each key once, where it first stands, with what was said of it last."""
    said = [item for side in sides for item in side]
    order = sorted({item["key"] for item in said}, key=[item["key"] for item in said].index)
    return [[item for item in said if item["key"] == key][-1] for key in order]


def expected(key: str, mapped: Any, manifest: dict[str, Any]) -> Any:
    """The rules OM-30..OM-32 and OM-35, said once more, for an option that the parsed mapping has."""
    lacking = key not in manifest
    theirs = manifest.get(key)
    if key == "metadata":
        return last_said(theirs or [], mapped)
    if key == "column_metadata":
        names = [*(theirs or {}), *(name for name in mapped if name not in (theirs or {}))]
        return {name: last_said((theirs or {}).get(name, []), mapped.get(name, [])) for name in names}
    if key == "table_metadata":
        return dict([*(theirs or {}).items(), *mapped.items()])
    if key == "primary_key":
        return mapped
    defaults = {"incremental": False, "delete_where_operator": "eq", "delimiter": ",", "enclosure": '"'}
    keeps = mapped in NOTHING or (key in defaults and mapped == defaults[key])
    return mapped if lacking or not keeps else theirs


@pytest.mark.rules("OM-30", "OM-31", "OM-32", "OM-35")
@given(OPTIONS, KEYED, OPTIONS, KEYED)
def test_every_option_is_merged_by_its_own_rule(
    mapped: dict[str, Any], mapped_keys: dict[str, Any], manifest: dict[str, Any], manifest_keys: dict[str, Any]
) -> None:
    manifest = {**manifest, **manifest_keys}
    item = mapping("output", "tables", {**SOURCE, **mapped, **mapped_keys})[0]
    merged = options({**mapped, **mapped_keys}, manifest)
    wanted = {key: expected(key, value, manifest) for key, value in item.items() if key != "schema"}
    wanted |= {key: value for key, value in manifest.items() if key not in item}
    assert {key: value for key, value in merged.items() if key != "schema"} == wanted
    assert list(merged["column_metadata"]) == list(wanted["column_metadata"])


@pytest.mark.rules("OM-33", "OM-34")
@given(OPTIONS, st.one_of(WITH_SCHEMA, st.lists(NAMES, unique=True, max_size=2)), WITH_SCHEMA)
def test_schemas_and_keys_are_merged_by_column(mapped: dict[str, Any], more: Any, manifest: dict[str, Any]) -> None:
    key = more if isinstance(more, list) else []
    mine = [] if isinstance(more, list) else more["schema"]
    theirs = {column["name"]: column for column in manifest["schema"]}
    if not set(key) <= set(theirs):
        with pytest.raises(ConfigurationError, match="has no column"):
            options({**mapped, "primary_key": key}, manifest)
        return
    merged = {c["name"]: c for c in options({**mapped, "primary_key": key, "schema": mine}, manifest)["schema"]}
    assert list(merged) == [*theirs, *(column["name"] for column in mine if column["name"] not in theirs)]
    for name, column in merged.items():
        lower, upper = theirs.get(name, {}), next((c for c in mine if c["name"] == name), {})
        assert column.get("nullable") == upper.get("nullable", lower.get("nullable"))
        assert column.get("primary_key", False) == (name in key)
        for nested in ("metadata", "data_type"):
            assert column.get(nested, {}) == dict([*lower.get(nested, {}).items(), *upper.get(nested, {}).items()])


@pytest.mark.rules("OM-30")
@given(OPTIONS, KEYED)
def test_without_a_mapping_the_manifest_is_taken_as_it_is(manifest: dict[str, Any], keys: dict[str, Any]) -> None:
    assert options(None, {**manifest, **keys}) == {**manifest, **keys}


def written(option: dict[str, Any]) -> dict[str, Any]:
    """An option as a manifest gives it, checked."""
    document: dict[str, Any] = checked(option, "output-table-manifest", file="out/tables/t.csv.manifest")
    return document


@pytest.mark.rules("OM-10", "OM-11", "OM-12", "OM-13", "OM-14", "OM-15", "OM-16", "OM-17", "OM-18", "OM-19", "OM-91")
@pytest.mark.parametrize(
    "option",
    [
        {"destination": 5},
        {"incremental": True},
        {"primary_key": ["a", 5, None, ""], "columns": ["a", 5], "distribution_key": ["a", 5]},
        {"delimiter": 0, "enclosure": None},
        {"delete_where_column": "a", "delete_where_values": ["a", 1, True, None], "delete_where_operator": ""},
        {"delete_where": [{"changed_since": 5, "where_filters": [{"column": 5, "values_from_set": [1]}]}]},
        {"metadata": [{"key": "a", "value": 5}], "column_metadata": {"a": [{"key": "b", "value": None}]}},
        {"column_metadata": []},
        {"primary_key": None, "columns": None, "distribution_key": None, "schema": None, "tags": None},
        {"delete_where_values": None, "delete_where": None, "metadata": None, "column_metadata": None},
        {"delete_where": [{"changed_since": 5, "where_filters": None}], "table_metadata": None},
        {"write_always": True},
        {"deduplication_strategy": "insert", "unload_strategy": "x", "tags": ["a"]},
        {"manifest_type": "out", "has_header": True, "description": "x", "table_metadata": {"a": 5}},
        {"schema": [{"name": 5, "data_type": {"base": {"type": "DATE", "length": 5}, "bigquery": {"type": "DATE"}}}]},
        {"schema": [{"name": "a", "nullable": False, "distribution_key": True, "metadata": []}]},
    ],
)
def test_what_may_be_said_is_taken_from_mapping_and_manifest_alike(option: dict[str, Any]) -> None:
    merged_options(mapping("output", "tables", {**SOURCE, **option})[0], {}, source="t.csv")
    merged_options({}, written(option), source="t.csv")


@pytest.mark.rules("OM-10", "OM-11", "OM-12", "OM-13", "OM-14", "OM-15", "OM-16", "OM-17", "OM-18", "OM-19", "OM-91")
@pytest.mark.parametrize(
    ("option", "key"),
    [
        ({"destination": []}, "destination"),
        ({"incremental": "true"}, "incremental"),
        ({"primary_key": "a"}, "primary_key"),
        ({"columns": [["a"]]}, "columns[0]"),
        ({"distribution_key": [""]}, "distribution_key[0]"),
        ({"delimiter": ["\t"]}, "delimiter"),
        ({"delete_where_values": "a"}, "delete_where_values"),
        ({"delete_where_operator": "gt"}, "delete_where_operator"),
        ({"delete_where": {"changed_since": "today"}}, "delete_where"),
        ({"delete_where": [{"where_filters": [{"values_from_set": [1]}]}]}, "delete_where[0].where_filters[0]"),
        (
            {"delete_where": [{"where_filters": [{"column": "a", "operator": "", "values_from_set": [1]}]}]},
            "delete_where[0].where_filters[0].operator",
        ),
        ({"metadata": {"a": 5}}, "metadata"),
        ({"column_metadata": {"a": {"b": 5}}}, "column_metadata.a"),
        ({"write_always": 1}, "write_always"),
        ({"deduplication_strategy": "merge"}, "deduplication_strategy"),
        ({"has_header": "yes"}, "has_header"),
        ({"schema": [{"data_type": {"base": {"type": "DATE"}}}]}, "schema[0]"),
        ({"schema": [{"name": "a", "data_type": {"base": {"type": ""}}}]}, "schema[0].data_type.base.type"),
        ({"schema": [{"name": "a", "data_type": {"base": {"type": "DATE"}, "redshift": {}}}]}, "schema[0].data_type"),
        ({"unknown": 1}, ""),
    ],
)
def test_what_may_not_be_said_names_its_key(option: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as by_mapping:
        mapping("output", "tables", {**SOURCE, **option})
    assert by_mapping.value.key == f"storage.output.tables[0].{key}".rstrip(".")
    with pytest.raises(ConfigurationError) as by_manifest:
        written(option)
    assert by_manifest.value.key == key


@pytest.mark.rules("OM-12", "OM-16", "OM-32")
def test_null_is_an_empty_list_or_map_on_both_sides() -> None:
    nothing = {"primary_key": None, "columns": None, "metadata": None, "column_metadata": None}
    told = {"primary_key": ["id"], "columns": ["id"], "metadata": [{"key": "a", "value": "b"}]}
    assert options(nothing, told) == options({key: [] for key in nothing}, told)
    assert options(None, written(nothing))["primary_key"] == []
    assert options(told, nothing)["columns"] == ["id"]


@pytest.mark.rules("OM-11", "OM-12", "OM-13", "OM-17", "OM-20a")
def test_what_is_not_said_has_its_default() -> None:
    merged = options({}, {})
    assert {key: merged[key] for key in ("incremental", "delimiter", "enclosure", "write_always")} == {
        "incremental": False,
        "delimiter": ",",
        "enclosure": '"',
        "write_always": False,
    }
    assert [merged[key] for key in ("primary_key", "columns", "distribution_key", "schema")] == [[], [], [], []]
    assert merged["delete_where_operator"] == "eq"
