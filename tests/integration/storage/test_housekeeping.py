"""Tidying a lake up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from docker_runner.storage.base import Commit, FileQuery, FileUpload, LoadedTable, StateKey
from docker_runner.storage.lake.lake import Lake

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
A_WEEK = timedelta(days=7)


def make_old(folder: Path) -> None:
    """Let all files look two days old."""
    two_days_ago = time.time() - 2 * 86400
    for path in folder.rglob("*"):
        os.utime(path, (two_days_ago, two_days_ago))


def test_small_files_are_merged_and_replaced_ones_removed(lake: Lake, load: Load, rows: Rows, tmp_path: Path) -> None:
    for number in range(4):
        load(f"id\n{number}\n", incremental=True)
        load(f"id\n{number}\n", "in.c-main.full")
        lake.commit(Commit(f"s{number}", state={StateKey("c", "1"): {"n": number}}))
    files = tmp_path / "lake" / "tables"
    assert len(list(files.rglob("*.parquet"))) == 8
    before = lake.tables()
    assert lake.tidy(timedelta(0)).table_files == 7
    assert len(list(files.rglob("*.parquet"))) == 2
    assert rows() == [[str(number)] for number in range(4)]
    assert rows("in.c-main.full") == [["3"]]
    assert rows(changed_since=before[1].last_import_date - timedelta(microseconds=1)) == [["3"]]
    assert lake.state(StateKey("c", "1")) == {"n": 3}
    load("id\n9\n", incremental=True)
    assert rows()[-1] == ["9"]
    assert len(lake._connection.run("SELECT * FROM lake._docker_runner.states")) == 1


def test_within_the_days_to_keep_nothing_is_lost(lake: Lake, load: Load, rows: Rows, tmp_path: Path) -> None:
    load("id\n1\n")
    load("id\n2\n")
    assert lake.tidy(A_WEEK).table_files == 0
    assert lake.commit(Commit("load0")).repeated
    assert len(list((tmp_path / "lake" / "tables").rglob("*.parquet"))) == 2
    assert rows() == [["2"]]


def test_commits_older_than_the_days_to_keep_are_forgotten(lake: Lake) -> None:
    lake.commit(Commit("k"))
    lake.tidy(timedelta(0))
    assert not lake.commit(Commit("k")).repeated


def test_files_that_belong_to_nothing_are_removed_after_a_day(lake: Lake, load: Load, tmp_path: Path) -> None:
    load("id\n1\n")
    source = tmp_path / "f"
    source.write_text("x")
    (stored,) = lake.commit(Commit("k", files=(FileUpload(source, "f"),))).files
    folder = tmp_path / "lake"
    (folder / "files" / "ab").mkdir(exist_ok=True)
    (folder / "files" / "ab" / "abandoned").write_text("of a killed writer")
    assert lake.tidy(A_WEEK).contents == 0
    make_old(folder / "files")
    assert lake.tidy(A_WEEK).contents == 1
    assert not (folder / "files" / "ab" / "abandoned").exists()
    lake.download_file(stored.id, tmp_path / "got")


@pytest.mark.rules("OF-5")
def test_files_expire_unless_they_are_permanent_and_ids_go_on_growing(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    for name, permanent in (("kept", True), ("expired", False), ("newest", False)):
        lake.commit(Commit(name, files=(FileUpload(source, name, is_permanent=permanent),)))
    newest = lake.files(FileQuery())[0].id
    # Age the records as 16 days would.
    lake._connection.run(
        'UPDATE lake._docker_runner.files SET document = replace(document, \'"created":"20\', \'"created":"19\')'
    )
    make_old(tmp_path / "lake" / "files")
    assert lake.tidy(A_WEEK).contents == 1
    assert [file.name for file in lake.files(FileQuery())] == ["newest", "kept"]
    (file,) = lake.commit(Commit("next", files=(FileUpload(source, "next"),))).files
    assert file.id > newest
