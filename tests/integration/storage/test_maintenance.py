"""Maintenance: fewer files, a past of some days, and nothing lost meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from docker_runner.storage.base import (
    Commit,
    DeleteWhere,
    FileQuery,
    FileUpload,
    LoadedTable,
    StateKey,
    TableLoad,
    Where,
)
from docker_runner.storage.lake import compaction, lock_names
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.maintenance import as_text
from docker_runner.storage.lake.sql import CATALOG

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
A_WEEK = timedelta(days=7)
NOTHING = timedelta(0)


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
    assert lake.maintain(NOTHING, grace=NOTHING).table_files == 7
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
    assert lake.maintain(A_WEEK).table_files == 0
    assert lake.commit(Commit("load0")).repeated
    assert len(list((tmp_path / "lake" / "tables").rglob("*.parquet"))) == 2
    assert rows() == [["2"]]


def test_commits_older_than_the_days_to_keep_are_forgotten(lake: Lake) -> None:
    lake.commit(Commit("k"))
    lake.maintain(NOTHING)
    assert not lake.commit(Commit("k")).repeated


def test_files_that_belong_to_nothing_are_removed_after_a_day(lake: Lake, load: Load, tmp_path: Path) -> None:
    load("id\n1\n")
    source = tmp_path / "f"
    source.write_text("x")
    (stored,) = lake.commit(Commit("k", files=(FileUpload(source, "f"),))).files
    folder = tmp_path / "lake"
    (folder / "files" / "ab").mkdir(exist_ok=True)
    (folder / "files" / "ab" / "abandoned").write_text("of a killed writer")
    assert lake.maintain(A_WEEK).contents == 0
    make_old(folder / "files")
    assert lake.maintain(A_WEEK).contents == 1
    assert not (folder / "files" / "ab" / "abandoned").exists()
    lake.download_file(stored.id, tmp_path / "got")


def _versions(lake: Lake) -> list[int]:
    rows = lake._connection.run(f"SELECT snapshot_id FROM {CATALOG}.ducklake_snapshot ORDER BY 1")
    return [int(str(row[0])) for row in rows]


def _content(lake: Lake, table: str, version: int) -> list[tuple[object, ...]]:
    rows = lake._connection.run(f'SELECT COLUMNS(*)::VARCHAR FROM lake."in.c-main".{table} AT (VERSION => {version})')
    return sorted(rows, key=str)


def test_a_content_that_goes_while_maintenance_looks_for_old_ones_is_no_error(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "lake" / "files" / "ab"
    folder.mkdir(parents=True)
    (folder / "abcdef").symlink_to("is not there any more")  # found in its folder, and gone when it is looked at
    assert lake.maintain(timedelta(days=1)).contents == 0


@pytest.mark.parametrize("small", [True, False], ids=["small files", "large files"])
def test_merging_changes_neither_what_is_there_nor_what_was(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if not small:
        # As if each file were large: those of which something is gone are written anew.
        monkeypatch.setattr(compaction, "_BYTES_AT_ONCE", 1)
        monkeypatch.setattr(compaction, "_MANY_DELETED", 0.01)
    chance = random.Random(5)
    expected: dict[str, list[tuple[object, ...]]] = {"t": [], "log": [], "filename": []}
    seen: dict[int, dict[str, list[tuple[object, ...]]]] = {}
    for step in range(7):
        keys = chance.sample(range(12), 4)
        more = "" if step < 4 else ",extra"
        lines = "".join(f"{key},{step}{more and ',x'}\n" for key in keys)
        rule = (DeleteWhere((Where("id", (str(chance.randrange(12)),)),)),) if step % 2 else ()
        contents = {"t": f"id,v{more}\n{lines}", "log": f"id,v\n{keys[0]},{step}\n", "filename": "filename\n1\n"}
        for name, content in contents.items():
            (tmp_path / f"{name}.csv").write_text(content)
        loads = (
            TableLoad("in.c-main.t", tmp_path / "t.csv", primary_key=("id",), incremental=step != 3, delete_where=rule),
            TableLoad("in.c-main.log", tmp_path / "log.csv", incremental=True, delete_where=rule),
            TableLoad("in.c-main.filename", tmp_path / "filename.csv", incremental=True),
        )
        lake.commit(Commit(f"step{step}", loads))
        version = _versions(lake)[-1]
        seen[version] = {table: _content(lake, table, version) for table in expected}
        if step == 4:
            done = lake.maintain(A_WEEK, grace=NOTHING)
            assert done.merged > 0 or not small
            assert done.problems == ()
    lake.maintain(A_WEEK, grace=NOTHING)
    assert lake.maintain(A_WEEK, grace=NOTHING).merged == 0
    for version, expected in seen.items():
        for table, rows in expected.items():
            assert _content(lake, table, version) == rows, (version, table)
    for table, rows in expected.items():
        assert _content(lake, table, _versions(lake)[-1]) == rows
    assert lake.table("in.c-main.t").rows == len(expected["t"])
    files = lake._connection.run(
        f"SELECT table_id, count(*) FROM {CATALOG}.ducklake_data_file WHERE end_snapshot IS NULL GROUP BY 1"
    )
    assert max(int(str(count)) for _, count in files) <= 3 or not small


def test_a_table_that_cannot_be_merged_does_not_keep_the_others_from_it(lake: Lake, load: Load, tmp_path: Path) -> None:
    for table in ("in.c-main.a", "in.c-main.b"):
        load("id\n1\n", table)
        load("id\n2\n", table, incremental=True)
    for path in (tmp_path / "lake" / "tables").glob("*/a/*.parquet"):
        path.unlink()
    done = lake.maintain(A_WEEK)
    assert done.merged == 1
    (problem,) = done.problems
    assert problem.startswith("in.c-main.a: ")
    assert f"Could not merge the files of {problem}" in as_text(done)


def test_the_state_that_held_when_the_days_to_keep_began_is_kept(lake: Lake, load: Load) -> None:
    for number in range(3):
        load(f"id\n{number}\n")
    *_, before, last = _versions(lake)
    # The latest loads happened ten days and one day ago: what was there two days ago is the earlier one's work.
    for versions, days in ((f"< {before}", 11), (f"= {before}", 10), (f"= {last}", 1)):
        lake._connection.run(
            f"UPDATE {CATALOG}.ducklake_snapshot SET snapshot_time = (now() - INTERVAL {days} DAY)::VARCHAR "
            f"WHERE snapshot_id {versions}"
        )
    done = lake.maintain(A_WEEK)
    assert (done.snapshots, done.table_files) == (before, 0)
    assert _versions(lake)[0] == before
    assert [row[0] for row in _content(lake, "t", before)] == ["1"]
    # The file of the first load is not needed since then; it goes when that was long enough ago.
    for time_of_that, removed in (("date_trunc('day', now()) - INTERVAL 1 SECOND", 0), ("now() - INTERVAL 3 DAY", 1)):
        lake._connection.run(
            f"UPDATE {CATALOG}.ducklake_files_scheduled_for_deletion SET schedule_start = ({time_of_that})::VARCHAR"
        )
        assert lake.maintain(A_WEEK).table_files == removed


@pytest.mark.rules("OF-5")
def test_files_expire_unless_they_are_permanent_and_ids_go_on_growing(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_text("x")
    for name, permanent in (("kept", True), ("expired", False), ("young", False), ("newest", False)):
        lake.commit(Commit(name, files=(FileUpload(source, name, is_permanent=permanent),)))
    newest = lake.files(FileQuery())[0].id
    # Age the records, but for one, as 16 days would.
    lake._connection.run(
        'UPDATE lake._docker_runner.files SET document = replace(document, \'"created":"20\', \'"created":"19\') '
        "WHERE document NOT LIKE '%young%'"
    )
    make_old(tmp_path / "lake" / "files")
    assert lake.maintain(A_WEEK).contents == 1
    assert [file.name for file in lake.files(FileQuery())] == ["newest", "young", "kept"]
    (file,) = lake.commit(Commit("next", files=(FileUpload(source, "next"),))).files
    assert file.id > newest


def test_whoever_reads_meanwhile_goes_on_reading_what_was_there(
    lake: Lake, uri: str, load: Load, tmp_path: Path
) -> None:
    for number in range(6):
        load(f"id,v\n{number},{number}\n{number + 1},x\n", incremental=True, primary_key=("id",))
    reader = Lake(parse_location(uri))
    with reader, reader._reading() as run:
        assert run('SELECT count(*) FROM lake."in.c-main".t') == [(7,)]
        load("id,v\n9,9\n", incremental=True)
        done = lake.maintain(NOTHING)
        assert done.merged > 0
        assert (done.snapshots, done.table_files) == (0, 0)
        assert len(run('SELECT id, v FROM lake."in.c-main".t')) == 7
    done = lake.maintain(NOTHING, grace=NOTHING)
    assert done.snapshots > 6
    assert done.table_files > 6


@pytest.mark.locations
def test_files_of_a_table_are_merged_only_while_nobody_writes_it(
    lake: Lake, uri: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = compaction._move
    with Lake(parse_location(uri)) as writer, ThreadPoolExecutor(1) as pool:

        def write() -> None:
            with writer._connection.locked(lock_names.table("in.c-main.t")):
                pass

        def move_while_another_wants_to_write(connection: Connection, table_id: str, files: Any) -> None:
            writing = pool.submit(write)
            with pytest.raises(TimeoutError):
                writing.result(timeout=0.5)
            move(connection, table_id, files)

        for number in range(3):
            load(f"id\n{number}\n", incremental=True)
        monkeypatch.setattr(compaction, "_move", move_while_another_wants_to_write)
        assert lake.maintain(A_WEEK).merged == 2


WRITER = """
import sys, time
from pathlib import Path
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, StateKey, TableLoad

