"""Loads of many rows take another way than those of few: it must make no difference but that of time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv

from docker_runner.errors import UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import BaseType, ColumnType, Commit, LoadedTable, Storage, TableLoad, Where
from docker_runner.storage.lake import csv_pieces, csv_structure

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"


class BehindClock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(hours=1)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docker_runner.storage.lake.load._MANY_ROWS", 1)
    monkeypatch.setattr(csv_structure, "_MANY_BYTES", 0)
    monkeypatch.setattr(csv_pieces, "_PIECE_BYTES", 1)


def folders(tmp_path: Path) -> list[Path]:
    """Where files of loads became files of tables as they were."""
    return sorted((tmp_path / "lake" / "tables").rglob("_timestamp=*"))


@pytest.mark.rules("OM-50", "OM-54", "IM-30")
def test_rows_are_written_once_and_are_replaced_added_to_and_updated_like_others(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path
) -> None:
    assert load("Id,v\n1,a\n2,b\n", primary_key=("Id",)).rows == 2
    assert load("id,V\n3,c\n4,d\n").table_rows == 2
    assert rows() == [["3", "c"], ["4", "d"]]
    since = lake.table(ID).last_import_date
    load("v,ID\nc,3\ne,4\nf,5\n", incremental=True)
    assert rows() == [["3", "c"], ["4", "e"], ["5", "f"]]
    assert rows(changed_since=since) == [["4", "e"], ["5", "f"]]
    load("id,v,w\n6,g,1\n", incremental=True, deduplicate=False)
    assert rows(where=Where("w", ("",))) == [["3", "c", ""], ["4", "e", ""], ["5", "f", ""]]
    assert len(folders(tmp_path)) == 3
    assert leftovers(tmp_path / "lake") == []


def test_what_a_killed_load_has_left_is_not_taken_for_rows_also_when_the_clock_is_behind(
    load: Load, rows: Rows, lake: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("id\n1\n")
    seen = lake.table(ID).last_import_date
    monkeypatch.setattr("docker_runner.storage.lake.import_dates.datetime", BehindClock)
    # Every attempt at the next load has this time.
    (folder,) = folders(tmp_path)
    moment = f"{seen + timedelta(microseconds=1):%Y-%m-%d %H:%M:%S.%f}+00"
    left = folder.with_name(f"_timestamp={quote(moment, safe=' +')}")
    shutil.copytree(folder, left)
    load("id\n2\n", incremental=True)
    assert rows() == [["1"], ["2"]]
    assert left in folders(tmp_path)
    assert len(list(left.iterdir())) == 2


def test_few_rows_of_many_bytes_are_written_once_too(
    load: Load, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docker_runner.storage.lake.load._MANY_ROWS", 1_000_000)
    monkeypatch.setattr("docker_runner.storage.lake.load._MANY_BYTES", 10_000)
    load("id,v\n1,short\n")
    assert folders(tmp_path) == []
    long = "".join(map(str, range(10_000)))
    load(f"id,v\n1,{long}\n")
    assert rows() == [["1", long]]
    assert len(folders(tmp_path)) == 1


@pytest.mark.rules("IM-30")
def test_rows_carry_the_time_of_their_load_as_an_export_needs_it(lake: Storage, load: Load, rows: Rows) -> None:
    for number in range(4):
        load(f"id\n{number}\n", incremental=True)
        state = lake.table(ID).last_import_date
        assert rows(changed_since=state) == []
        load(f"id\n{number}0\n", incremental=True)
        assert rows(changed_since=state) == [[f"{number}0"]]


@pytest.mark.rules("OM-90")
def test_typed_tables_take_them_too(load: Load, rows: Rows, tmp_path: Path) -> None:
    types = {"id": ColumnType(BaseType.INTEGER), "n": ColumnType(BaseType.NUMERIC, "10,2")}
    load("id,n\n1,1.5\n2,\n", types=types)
    load("id,n\n3,2\n", incremental=True)
    assert rows() == [["1", "1.50"], ["2", ""], ["3", "2.00"]]
    assert len(folders(tmp_path)) == 2


@pytest.mark.rules("OM-54", "D4")
def test_of_rows_with_the_same_key_the_last_stays_across_pieces(load: Load, rows: Rows) -> None:
    text = "".join(f'{number % 7},"line\n{number}"\n' for number in range(100))
    assert load(f"id,v\n{text}", primary_key=("id",)).rows == 7
    assert rows() == sorted([str(number % 7), f"line\n{number}"] for number in range(93, 100))


@pytest.mark.parametrize("column", ["filename", "Filename", "file_row_number"])
def test_columns_may_be_named_like_what_duckdb_adds_to_files(
    load: Load, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    load(f"id,{column}\n1,a\n")
    load(f"id,{column}\n2,b\n", incremental=True)
    assert rows() == [["1", "a"], ["2", "b"]]
    assert list(Path().iterdir()) == []  # a name from the rows is not taken for one of a file


def test_the_folder_of_a_lake_may_be_moved(lake: Storage, load: Load, tmp_path: Path) -> None:
    load("id\n1\n", "in.c-new.t-1")
    lake.close()
    shutil.move(tmp_path / "lake", tmp_path / "other")
    with contextlib.closing(open_storage(f"ducklake:sqlite:{tmp_path}/other/catalog.sqlite")) as moved:
        moved.export_table("in.c-new.t-1", tmp_path / "t.csv")
    assert read_csv(tmp_path / "t.csv") == [["id"], ["1"]]


@pytest.mark.rules("OM-75")
def test_nothing_is_left_of_a_load_whose_commit_fails(lake: Storage, load: Load, rows: Rows, tmp_path: Path) -> None:
    load("id\n1\n")
    load("id\n1\n", "in.c-main.u")
    before = sorted((tmp_path / "lake" / "tables").rglob("*"))
    (tmp_path / "a.csv").write_text("id\n2\n")
    (tmp_path / "b.csv").write_text("other\n2\n")
    loads = (TableLoad(ID, tmp_path / "a.csv"), TableLoad("in.c-main.u", tmp_path / "b.csv"))
    with pytest.raises(UserError, match="columns id are missing"):
        lake.commit(Commit("k", loads))
    assert sorted((tmp_path / "lake" / "tables").rglob("*")) == before
    assert rows() == [["1"]]


def test_files_are_copied_where_they_cannot_be_linked(
    load: Load, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr("docker_runner.storage.lake.adoption.os.link", refuse)
    load("id\n1\n")
    assert rows() == [["1"]]
    assert len(folders(tmp_path)) == 1
