"""Tables whose columns have types."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.storage.lake_files import leftovers, read_csv

from docker_runner.errors import UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import (
    BaseType,
    ColumnType,
    Commit,
    DeleteWhere,
    LoadedTable,
    Operator,
    Storage,
    TableLoad,
    Where,
)

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"
LONG = "'" + "x" * 60 + "…'"


def kind(base: str, length: str = "", *, default: str | None = None, nullable: bool = True) -> ColumnType:
    return ColumnType(BaseType(base), length, default, nullable)


def kinds(**columns: str) -> Mapping[str, ColumnType]:
    """Types as ``column="BASE length"``."""
    return {name: kind(*text.split(" ")) for name, text in columns.items()}


def parquet(lake: Storage, folder: Path, table_id: str = ID, **options: object) -> tuple[dict[str, str], list[object]]:
    """Types and rows of a table's export as Parquet."""
    import duckdb

    target = folder / "t.parquet"
    lake.export_table(table_id, target, file_type="parquet", **options)  # type: ignore[arg-type]
    exported = duckdb.connect().read_parquet(str(target))
    return dict(zip(exported.columns, map(str, exported.types), strict=True)), exported.fetchall()


@pytest.mark.rules("OM-92", "OM-90", "IM-36", "IM-15")
@pytest.mark.parametrize(
    ("type_", "in_lake", "taken"),
    [
        ("STRING", "VARCHAR", {"a": "a", "": "", " 007 ": " 007 "}),
        ("STRING 3", "VARCHAR", {"éa日": "éa日", "": ""}),
        ("INTEGER", "BIGINT", {"1": "1", "007": "7", "-5": "-5", "+5": "5", "1.0": "1", "2.": "2", "1e3": "1000",
                               " 4 ": "4", "9223372036854775807": "9223372036854775807", "": ""}),
        ("INTEGER 30", "DECIMAL(30,0)", {"123456789012345678901234567890": "123456789012345678901234567890", "1": "1"}),
        ("INTEGER 10,0", "BIGINT", {"1": "1"}),
        ("NUMERIC", "DECIMAL(38,9)", {"1": "1.000000000", "-.5": "-0.500000000", "": ""}),
        ("NUMERIC 10,2", "DECIMAL(10,2)", {"1.5": "1.50", "1.239": "1.24", "1e2": "100.00", "-1.": "-1.00"}),
        ("NUMERIC 5", "DECIMAL(5,0)", {"12345": "12345"}),
        ("FLOAT", "DOUBLE", {"0.1": "0.1", "1": "1.0", "1e20": "1e+20", "NaN": "nan", "-inf": "-inf", "": ""}),
        ("BOOLEAN", "BOOLEAN", {"true": "true", "FALSE": "false", "1": "true", "0": "false", "Yes": "true",
                                "n": "false", "on": "true", "F": "false", "": ""}),
        ("DATE", "DATE", {"2026-01-31": "2026-01-31", "2024-02-29": "2024-02-29", "2026-01-31 00:00:00": "2026-01-31",
                          "2026-01-31T00:00:00.000Z": "2026-01-31", "": ""}),
        ("TIMESTAMP", "TIMESTAMP", {
            "2026-01-31": "2026-01-31 00:00:00", "2026-01-31 10:00": "2026-01-31 10:00:00",
            "2026-01-31T10:00:00Z": "2026-01-31 10:00:00", "2026-01-31 10:00:00 UTC": "2026-01-31 10:00:00",
            "2026-01-31T10:00:00.120+02:00": "2026-01-31 08:00:00.12",
            "2026-01-31 22:30:00-0330": "2026-02-01 02:00:00",
            "2026-01-31T10:00+05": "2026-01-31 05:00:00", "2026-01-31 10:00:00.1234567": "2026-01-31 10:00:00.123456",
            "": "",
        }),
    ],
)  # fmt: skip
def test_texts_become_values_and_values_become_one_text(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path, type_: str, in_lake: str, taken: Mapping[str, str]
) -> None:
    content = "".join(f'"{number}","{text}"\n' for number, text in enumerate(taken))
    load(content, columns=("id", "v"), types=kinds(id="INTEGER", v=type_))
    assert {int(number): text for number, text in rows()} == dict(enumerate(taken.values()))
    assert parquet(lake, tmp_path)[0] == {"id": "BIGINT", "v": in_lake}
    assert lake.table(ID).types == kinds(id="INTEGER", v=type_)
    # What was exported can be loaded, and is the same again.
    lake.export_table(ID, tmp_path / "out.csv")
    before = lake.table(ID).last_import_date
    lake.commit(Commit("again", (TableLoad(ID, tmp_path / "out.csv", primary_key=("id",), incremental=True),)))
    assert rows(changed_since=before) == []