uri, folder, me = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
storage = open_storage(uri)
slowest = number = 0
while number < 3 or not (folder / "over").exists():
    source = folder / f"{me}.csv"
    source.write_text(f"id,by\\nshared,{me}\\n{me}-{number},{me}\\n")
    begin = time.monotonic()
    storage.commit(Commit(
        f"{me}-{number}",
        (TableLoad("in.c-main.t", source, primary_key=("id",), incremental=True),
         TableLoad("in.c-main.log", source, incremental=True)),
        state={StateKey("comp", me): {"number": number}},
    ))
    slowest = max(slowest, time.monotonic() - begin)
    number += 1
print(number, slowest)
"""

READER = """
import sys
from pathlib import Path
from docker_runner.storage import open_storage

storage = open_storage(sys.argv[1])
folder, rows = Path(sys.argv[2]), 0
while not (folder / "over").exists():
    exported = storage.export_table("in.c-main.log", folder / "read.csv")
    assert exported.rows >= rows and exported.rows % 2 == 0, (exported.rows, rows)
    assert len((folder / "read.csv").read_text().splitlines()) == exported.rows + 1
    rows = exported.rows
print(rows)
"""


@pytest.mark.rules("D6")
def test_nothing_is_lost_and_nobody_waits_long_while_others_read_and_write(
    lake: Lake, uri: str, load: Load, rows: Rows, tmp_path: Path
) -> None:
    for number in range(3):
        lines = f"id,by\nshared,first\nfirst-{number},first\n"
        load(lines, incremental=True, primary_key=("id",))
        load(lines, "in.c-main.log", incremental=True)
    writers = [start(WRITER, uri, str(tmp_path), me) for me in "ab"]
    reader = start(READER, uri, str(tmp_path))
    merged = lake.maintain(A_WEEK).merged
    (tmp_path / "over").touch()
    results = [finished(process).split() for process in (*writers, reader)]
    merged += lake.maintain(A_WEEK).merged
    counts = dict(zip("ab", (int(result[0]) for result in results[:2]), strict=True)) | {"first": 3}
    expected = sorted([f"{me}-{number}", me] for me, count in counts.items() for number in range(count))
    assert [row for row in rows() if row[0] != "shared"] == expected
    assert len([row for row in rows() if row[0] == "shared"]) == 1
    assert [row for row in rows("in.c-main.log") if row[0] != "shared"] == expected
    assert lake.state(StateKey("comp", "a")) == {"number": counts["a"] - 1}
    assert merged > sum(counts.values())
    assert max(float(result[1]) for result in results[:2]) < 30  # a few seconds on a machine that does nothing else


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output
