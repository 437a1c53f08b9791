"""Which CSVs can be loaded, and what is said about those that cannot."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.storage.lake_files import leftovers, read_csv, write_csv

from docker_runner.errors import UserError
from docker_runner.storage.base import Commit, LoadedTable, Storage, TableLoad

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]


@pytest.mark.rules("OM-70")
def test_the_first_line_is_the_header_when_no_columns_are_given(load: Load, rows: Rows) -> None:
    assert load("id,name\n1,a\n").columns == ("id", "name")
    assert rows() == [["1", "a"]]


@pytest.mark.rules("OM-70")
def test_with_columns_every_line_is_data(load: Load, rows: Rows) -> None:
    load("1,a\n2,b\n", columns=("id", "name"))
    assert rows() == [["1", "a"], ["2", "b"]]


@pytest.mark.rules("OM-70")
def test_with_columns_and_a_header_the_header_is_skipped_and_its_names_are_not_used(load: Load, rows: Rows) -> None:
    assert load('"x\ny",z\n1,a\n', columns=("id", "name"), has_header=True).columns == ("id", "name")
    assert rows() == [["1", "a"]]


@pytest.mark.rules("OM-70")
def test_columns_are_matched_by_name_not_by_position(load: Load, rows: Rows) -> None:
    load("id,name\n1,a\n")
    load("name,id\nb,2\n", incremental=True)
    assert rows() == [["1", "a"], ["2", "b"]]


@pytest.mark.rules("OM-44", "D5")
def test_header_names_are_sanitised_and_the_change_is_told(load: Load) -> None:
    loaded = load("id,unit price\n1,2\n")
    assert loaded.columns == ("id", "unit_price")
    assert loaded.warnings == ("Column 'unit price' is stored as 'unit_price'.",)


@pytest.mark.rules("OM-77")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b\n"x\ny","p""q"\n', [["x\ny", 'p"q']]),
        ('a,b\r\n"x\r\ny",1\r\n2,3\r\n', [["2", "3"], ["x\r\ny", "1"]]),
        ('a,b\n"x\r\ny","\r"\n', [["x\r\ny", "\r"]]),
        ('"a","b"\r\n"1\n2","3"', [["1\n2", "3"]]),
        ("a,b\r\n1,2\n3,4\r\n", [["1", "2"], ["3", "4"]]),
        ("a,b\r1,2\r3,4\r", [["1", "2"], ["3", "4"]]),
        ('a,b\n,""\n"",\n', [["", ""], ["", ""]]),
        ("a,b\n007,0.10\nNULL,\\N\n", [["007", "0.10"], ["NULL", "\\N"]]),
        ('a,b\n" x ",y \n', [[" x ", "y "]]),
        ('a,b\n1,"c:\\"\n', [["1", "c:\\"]]),
        ("\ufeffa,b\n1,2\n", [["1", "2"]]),
        ('\ufeff"a","b"\n1,2\n', [["1", "2"]]),
        ("a,b\n1,2\n\n\n", [["1", "2"]]),
        ("a,b\n#1,//2", [["#1", "//2"]]),
        ("a,b\n1,x\0y\n", [["1", "x\0y"]]),
    ],
)
def test_values_arrive_as_they_were_written(load: Load, rows: Rows, content: str, expected: list[list[str]]) -> None:
    load(content)
    assert rows() == expected


@pytest.mark.rules("OM-77", "OM-13")
@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("a\tb\n1\t2,3\n", {"delimiter": "\t"}, ["1", "2,3"]),
        ("a;b\n'1;2';'it''s'\n", {"delimiter": ";", "enclosure": "'"}, ["1;2", "it's"]),
        ('a,b\n"1",2"\n', {"enclosure": ""}, ['"1"', '2"']),
    ],
)
def test_delimiter_and_enclosure_can_be_chosen(
    load: Load, rows: Rows, content: str, options: dict[str, str], expected: list[str]
) -> None:
    load(content, **options)
    assert rows() == [expected]


@pytest.mark.rules("OM-13")
@pytest.mark.parametrize("options", [{"delimiter": ""}, {"delimiter": "::"}, {"delimiter": '"'}, {"enclosure": "\n"}])
def test_an_impossible_dialect_is_refused(load: Load, options: dict[str, str]) -> None:
    with pytest.raises(UserError, match="must be one"):
        load("a,b\n1,2\n", **options)


def test_a_gzip_file_is_known_by_its_content(load: Load, rows: Rows) -> None:
    load(gzip.compress(b"a,b\n1,2\n", mtime=0) + gzip.compress(b"3,4\n", mtime=0))
    assert rows() == [["1", "2"], ["3", "4"]]


def test_a_damaged_gzip_file_is_a_user_error(load: Load) -> None:
    content = gzip.compress(b"a,b\n" + os.urandom(100_000).hex().encode())
    with pytest.raises(UserError, match="damaged gzip"):
        load(content[:-5000])


@pytest.mark.rules("OM-71")
def test_a_folder_is_a_sliced_table(lake: Storage, rows: Rows, tmp_path: Path) -> None:
    folder = tmp_path / "sliced[1].csv"
    folder.mkdir()
    (folder / "part*1").write_bytes(b"1,a\n")
    (folder / "part2.gz").write_bytes(gzip.compress(b"2,b\r\n", mtime=0))
    (folder / "part3").write_bytes(b"")
    (folder / "part4").write_bytes(b'3,"c')
    (folder / "part4").write_bytes(b'3,"c"')
    lake.commit(Commit("k", (TableLoad("in.c-main.t", folder, columns=("id", "name"), has_header=True),)))
    assert rows() == [["1", "a"], ["2", "b"], ["3", "c"]]


@pytest.mark.rules("OM-71")
def test_a_sliced_table_needs_columns(lake: Storage, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(UserError, match="'columns' must be given"):
        lake.commit(Commit("k", (TableLoad("in.c-main.t", tmp_path / "s"),)))


@pytest.mark.rules("OM-71")
def test_an_empty_folder_empties_the_table(lake: Storage, load: Load, rows: Rows, tmp_path: Path) -> None:
    load("a,b\n1,2\n")
    (tmp_path / "s").mkdir()
    lake.commit(Commit("k", (TableLoad("in.c-main.t", tmp_path / "s", columns=("a", "b")),)))
    assert rows() == []


@pytest.mark.rules("OM-73")
def test_an_empty_file_is_no_rows_when_columns_are_known_and_an_error_otherwise(load: Load, rows: Rows) -> None:
    load("", columns=("a", "b"))
    assert rows() == []
    for nothing in ("", "\ufeff"):
        with pytest.raises(UserError, match="has no data"):
            load(nothing)


@pytest.mark.rules("OM-73")
@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a", gzip.compress(b"a,b\n", mtime=0)])
def test_a_header_alone_is_a_table_without_rows(load: Load, rows: Rows, content: str) -> None:
    load(content)
    assert rows() == []


@pytest.mark.rules("OM-74")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1,2\n3\n", "load0.csv, line 3: the number of fields is 1, expected are 2 (a, b)"),
        (b"a,b\n1,2\n3,4,5\n", "load0.csv, line 3: the number of fields is 3"),
        (b'a,b\n"x\ny\nz",2\n3\n', "load0.csv, line 5: the number of fields is 1"),
        (b'a,b\n1,"x\n3,4\n', "load0.csv, line 2: the quoting is broken"),
        (b'a,b\n1,"x"y\n', "load0.csv, line 2: the quoting is broken"),
        (b"a,b\n1,2\n3,\xff4\n", "load0.csv, line 3: the text is not UTF-8 (byte 0xff)"),
        ("a,b\n1,ž\n".encode("cp1250"), "load0.csv, line 2: the text is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "load0.csv"),
    ],
)
def test_a_broken_csv_is_refused_with_table_and_line(
    lake: Storage, load: Load, tmp_path: Path, content: bytes, problem: str
) -> None:
    with pytest.raises(UserError) as error:
        load(content)
    assert str(error.value).startswith("Table in.c-main.t: ")
    assert problem in str(error.value)
    assert lake.tables() == []
    assert leftovers(tmp_path / "lake") == []


@pytest.mark.rules("OM-74")
def test_the_line_is_found_far_into_a_large_file(load: Load) -> None:
    content = b"a,b\n" + b'"x\ny",2\n' * 200_000 + b"1\n"
    with pytest.raises(UserError, match="line 400002: the number of fields is 1"):
        load(content)


def test_fields_of_megabytes_are_kept(lake: Storage, load: Load, tmp_path: Path) -> None:
    long, longer = 'é"\n' * 1_500_000, "x" * 33_000_000
    # The last record is longer than DuckDB's buffer, which would leave it out silently.
    load('id,v\n1,"{}"\n2,{}'.format(long.replace('"', '""'), longer))
    lake.export_table("in.c-main.t", tmp_path / "out.csv")
    csv.field_size_limit(100_000_000)
    assert {row[0]: row[1] for row in read_csv(tmp_path / "out.csv")[1:]} == {"1": long, "2": longer}


def test_text_that_looks_like_rows_does_not_confuse_a_parallel_read(lake: Storage, tmp_path: Path) -> None:
    rng = random.Random(1)
    pieces = ['\n"a","b","c"\n', '"', "\n", '","', "1,2,3\n4,5,6\n", "\r\n", '"\n' * 20, "plain " * 30]
    records = [[str(i), "".join(rng.choices(pieces, k=6)), rng.choice(pieces)] for i in range(130_000)]
    source = write_csv(tmp_path / "wild.csv", records, quoting=1)
    assert source.stat().st_size > 33_000_000  # more than one buffer of the parallel reader
    lake.commit(Commit("k", (TableLoad("in.c-main.t", source, columns=("id", "x", "y")),)))
    lake.export_table("in.c-main.t", tmp_path / "out.csv")
    assert sorted(read_csv(tmp_path / "out.csv")[1:]) == sorted(records)


@pytest.mark.parametrize("kind", ["link", "link_to_folder", "pipe", "device", "link_in_folder", "missing"])
def test_only_regular_files_are_read(lake: Storage, tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s.csv").write_text("a\nsecret\n")
    source = tmp_path / "t.csv"
    if kind == "link":
        source.symlink_to(secret / "s.csv")
    elif kind == "link_to_folder":
        source.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "device":
        source = Path("/dev/zero")
    elif kind == "link_in_folder":
        source.mkdir()
        (source / "part").symlink_to(secret / "s.csv")
    with pytest.raises(UserError, match=r"Only regular files are read|does not exist"):
        lake.commit(Commit("k", (TableLoad("in.c-main.t", source, columns=("a",)),)))


# Surrogates are no text; everything else may come, in any place.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NASTY = st.text(st.sampled_from(list("\"',;\n\r\t\\ \0é日NULL")), max_size=8)


@pytest.mark.rules("OM-77", "IM-36")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(_TEXT | _NASTY, min_size=n, max_size=n), min_size=1)))
def test_any_text_comes_back_as_it_was(lake: Storage, tmp_path: Path, records: list[list[str]]) -> None:
    columns = tuple(f"c{i}" for i in range(len(records[0])))
    table_id = f"in.c-main.w{len(columns)}"
    # Without enclosure a carriage return is no part of a field (RFC 4180), but Python's writer leaves it so.
    quoting = 1 if any("\r" in field for record in records for field in record) else len(records) % 2
    source = write_csv(tmp_path / "any.csv", [columns, *records], quoting=quoting)
    lake.commit(Commit(os.urandom(8).hex(), (TableLoad(table_id, source),)))
    lake.export_table(table_id, tmp_path / "out.csv")
    header, *exported = read_csv(tmp_path / "out.csv")
    assert tuple(header) == columns
    assert sorted(exported) == sorted(records)