@pytest.mark.rules("OM-74", "OM-92")
@pytest.mark.parametrize(
    ("type_", "text", "problem"),
    [
        ("INTEGER", "abc", "the value 'abc' of the column v is no INTEGER: a whole number that fits into 64 bits."),
        ("INTEGER", "1.5", "the value '1.5' of the column v is no INTEGER"),
        ("INTEGER", "9223372036854775808", "fits into 64 bits"),
        ("INTEGER", "0x1F", "is no INTEGER"),
        ("INTEGER", "1_000", "is no INTEGER"),
        ("INTEGER", " ", "is no INTEGER"),
        ("INTEGER 20", "1" * 21, "INTEGER(20): a whole number that fits into 20 digits."),
        ("NUMERIC 5,2", "1000", "is no NUMERIC(5,2): a number with up to 3 digits before the point."),
        ("NUMERIC", "1,5", "the value '1,5' of the column v is no NUMERIC"),
        ("FLOAT", "1e400", "is no FLOAT"),
        ("FLOAT", "x" * 100, f"the value {LONG} of the column v is no FLOAT"),
        ("BOOLEAN", "2", "is no BOOLEAN: true or false."),
        ("DATE", "2026-02-30", "is no DATE: a date such as 2026-01-31."),
        ("DATE", "2026-01-31 10:00", "is no DATE"),
        ("TIMESTAMP", "yesterday", "is no TIMESTAMP"),
        ("TIMESTAMP", "2026-01-31 10:00:00 Europe/Prague", "is no TIMESTAMP"),
        ("TIMESTAMP", "2026-01-31 25:00", "is no TIMESTAMP"),
        ("STRING 3", "abcd", "is no STRING(3): a text of up to 3 characters."),
    ],
)
def test_a_text_that_is_no_value_is_refused_with_table_file_line_and_column(
    lake: Storage, load: Load, tmp_path: Path, type_: str, text: str, problem: str
) -> None:
    with pytest.raises(UserError) as error:
        load(f'"a\nb",\nc,"{text}"\nd,"{text}"\n', columns=("id", "v"), types=kinds(id="STRING", v=type_))
    assert str(error.value).startswith(f"Table {ID}: load0.csv, line 3: the value ")
    assert problem in str(error.value)
    assert lake.tables() == []
    assert leftovers(tmp_path / "lake") == []


