"""Values that are stored as NULL, and loads that do not deduplicate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.storage.base import DeleteWhere, LoadedTable, Operator, Storage, Where

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"
COLUMNS = ("id", "v")


def stored(lake: Storage, folder: Path) -> list[tuple[object, ...]]:
    """The rows as Storage holds them: an export as CSV would show NULL as an empty text."""
    import duckdb

    lake.export_table(ID, folder / "t.parquet", file_type="parquet")
    return sorted(duckdb.connect().read_parquet(str(folder / "t.parquet")).fetchall(), key=str)


@pytest.mark.rules("OM-53", "IM-36")
def test_chosen_values_become_null_which_an_export_gives_as_empty_texts(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path
) -> None:
    load("1,NULL\n2,\n3,n/a\n4,null\n", columns=COLUMNS, null_values=("NULL", "n/a"))
    assert stored(lake, tmp_path) == [("1", None), ("2", ""), ("3", None), ("4", "null")]
    assert rows() == [["1", ""], ["2", ""], ["3", ""], ["4", "null"]]


@pytest.mark.rules("OM-53", "D4")
def test_values_that_are_null_are_never_taken_for_something_else(lake: Storage, load: Load, tmp_path: Path) -> None:
    nulls = ("{numbered}", "'; --", '"id"')
    load("1,a\n1,'; --\n2,{numbered}\n", columns=COLUMNS, primary_key=("id",), null_values=nulls)
    assert stored(lake, tmp_path) == [("1", None), ("2", None)]


@pytest.mark.rules("OM-53")
def test_the_empty_text_can_be_null_too(lake: Storage, load: Load, tmp_path: Path) -> None:
    load('1,\n2,""\n3,x\n', columns=COLUMNS, null_values=("",))
    assert stored(lake, tmp_path) == [("1", None), ("2", None), ("3", "x")]


@pytest.mark.rules("OM-53")
def test_values_of_the_primary_key_are_never_null(lake: Storage, load: Load, rows: Rows, tmp_path: Path) -> None:
    load("NULL,NULL\n1,a\nNULL,b\n", columns=COLUMNS, primary_key=("ID",), null_values=("NULL",))
    assert stored(lake, tmp_path) == [("1", "a"), ("NULL", "b")]
    load("NULL,NULL\n", columns=COLUMNS, incremental=True, null_values=("NULL",))
    assert stored(lake, tmp_path) == [("1", "a"), ("NULL", None)]


@pytest.mark.rules("OM-53", "D4")
def test_null_is_a_value_like_others_for_what_counts_as_changed(lake: Storage, load: Load, rows: Rows) -> None:
    options = {"columns": COLUMNS, "primary_key": ("id",), "null_values": ("NULL",), "incremental": True}
    load("1,NULL\n2,NULL\n3,c\n4,d\n", **options)
    since = lake.table(ID).last_import_date
    load("1,NULL\n2,b\n3,NULL\n4,d\n", **options)
    assert rows(changed_since=since) == [["2", "b"], ["3", ""]]


@pytest.mark.rules("OM-53")
def test_a_table_made_from_its_header_keeps_the_values_and_says_so(lake: Storage, load: Load, tmp_path: Path) -> None:
    loaded = load("id,v\n1,NULL\n", null_values=("NULL",))
    assert "none of them as NULL" in loaded.warnings[0]
    assert stored(lake, tmp_path) == [("1", "NULL")]
    assert load("id,v\n2,NULL\n", null_values=("NULL",), incremental=True).warnings == ()
    assert stored(lake, tmp_path) == [("1", "NULL"), ("2", None)]


@pytest.mark.rules("IM-32", "OM-57")
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (Where("v", ("",)), ["1", "2"]),
        (Where("v", ("",), Operator.NE), ["3"]),
        (Where("v", ("a",)), ["3"]),
        (Where("v", ("a",), Operator.NE), ["1", "2"]),
        (Where("v", ("NULL",)), []),
    ],
)
def test_filters_know_null_as_the_empty_text(load: Load, rows: Rows, where: Where, ids: list[str]) -> None:
    load("1,NULL\n2,\n3,a\n", columns=COLUMNS, null_values=("NULL",))
    assert [row[0] for row in rows(where=where)] == ids
    load("9,z\n", columns=COLUMNS, incremental=True, delete_where=(DeleteWhere((where,)),))
    assert [row[0] for row in rows()] == [number for number in "1239" if number not in ids]


@pytest.mark.rules("OM-18")
def test_without_deduplication_all_rows_are_added_and_none_is_updated(lake: Storage, load: Load, rows: Rows) -> None:
    load("1,a\n1,b\n", columns=COLUMNS, primary_key=("id",), deduplicate=False)
    loaded = load("1,a\n2,c\n2,c\n", columns=COLUMNS, incremental=True, deduplicate=False)
    assert (loaded.rows, loaded.table_rows) == (3, 5)
    assert rows() == [["1", "a"], ["1", "a"], ["1", "b"], ["2", "c"], ["2", "c"]]
    assert lake.table(ID).primary_key == ("id",)


@pytest.mark.rules("OM-18", "OM-54")
def test_a_load_that_deduplicates_updates_all_rows_of_a_key(load: Load, rows: Rows) -> None:
    load("1,a\n1,b\n2,x\n", columns=COLUMNS, primary_key=("id",), deduplicate=False)
    load("1,c\n3,y\n", columns=COLUMNS, incremental=True)
    assert rows() == [["1", "c"], ["1", "c"], ["2", "x"], ["3", "y"]]


@pytest.mark.rules("OM-18", "OM-53")
def test_without_deduplication_the_key_is_still_not_null(load: Load) -> None:
    from docker_runner.storage.base import BaseType, ColumnType

    with pytest.raises(UserError, match="the column is part of the primary key"):
        load(
            ",a\n", columns=COLUMNS, primary_key=("id",), deduplicate=False, types={"id": ColumnType(BaseType.INTEGER)}
        )
