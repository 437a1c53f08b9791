"""What the options of an input table ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.builders import ProjectBuilder, mapping

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.input_table_options import InputTable, input_table
from docker_runner.project.parsing import parsed_configuration
from docker_runner.storage.base import Operator, Where

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)
SOURCE = "in.c-main.t"
KEY = "storage.input.tables[0]"


def understood(**options: Any) -> InputTable:
    (item,) = mapping("input", "tables", {"source": SOURCE, **options})
    return input_table(item, key=KEY, now=NOW)


@pytest.mark.rules("IM-1", "IM-3", "IM-34")
@pytest.mark.parametrize("destination", [None, "", False, "0", 0])
def test_a_table_without_a_destination_gets_the_name_of_its_source(destination: Any) -> None:
    assert understood(destination=destination) == InputTable(KEY, SOURCE, SOURCE)
    assert understood().destination == SOURCE


@pytest.mark.rules("IM-3", "IM-34")
@pytest.mark.parametrize(("destination", "name"), [("t.csv", "t.csv"), (2026, "2026"), ("t", "t"), ("a b.č", "a b.č")])
def test_a_destination_is_the_name_of_the_file_and_nothing_is_appended(destination: Any, name: str) -> None:
    assert understood(destination=destination).destination == name


@pytest.mark.rules("IM-4", "IM-5", "IM-17", "IM-28", "IM-29", "D19")
@pytest.mark.parametrize(
    ("options", "since"),
    [
        ({"days": 2}, NOW - timedelta(days=2)),
        ({"days": "2"}, NOW - timedelta(days=2)),
        ({"changed_since": "-2 days"}, NOW - timedelta(days=2)),
        ({"days": 2, "changed_since": ""}, NOW - timedelta(days=2)),
        ({"days": 2, "changed_since": "0"}, NOW - timedelta(days=2)),
        ({"days": 0, "changed_since": "-2 days"}, NOW - timedelta(days=2)),
        ({"days": None, "changed_since": 1700000000}, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ({"days": None, "changed_since": "0"}, None),
        ({"days": "0", "changed_since": None}, None),
        ({"days": "", "changed_since": False}, None),
        ({"changed_since": 0}, None),
        ({}, None),
    ],
)
def test_days_and_changed_since_mean_the_same(options: dict[str, Any], since: datetime | None) -> None:
    found = understood(**options)
    assert (found.changed_since, found.adaptive) == (since, False)


@pytest.mark.rules("IM-5", "IM-30")
def test_adaptive_is_no_moment() -> None:
    found = understood(changed_since="adaptive")
    assert (found.changed_since, found.adaptive) == (None, True)


@pytest.mark.rules("IM-8", "IM-9", "IM-10", "IM-18")
@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"where_column": "id", "where_values": [1, "a"]}, Where("id", ("1", "a"), Operator.EQ)),
        ({"where_column": "id", "where_values": ["1"], "where_operator": "eq"}, Where("id", ("1",), Operator.EQ)),
        ({"where_column": "id", "where_values": [""], "where_operator": "ne"}, Where("id", ("",), Operator.NE)),
        ({"where_column": "id", "where_values": [None, True], "where_operator": ""}, Where("id", ("", "true"))),
        ({"where_column": "id", "where_values": ["1"], "where_operator": None}, Where("id", ("1",))),
        ({"where_column": 0, "where_values": ["0"]}, Where("0", ("0",))),
        ({"where_column": " ", "where_values": []}, None),
        ({"where_column": None, "where_values": None}, None),
    ],
)
def test_a_filter_has_a_column_values_and_an_operator(options: dict[str, Any], where: Where | None) -> None:
    assert understood(**options).where == where


@pytest.mark.rules("IM-6", "IM-7", "IM-19")
def test_columns_keep_their_order_and_that_of_typed_columns_decides() -> None:
    full = {"type": "VARCHAR", "destination": "x", "length": 255, "nullable": True}
    typed = [{"source": "b", **full, "convert_empty_values_to_null": False, "compression": ""}, {"source": "a"}]
    assert understood(columns=["b", "a", 1]).columns == ("b", "a", "1")
    assert understood(column_types=typed).columns == ("b", "a")
    assert understood(columns=["a", "b"], column_types=typed).columns == ("b", "a")
    assert understood(columns=[], column_types=None).columns == ()


@pytest.mark.rules("IM-11")
def test_a_limit_is_the_greatest_number_of_rows() -> None:
    assert (understood(limit=5).limit, understood(limit=0).limit) == (5, 0)
    assert (understood(limit=None).limit, understood().limit) == (None, None)


@pytest.mark.rules("IM-12", "IM-13", "IM-14")
@pytest.mark.parametrize(
    "options",
    [
        {"overwrite": True},
        {"load_type": "Copy"},
        {"load_type": "CLONE"},
        {"load_type": "view"},
        {"use_view": True, "load_type": "auto"},
        {"keep_internal_timestamp_column": False},
    ],
)
def test_options_of_workspaces_change_nothing_for_files(options: dict[str, Any]) -> None:
    assert understood(**options) == understood()


@pytest.mark.rules("IM-15")
@pytest.mark.parametrize(
    ("written", "file_type"),
    [(None, "csv"), ("", "csv"), ("0", "csv"), (False, "csv"), ("csv", "csv"), ("parquet", "parquet")],
)
def test_tables_are_csv_unless_parquet_is_asked_for(written: Any, file_type: str) -> None:
    assert understood(file_type=written).file_type == file_type


@pytest.mark.rules(
    "IM-1", "IM-2", "IM-7", "IM-10", "IM-13", "IM-15", "IM-16", "IM-17", "IM-18", "IM-19", "IM-20", "IM-29", "IM-34",
    "LC-44",
)  # fmt: skip
@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"source": ""}, ".source", "Must not be empty"),
        ({"source": "0"}, ".source", "'0' is not a table id"),
        ({"source": None}, ".source", "Must be a text or a number, not null"),
        ({"source": "c-main.t"}, ".source", "must be stage.bucket.table, e.g. in.c-main.orders"),
        ({"source_branch_id": 12}, ".source_branch_id", "leave the key out"),
        ({"days": 1, "changed_since": "adaptive"}, ".days", "not both"),
        ({"days": -1}, ".days", "number of days"),
        ({"days": "x"}, ".days", "number of days"),
        ({"days": 10**12}, ".days", "is not a moment"),
        ({"changed_since": "soon-ish"}, ".changed_since", "is not a moment"),
        ({"changed_since": True}, ".changed_since", "is not a moment"),
        ({"where_column": "id"}, ".where_values", "belong together"),
        ({"where_values": ["1"]}, ".where_column", "belong together"),
        ({"where_values": ["1"], "where_column": "  "}, ".where_column", "belong together"),
        (
            {"where_column": "a", "where_values": ["1"], "where_operator": "gt"},
            ".where_operator",
            "Must be one of 'eq', 'ne', not \"gt\"",
        ),
        ({"columns": ["a", "b"], "column_types": [{"source": "a"}]}, ".columns", "only here: b"),
        ({"columns": ["a"], "column_types": [{"source": "a"}, {"source": "c"}]}, ".column_types", "only here: c"),
        ({"columns": ["a", "a"]}, ".columns", "once only: a"),
        ({"columns": "a"}, ".columns", "Must be a list or null"),
        ({"column_types": [{"type": "INT"}]}, ".column_types[0]", "The key 'source' is missing"),
        ({"limit": "5"}, ".limit", "Must be a whole number"),
        ({"load_type": "MOVE"}, ".load_type", "Must be one of 'COPY', 'CLONE', 'VIEW', 'AUTO'"),
        ({"file_type": "orc"}, ".file_type", "given as csv or parquet, not as 'orc'"),
        ({"destination": "../t.csv"}, ".destination", "without folders"),
        ({"destination": "a/b.csv"}, ".destination", "without folders"),
        ({"destination": ".."}, ".destination", "without folders"),
        ({"destination": "t.csv.manifest"}, ".destination", "that of a manifest"),
        ({"destination": "ž" * 130}, ".destination", "longer than 246 bytes"),
        ({"colums": ["a"]}, "", "Unknown key 'colums'; did you mean 'columns'?"),
        ({"source_search": {"key": "a", "value": "b"}}, "", "Unknown key 'source_search'"),
    ],
)
def test_wrong_options_name_the_key_and_what_would_be_right(options: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        understood(**options)
    assert error.value.key == f"{KEY}{key}"
    assert problem in error.value.problem


@pytest.mark.rules("IM-1")
def test_a_table_without_a_source_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.input\.tables\[0\]: The key 'source' is missing"):
        mapping("input", "tables", {"destination": "t.csv"})


@pytest.mark.rules("IM-4", "IM-5", "IM-10", "IM-13", "IM-15", "CF-35")
@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ({}, {}),
        ({"use_view": True}, {"load_type": "VIEW"}),
        ({"use_view": True, "load_type": "copy"}, {"load_type": "COPY"}),
        ({"use_view": False}, {}),
        ({"days": None, "changed_since": None}, {"days": 0, "changed_since": ""}),
        ({"days": "3"}, {"days": 3}),
        ({"where_operator": ""}, {}),
        ({"file_type": "0"}, {}),
        ({"file_type": "parquet"}, {"file_type": "parquet"}),
        ({"columns": None}, {}),
    ],
)
def test_components_see_options_in_their_present_form(written: dict[str, Any], seen: dict[str, Any]) -> None:
    item = {"source": SOURCE, "destination": "t.csv"}
    parsed = parsed_configuration({"storage": {"input": {"tables": [{**item, **written}]}}})
    assert parsed["storage"]["input"]["tables"] == [
        {
            **item,
            "columns": [],
            "column_types": [],
            "where_values": [],
            "where_operator": "eq",
            "overwrite": False,
            "keep_internal_timestamp_column": True,
            **seen,
        }
    ]


@pytest.mark.rules("CF-35", "IF-9")
def test_components_do_not_see_empty_filters_of_files() -> None:
    files = [{"tags": ["a"], "query": "", "processed_tags": [], "file_ids": None}, {"query": "x", "tags": []}]
    parsed = parsed_configuration({"storage": {"input": {"files": files}}})
    assert parsed["storage"]["input"]["files"] == [
        {"tags": ["a"], "overwrite": True},
        {"query": "x", "overwrite": True},
    ]


@pytest.mark.rules("IM-17", "IF-10", "LC-44")
@pytest.mark.parametrize(
    ("mapped", "key"),
    [
        ({"tables": [{"source": SOURCE}, {"source": SOURCE, "days": 1, "changed_since": "now"}]}, "tables[1].days"),
        ({"files": [{"tags": ["a"]}, {"tags": ["a"], "changed_since": "x"}]}, "files[1].changed_since"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(built: ProjectBuilder, mapped: dict[str, Any], key: str) -> None:
    file = built.configuration({"storage": {"input": mapped}})
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), f"storage.input.{key}")
    assert error.value.line == 1