@pytest.mark.rules("OM-74")
def test_the_first_wrong_line_is_found_in_its_slice(lake: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text('1,"x\n\n"\n' * 50_000 + ("" if name == "a" else "x,y\n") + "2,z\n" * 100_000)
    with pytest.raises(UserError, match="b, line 150001: the value 'x' of the column id is no INTEGER"):
        lake.commit(Commit("k", (TableLoad(ID, folder, columns=("id", "v"), types=kinds(id="INTEGER")),)))


@pytest.mark.rules("OM-74")
def test_the_wrong_line_is_found_behind_lines_that_the_fast_reader_cannot_take(load: Load) -> None:
    # Mixed line ends let the CSV be written anew; lines are still those of the original.
    with pytest.raises(UserError, match=r"load0\.csv, line 5: the value 'x' of the column b is no INTEGER"):
        load("a,b\r\n1,2\n\n3,4\r\n5,x\n", columns=("a", "b"), has_header=True, types=kinds(a="INTEGER", b="INTEGER"))


@pytest.mark.rules("OM-91", "OM-92")
@pytest.mark.parametrize(
    ("types", "text", "problem"),
    [
        ({"id": kind("INTEGER"), "v": kind("DATE", nullable=False)}, "1,", "the column is not nullable"),
        ({"id": kind("INTEGER"), "v": kind("DATE")}, ",2026-01-31", "the column is part of the primary key"),
        ({"id": kind("INTEGER"), "v": kind("STRING", nullable=False)}, "1,NULL", "the column is not nullable"),
    ],
)
def test_null_is_refused_where_it_must_not_be(
    load: Load, types: Mapping[str, ColumnType], text: str, problem: str
) -> None:
    with pytest.raises(UserError, match=r"line 2: the value .* of the column .* would be NULL, but ") as error:
        load(f"7,2026-01-31\n{text}\n", columns=("id", "v"), primary_key=("id",), types=types, null_values=("NULL",))
    assert problem in str(error.value)


@pytest.mark.rules("OM-53")
def test_an_empty_text_is_a_value_of_a_column_of_texts(load: Load, rows: Rows) -> None:
    load(
        ",\n",
        columns=("id", "v"),
        primary_key=("id",),
        types={"id": kind("STRING"), "v": kind("STRING", nullable=False)},
    )
    assert rows() == [["", ""]]


@pytest.mark.rules("OM-54", "D4")
def test_keys_are_compared_as_values(load: Load, rows: Rows) -> None:
    types = kinds(id="INTEGER", v="STRING")
    loaded = load("1,a\n01,b\n2,x\n1.0,c\n", columns=("id", "v"), primary_key=("id",), types=types)
    assert (loaded.rows, loaded.table_rows) == (2, 2)
    assert load("id,v\n+1,d\n3,\n", incremental=True).table_rows == 3
    assert rows() == [["1", "d"], ["2", "x"], ["3", ""]]


@pytest.mark.rules("D4", "IM-30")
def test_only_rows_whose_values_changed_count_as_changed(lake: Storage, load: Load, rows: Rows) -> None:
    types = kinds(id="INTEGER", n="NUMERIC 10,2", t="TIMESTAMP", b="BOOLEAN")
    columns = ("id", "n", "t", "b")
    load("1,1.50,2026-01-01T10:00:00Z,true\n2,,,\n3,1,,0\n", columns=columns, primary_key=("id",), types=types)
    since = lake.table(ID).last_import_date
    load("1,1.5,2026-01-01 12:00:00+02:00,1\n2,,,\n3,,,no\n", columns=columns, incremental=True)
    assert rows(changed_since=since) == [["3", "", "", "false"]]


@pytest.mark.rules("IM-32", "IM-10", "OM-57")
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (Where("n", ("1.5", "nonsense")), ["1"]),
        (Where("n", ("1.50",)), ["1"]),
        (Where("n", ("",)), ["3"]),
        (Where("n", ("", "2")), ["2", "3"]),
        (Where("n", ("1.5",), Operator.NE), ["2", "3"]),
        (Where("n", ("1.5", ""), Operator.NE), ["2"]),
        (Where("n", ("nonsense",)), []),
        (Where("n", ("nonsense",), Operator.NE), ["1", "2", "3"]),
        (Where("t", ("2026-01-01T12:00:00+02:00",)), ["1"]),
        (Where("t", ("2026-01-01 10:00:00",)), ["1"]),
        (Where("B", ("yes",)), ["1"]),
        (Where("b", ("true", "false")), ["1", "2"]),
        (Where("s", ("", "it's")), ["2", "3"]),
        (Where("s", ("a",), Operator.NE), ["2", "3"]),
    ],
)
def test_rows_are_chosen_by_values(load: Load, rows: Rows, where: Where, ids: list[str]) -> None:
    types = kinds(id="INTEGER", n="NUMERIC 10,2", t="TIMESTAMP", b="BOOLEAN", s="STRING")
    content = "1,1.5,2026-01-01T10:00:00Z,true,a\n2,2,2026-01-02,f,it's\n3,,,,NULL\n"
    load(content, columns=("id", "n", "t", "b", "s"), types=types, null_values=("NULL",))
    assert [row[0] for row in rows(where=where)] == ids
    assert [row[0] for row in rows(where=where, columns=("id",))] == ids
    load("9,,,,\n", columns=("id", "n", "t", "b", "s"), incremental=True, delete_where=(DeleteWhere((where,)),))
    assert [row[0] for row in rows()] == sorted({"1", "2", "3"} - set(ids) | {"9"})


@pytest.mark.rules("OM-95")
def test_later_loads_without_types_are_converted_too(lake: Storage, load: Load, rows: Rows) -> None:
    load("1,2\n", columns=("id", "v"), types=kinds(id="INTEGER", v="NUMERIC 5,1"))
    load("V,ID\n3,02\n", incremental=True)
    assert rows() == [["1", "2.0"], ["2", "3.0"]]
    with pytest.raises(UserError, match=r"load2\.csv, line 2: the value 'x' of the column v is no NUMERIC"):
        load("id,v\n1,x\n", incremental=True)
    assert lake.table(ID).types == kinds(id="INTEGER", v="NUMERIC 5,1")


@pytest.mark.rules("OM-95")
@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ({}, {"id": "INTEGER", "v": "STRING"}, "id is STRING and would become INTEGER"),
        ({"id": "INTEGER", "v": "STRING"}, {"id": "STRING", "v": "DATE"},
         "id is INTEGER and would become STRING; v is STRING and would become DATE."),
        ({"id": "INTEGER", "v": "STRING"}, {"id": "NUMERIC 10,0", "v": "STRING"}, "id is INTEGER and would become"),
    ],
)  # fmt: skip
def test_another_type_than_the_tables_is_refused(
    load: Load, rows: Rows, incremental: bool, before: dict[str, str], after: dict[str, str], problem: str
) -> None:
    load("1,a\n", columns=("id", "v"), types=kinds(**before))
    with pytest.raises(UserError, match="The types of columns do not fit the table: ") as error:
        load("2,b\n", columns=("id", "v"), types=kinds(**after), incremental=incremental)
    assert problem in str(error.value)
    assert rows() == [["1", "a"]]


@pytest.mark.rules("OM-95")
def test_a_table_of_texts_takes_a_schema_of_texts(lake: Storage, load: Load) -> None:
    load("1,abc\n", columns=("id", "v"))
    load("2,b\n", columns=("id", "v"), types=kinds(id="STRING", v="STRING 3"), incremental=True)
    assert lake.table(ID).types == kinds(id="STRING", v="STRING 3")
    with pytest.raises(UserError, match=r"STRING\(3\)"):
        load("3,abcd\n", columns=("id", "v"), incremental=True)


@pytest.mark.rules("OM-95")
def test_lengths_and_nullability_are_changed_and_no_row_counts_as_changed(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path
) -> None:
    load("1,1.5,ab,5\n", columns=("id", "n", "s", "i"), primary_key=("id",),
         types=kinds(id="INTEGER", n="NUMERIC 5,2", s="STRING 2", i="INTEGER"))  # fmt: skip
    since = lake.table(ID).last_import_date
    types = {
        "id": kind("INTEGER"), "n": kind("NUMERIC", "20,4", nullable=False), "s": kind("STRING", "3"),
        "i": kind("INTEGER", "25"),
    }  # fmt: skip
    load(f"2,{10**12},abc,{10**20}\n", columns=("id", "n", "s", "i"), types=types, incremental=True)
    assert rows() == [["1", "1.5000", "ab", "5"], ["2", f"{10**12}.0000", "abc", f"{10**20}"]]
    assert rows(changed_since=since) == [["2", f"{10**12}.0000", "abc", f"{10**20}"]]
    assert lake.table(ID).types == types
    assert parquet(lake, tmp_path)[0]["n"] == "DECIMAL(20,4)"
    with pytest.raises(UserError, match="the column is not nullable"):
        load("3,,a,1\n", columns=("id", "n", "s", "i"), incremental=True)


@pytest.mark.rules("OM-95")
@pytest.mark.parametrize(
    ("after", "problem"),
    [
        (kind("NUMERIC", "5,1"), "The column v cannot be changed to NUMERIC(5,1): a number"),
        (kind("NUMERIC", "3,2"), "The column v cannot be changed to NUMERIC(3,2): a number"),
        (kind("NUMERIC", "10,2", nullable=False), ", not NULL; 1 of the table's rows have other values."),
    ],
)
def test_a_change_that_rows_do_not_allow_is_refused_but_a_full_load_makes_it(
    lake: Storage, load: Load, rows: Rows, after: ColumnType, problem: str
) -> None:
    load("1,100.25\n2,\n", columns=("id", "v"), types=kinds(id="INTEGER", v="NUMERIC 10,2"))
    types = {"id": kind("INTEGER"), "v": after}
    with pytest.raises(UserError) as error:
        load("3,1\n", columns=("id", "v"), types=types, incremental=True)
    assert problem in str(error.value)
    assert len(rows()) == 2
    load("3,1\n", columns=("id", "v"), types=types)
    assert rows() == [["3", {"5,1": "1.0"}.get(after.length, "1.00")]]
    assert lake.table(ID).types == types


@pytest.mark.rules("OM-95")
def test_a_shorter_text_column_is_refused_while_longer_texts_are_there(load: Load) -> None:
    load("abcd\n", columns=("v",), types=kinds(v="STRING"))
    with pytest.raises(UserError, match=r"The column v cannot be changed to STRING\(3\)"):
        load("a\n", columns=("v",), types=kinds(v="STRING 3"), incremental=True)


@pytest.mark.rules("OM-95", "OM-60")
def test_more_columns_in_the_schema_are_added_with_their_defaults(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path
) -> None:
    load("1\n", columns=("id",), primary_key=("id",), types=kinds(id="INTEGER"))
    since = lake.table(ID).last_import_date
    types = {
        "id": kind("INTEGER"), "n": kind("NUMERIC", "5,2", default="1.5", nullable=False),
        "s": kind("STRING", default="it's"), "e": kind("STRING"), "d": kind("DATE"),
        "b": kind("BOOLEAN", default="yes"), "t": kind("TIMESTAMP", default="2026-01-01T00:00:00+01:00"),
    }  # fmt: skip
    columns = tuple(types)
    load("2,7,x,,2026-01-31,0,2026-01-01\n", columns=columns, types=types, incremental=True, from_schema=True)
    assert rows() == [
        ["1", "1.50", "it's", "", "", "true", "2025-12-31 23:00:00"],
        ["2", "7.00", "x", "", "2026-01-31", "false", "2026-01-01 00:00:00"],
    ]
    assert [row[0] for row in rows(changed_since=since)] == ["2"]
    assert lake.table(ID).types == types
    assert [row[0] for row in rows(where=Where("n", ("1.5",)))] == ["1"]
    # Nothing but the defaults again: no row changes.
    since = lake.table(ID).last_import_date
    load("1,1.5,it's,,,1,2025-12-31 23:00\n", columns=columns, incremental=True)
    assert rows(changed_since=since) == []


@pytest.mark.rules("OM-95")
@pytest.mark.parametrize(
    ("types", "problem"),
    [
        ({"id": kind("INTEGER"), "v": kind("DATE", nullable=False)}, "give it a default for the 1 rows"),
        ({"id": kind("INTEGER"), "v": kind("DATE", default="soon")}, "The default 'soon' of the column v is no DATE"),
        ({"id": kind("INTEGER"), "w": kind("DATE")}, "Types are given for columns that are not there: w."),
        ({"id": kind("NUMERIC", "50")}, "The type of the column id is wrong. '50' is no length of NUMERIC"),
        ({"id": kind("NUMERIC", "5,6")}, "'5,6' is no length of NUMERIC"),
        ({"id": kind("NUMERIC", "many")}, "'many' is no length of NUMERIC"),
        ({"id": kind("INTEGER", "5,2")}, "no digits behind the point"),
        ({"v": kind("STRING", "0")}, "'0' is no length of a STRING"),
    ],
)
def test_impossible_types_are_refused(load: Load, types: Mapping[str, ColumnType], problem: str) -> None:
    load("1\n", columns=("id",), types=kinds(id="INTEGER"))
    with pytest.raises(UserError) as error:
        load("2,2026-01-31\n", columns=("id", "v"), types=types, incremental=True)
    assert problem in str(error.value)


@pytest.mark.rules("OM-95")
@pytest.mark.parametrize("typed", [True, False])
def test_a_schema_without_all_columns_of_the_table_is_refused(load: Load, typed: bool) -> None:
    types = kinds(a="INTEGER", b="INTEGER") if typed else {}
    load("1,2\n", columns=("a", "b"), types=types)
    with pytest.raises(UserError, match="of the table's 2 columns b are missing in the schema, which has 1"):
        load("1\n", columns=("a",), from_schema=True, incremental=True)
    with pytest.raises(
        UserError, match=r"b are missing in the schema, which has 2\. Expected are a, b, found were a, c"
    ):
        load("1,2\n", columns=("a", "c"), from_schema=True, incremental=True)


@pytest.mark.rules("OM-62", "OM-95")
def test_a_key_of_a_schema_that_is_not_possible_is_refused(lake: Storage, load: Load) -> None:
    load("1,2\n1,3\n", columns=("a", "b"), types=kinds(a="INTEGER", b="INTEGER"))
    options = {"columns": ("a", "b"), "primary_key": ("a",), "incremental": True}
    with pytest.raises(UserError, match=r"stays \[\]: \[a\] is not possible\. Several rows"):
        load("4,5\n", from_schema=True, **options)
    assert len(load("4,5\n", **options).warnings) == 2


@pytest.mark.rules("OM-62")
def test_a_column_with_null_cannot_become_the_key(lake: Storage, load: Load) -> None:
    load("1,2\n,3\n", columns=("a", "b"), types=kinds(a="INTEGER", b="INTEGER"))
    loaded = load("4,5\n", columns=("a", "b"), primary_key=("a",), incremental=True)
    assert "is not possible" in loaded.warnings[1]
    assert lake.table(ID).primary_key == ()


@pytest.mark.rules("OM-97", "D5")
def test_columns_without_a_type_are_texts(lake: Storage, load: Load, rows: Rows) -> None:
    load("1,a\n", columns=("id", "v"), types=kinds(ID="INTEGER"))
    assert lake.table(ID).types == kinds(id="INTEGER", v="STRING")
    load("id,v,new\n2,b,c\n", incremental=True)
    assert lake.table(ID).types == kinds(id="INTEGER", v="STRING", new="STRING")
    assert rows() == [["1", "a", ""], ["2", "b", "c"]]


@pytest.mark.rules("OM-8", "OM-95")
def test_a_second_load_of_the_same_commit_knows_the_types_of_the_first(
    lake: Storage, rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "1.csv").write_text("id\n1\n")
    (tmp_path / "2.csv").write_text("id\n02\n")
    lake.commit(
        Commit(
            "k",
            (
                TableLoad(ID, tmp_path / "1.csv", columns=("id",), has_header=True, types=kinds(id="INTEGER")),
                TableLoad(ID, tmp_path / "2.csv", incremental=True),
            ),
        )
    )
    assert rows() == [["1"], ["2"]]


@pytest.mark.rules("IM-15", "IM-32", "IM-33", "IM-37")
def test_a_table_is_exported_as_parquet_with_its_types(lake: Storage, load: Load, tmp_path: Path) -> None:
    types = kinds(i="INTEGER", n="NUMERIC 10,2", f="FLOAT", b="BOOLEAN", d="DATE", t="TIMESTAMP", s="STRING")
    load('1,1.5,0.1,true,2026-01-31,2026-01-31T10:00:00Z,"x\n"\n2,,,,,,\n', columns=tuple(types), types=types)
    shown, values = parquet(lake, tmp_path)
    assert list(shown.values()) == ["BIGINT", "DECIMAL(10,2)", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "VARCHAR"]
    assert sorted(values) == [
        (1, Decimal("1.50"), 0.1, True, date(2026, 1, 31), datetime(2026, 1, 31, 10), "x\n"),
        (2, None, None, None, None, None, ""),
    ]
    assert parquet(lake, tmp_path, columns=("s", "i"), where=Where("i", ("1",)))[1] == [("x\n", 1)]
    exported = lake.export_table(ID, tmp_path / "t.parquet", file_type="parquet", limit=1)
    assert (exported.rows, exported.bytes) == (1, (tmp_path / "t.parquet").stat().st_size)
    with pytest.raises(UserError, match="Tables are given as csv or parquet, not as 'orc'"):
        lake.export_table(ID, tmp_path / "t.orc", file_type="orc")


@pytest.mark.rules("OM-90")
@pytest.mark.locations
def test_types_are_there_after_the_lake_was_opened_again(lake: Storage, uri: str, load: Load) -> None:
    types = {"id": kind("INTEGER", "5", default="1", nullable=False), "v": kind("STRING")}
    load("1,a\n", columns=("id", "v"), types=types)
    other = open_storage(uri)
    assert other.table(ID).types == types
    other.close()


_VALUES = {
    "INTEGER": st.integers(-(2**63), 2**63 - 1).map(str),
    "NUMERIC 20,5": st.decimals(-(10**14), 10**14, places=5).map(str),
    "FLOAT": st.floats(allow_nan=False).map(repr),
    "BOOLEAN": st.sampled_from(["true", "false"]),
    "DATE": st.dates().map(str),
    "TIMESTAMP": st.datetimes().map(str),
    "STRING": st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"\r'), max_size=5),
}


@pytest.mark.rules("OM-92", "IM-36")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*(st.just("") | values for values in _VALUES.values())), min_size=1))
def test_exported_values_are_the_loaded_ones_and_round_trip(
    lake: Storage, tmp_path: Path, records: list[tuple[str, ...]]
) -> None:
    columns = tuple(name.split(" ")[0] for name in _VALUES)
    types = {name.split(" ")[0]: kind(*name.split(" ")) for name in _VALUES}
    (tmp_path / "a.csv").write_text(
        "".join(",".join(f'"{text}"' for text in record) + "\n" for record in records), encoding="utf-8"
    )
    lake.commit(Commit(os.urandom(8).hex(), (TableLoad(ID, tmp_path / "a.csv", columns=columns, types=types),)))
    lake.export_table(ID, tmp_path / "b.csv")
    lake.commit(Commit(os.urandom(8).hex(), (TableLoad(ID, tmp_path / "b.csv"),)))
    lake.export_table(ID, tmp_path / "c.csv")
    first, second = (sorted(read_csv(tmp_path / name)[1:]) for name in ("b.csv", "c.csv"))
    assert first == second
    parsers: list[Callable[[str], object]] = [
        int, Decimal, float, str, date.fromisoformat, datetime.fromisoformat, str,
    ]  # fmt: skip

    def values(rows: list[list[str]]) -> list[str]:
        return sorted(
            repr([text and parse(text) for parse, text in zip(parsers, row, strict=True)]).replace("-0.0", "0.0")
            for row in rows
        )

    assert values([[*map(str, record)] for record in records]) == values(first)
