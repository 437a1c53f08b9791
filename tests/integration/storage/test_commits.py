"""Commits: everything or nothing, once; files and state."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.integration.storage.lake_files import leftovers

from docker_runner.errors import NotFoundError, StorageError, UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, FileUpload, LoadedTable, StateKey, Storage, TableLoad
from docker_runner.storage.lake import records, sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.records import Kind

Load = Callable[..., LoadedTable]
KEY = StateKey("vendor.comp", "42")


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    (tmp_path / "good.csv").write_text("id,v\n1,a\n")
    return tmp_path / "good.csv"


def contents(uri: str) -> tuple[object, ...]:
    """All that another process can see of a lake."""
    storage = open_storage(uri)
    try:
        return storage.buckets(), storage.tables(), storage.files(FileQuery()), storage.state(KEY)
    finally:
        storage.close()


@pytest.mark.rules("D6", "LC-25")
@pytest.mark.locations
def test_tables_files_and_state_become_visible_together(lake: Storage, uri: str, csv_file: Path) -> None:
    committed = lake.commit(
        Commit(
            "k",
            (TableLoad("in.c-a.t", csv_file), TableLoad("in.c-b.t", csv_file)),
            (FileUpload(csv_file, "good.csv", ("x",)),),
            state={KEY: {"a": [1, None, "é"]}, StateKey("vendor.comp", "42", "row"): {"b": {}}},
        )
    )
    assert [table.table_id for table in committed.tables] == ["in.c-a.t", "in.c-b.t"]
    buckets, tables, files, state = contents(uri)
    assert [bucket.id for bucket in buckets] == ["in.c-a", "in.c-b"]  # type: ignore[attr-defined]
    assert [table.id for table in tables] == ["in.c-a.t", "in.c-b.t"]  # type: ignore[attr-defined]
    assert files == list(committed.files)
    assert state == {"a": [1, None, "é"]}
    assert lake.state(StateKey("vendor.comp", "42", "row")) == {"b": {}}
    assert lake.state(StateKey("vendor.comp", "42", "", "7")) == {}


@pytest.mark.rules("D6", "OM-75")
@pytest.mark.parametrize("bad", ["a;b\n1;2\n", "id,v\n1\n", ""])
def test_one_bad_table_leaves_everything_as_it_was(
    lake: Storage, uri: str, csv_file: Path, tmp_path: Path, bad: str
) -> None:
    lake.commit(Commit("before", (TableLoad("in.c-a.t", csv_file),), state={KEY: {"n": 1}}))
    seen = contents(uri)
    csv_file.write_text("id,v\n2,b\n")
    (tmp_path / "bad.csv").write_text(bad)
    files = list((tmp_path / "lake" / "files").rglob("*"))
    with pytest.raises(UserError, match=r"^Table in\.c-a\.t: "):
        lake.commit(
            Commit(
                "k",
                (
                    TableLoad("in.c-new.t", csv_file),
                    TableLoad("in.c-a.t", csv_file, incremental=True),
                    TableLoad("in.c-a.t", tmp_path / "bad.csv"),
                ),
                (FileUpload(csv_file, "f", ("x",)),),
                state={KEY: {"n": 2}},
            )
        )
    assert contents(uri) == seen
    assert leftovers(tmp_path / "lake") == []
    assert [path for path in (tmp_path / "lake" / "files").rglob("*") if path.is_file()] == files
    # The key was not used up: the same commit can be done when its data is right.
    (tmp_path / "bad.csv").write_text("id,v\n3,c\n")
    assert not lake.commit(Commit("k", (TableLoad("in.c-a.t", tmp_path / "bad.csv"),))).repeated


@pytest.mark.rules("IF-21")
def test_at_most_a_hundred_files_are_found_unless_more_are_asked_for(lake: Storage, csv_file: Path) -> None:
    lake.commit(Commit("k", files=tuple(FileUpload(csv_file, f"f{number}") for number in range(102))))
    assert [file.name for file in lake.files(FileQuery())] == [f"f{number}" for number in range(101, 1, -1)]
    assert len(lake.files(FileQuery(limit=200))) == 102


@pytest.mark.rules("OM-76", "LC-55")
def test_a_storage_that_cannot_write_is_no_error_of_the_user(lake: Storage, csv_file: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "lake" / "tables", ignore_errors=True)
    (tmp_path / "lake" / "tables").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="Storage failed"):
        lake.commit(Commit("k", (TableLoad("in.c-a.t", csv_file),), state={KEY: {"n": 1}}))
    assert lake.state(KEY) == {}


@pytest.mark.rules("OM-28", "OM-75", "OM-76")
def test_the_errors_of_all_tables_are_told(lake: Storage, tmp_path: Path) -> None:
    loads = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,v\n1\n")
        loads.append(TableLoad(f"in.c-main.{name}", tmp_path / f"{name}.csv"))
    with pytest.raises(UserError) as error:
        lake.commit(Commit("k", (*loads, TableLoad("nonsense", tmp_path / "a.csv"))))
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["Table in.c-main.a", "Table in.c-main.b", "Table nonsense"]


@pytest.mark.locations
def test_a_repeated_commit_changes_nothing_and_gives_the_first_result(lake: Storage, uri: str, csv_file: Path) -> None:
    load = TableLoad("in.c-a.t", csv_file, incremental=True)
    wanted = Commit("k", (load,), (FileUpload(csv_file, "f", ("x",)),), state={KEY: {"n": 1}})
    first = lake.commit(wanted)
    csv_file.unlink()  # a repeat does not even read its data
    seen = contents(uri)
    again = open_storage(uri)
    second = again.commit(wanted)
    again.close()
    assert second == replace(first, repeated=True)
    assert contents(uri) == seen


@pytest.mark.locations
def test_a_commit_tells_the_number_of_the_state_that_it_made_whoever_else_commits(
    lake: Lake, uri: str, csv_file: Path
) -> None:
    table = "in.c-a.t"
    load = TableLoad(table, csv_file, incremental=True)
    numbers = []
    with Lake(parse_location(uri)) as other:
        for number in range(3):
            numbers.append(lake.commit(Commit(f"k{number}", (load,))).snapshot)
            other.commit(Commit(f"o{number}", (TableLoad("in.c-a.other", csv_file),)))
            # The other one knows it only from Storage.
            assert other.commit(Commit(f"k{number}", (load,))).snapshot == numbers[-1]
    assert [change.snapshot for change in reversed(lake.history(table))] == numbers
    lake.maintain(timedelta(days=1))
    assert [lake.commit(Commit(f"k{number}", (load,))).snapshot for number in range(3)] == numbers
    assert lake.restore(table, numbers[1] or 0).rows == 2


def test_a_commit_tells_its_own_number_when_another_one_comes_in_between(
    lake: Lake, uri: str, csv_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Connection.count
    with Lake(parse_location(uri)) as other, monkeypatch.context() as patch:

        def later(connection: Connection, statement: str) -> int:
            if connection is lake._connection and "snapshot" in statement:
                other.commit(Commit("o"))
            return count(connection, statement)

        patch.setattr(Connection, "count", later)
        number = lake.commit(Commit("k", (TableLoad("in.c-a.t", csv_file),))).snapshot
    assert number == lake.history("in.c-a.t")[0].snapshot


@pytest.mark.locations
def test_a_commit_whose_answer_was_lost_keeps_its_files_and_is_not_done_twice(
    lake: Lake, csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Connection.run

    def lose_the_answer(connection: Connection, statement: str, *parameters: Any) -> Any:
        answer = run(connection, statement, *parameters)
        if statement == "COMMIT":
            raise duckdb.IOException("the connection is gone")
        return answer

    wanted = Commit("k", (TableLoad("in.c-a.t", csv_file, incremental=True),), (FileUpload(csv_file, "f"),))
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "run", lose_the_answer)
        with pytest.raises(StorageError, match="the connection is gone"):
            lake.commit(wanted)
    assert lake.commit(wanted).repeated
    lake.download_file(1, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == csv_file.read_bytes()
    assert lake.table("in.c-a.t").rows == 1


def test_who_meets_a_writer_that_takes_no_locks_does_its_work_again(
    lake: Lake, uri: str, csv_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, table = Connection.run, "in.c-a.t"
    load = TableLoad(table, csv_file, incremental=True)
    snapshot = lake.commit(Commit("k", (load,), (FileUpload(csv_file, "f"),), state={KEY: {"n": 1}})).snapshot or 0
    other = Connection(parse_location(uri))
    written: list[str] = []

    def meet(connection: Connection, statement: str, *parameters: Any) -> Any:
        """Have somebody else write just before every other commit."""
        if "set_commit_message" in statement:
            written.append("")
        if statement != "COMMIT" or not written or written[-1] or connection is other:
            return run(connection, statement, *parameters)
        written[-1] = "done"
        try:
            if len(written) % 2 and len(written) < 4:
                other.run(f"INSERT INTO {sql.table(table)} SELECT * FROM {sql.table(table)}")
            elif len(written) % 2:
                raise duckdb.TransactionException("somebody else has written")
            return run(connection, statement, *parameters)
        except duckdb.TransactionException as error:
            written[-1] = str(error)
            raise

    monkeypatch.setattr(Connection, "run", meet)
    assert lake.restore(table, snapshot).rows == 1
    lake.drop_table(table)
    assert lake.delete_file(1).name == "f"
    assert lake.change_states(lambda state: {"n": state["n"] + 1}) == 1
    monkeypatch.undo()
    other.close()
    assert [answer != "done" for answer in written] == [True, False] * 4, written
    assert (lake.tables(), lake.files(FileQuery()), lake.state(KEY)) == ([], [], {"n": 2})


def test_ids_of_files_are_never_given_twice(lake: Lake, csv_file: Path) -> None:
    lake.commit(Commit("1", files=(FileUpload(csv_file, "a"), FileUpload(csv_file, "b"))))
    with lake._connection.writing():
        records.delete(lake._connection.run, Kind.FILES, [1, 2])
    with lake._connection.writing():
        records.remove_replaced(lake._connection.run, Kind.FILES)
    (file,) = lake.commit(Commit("2", files=(FileUpload(csv_file, "c"),))).files
    assert file.id == 3
    assert lake.files(FileQuery()) == [file]


def test_a_commit_of_nothing_is_remembered_too(lake: Storage) -> None:
    assert not lake.commit(Commit("k")).repeated
    assert lake.commit(Commit("k")).repeated


@pytest.mark.rules("OM-8")
@pytest.mark.locations
def test_two_loads_of_one_table_in_one_commit_are_done_in_order(lake: Storage, csv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("id,v,w\n1,z,\n2,b,y\n")
    committed = lake.commit(
        Commit(
            "k",
            (
                TableLoad("in.c-a.t", csv_file, primary_key=("id",)),
                TableLoad("in.c-a.t", tmp_path / "more.csv", incremental=True),
            ),
        )
    )
    assert [(table.created, table.table_rows) for table in committed.tables] == [(True, 1), (False, 2)]
    lake.export_table("in.c-a.t", tmp_path / "out.csv")
    assert sorted((tmp_path / "out.csv").read_text().splitlines()[1:]) == ['"1","z",""', '"2","b","y"']


def test_state_is_replaced_as_a_whole(lake: Storage) -> None:
    lake.commit(Commit("1", state={KEY: {"a": 1, "b": {"c": 2}}}))
    lake.commit(Commit("2", state={KEY: {"a": 3}}))
    assert lake.state(KEY) == {"a": 3}


@pytest.mark.rules("OF-5", "IF-1", "IF-2", "IF-4", "IF-5", "IF-20", "IF-22")
@pytest.mark.locations
def test_files_are_found_newest_first_by_tags_ids_and_time(lake: Storage, csv_file: Path) -> None:
    for number, tags in enumerate([("a",), ("a", "b"), ("b", "x y's", "b"), ()]):
        lake.commit(Commit(str(number), files=(FileUpload(csv_file, f"f{number}", tags),)))

    def names(**query: object) -> list[str]:
        return [file.name for file in lake.files(FileQuery(**query))]  # type: ignore[arg-type]

    first, *_, last = sorted(file.id for file in lake.files(FileQuery()))
    assert names() == ["f3", "f2", "f1", "f0"]
    assert names(tags=("a", "b")) == ["f1"]
    assert names(tags=("b",), without_tags=("a",)) == ["f2"]
    assert names(without_tags=("a", "b")) == ["f3"]
    assert names(tags=("x y's",)) == ["f2"]
    assert names(since_id=first) == ["f3", "f2", "f1"]
    assert names(ids=(first, last)) == ["f3", "f0"]
    assert names(limit=2) == ["f3", "f2"]
    assert names(created_since=datetime.now(UTC) - timedelta(minutes=1), tags=("a",)) == ["f1", "f0"]
    assert names(created_since=datetime.now(UTC) + timedelta(minutes=1)) == []
    (found,) = lake.files(FileQuery(tags=("x y's",)))
    assert (found.tags, found.size_bytes, found.max_age_days) == (("b", "x y's"), 9, 15)


@pytest.mark.locations
def test_a_file_comes_back_as_it_was(lake: Storage, csv_file: Path, tmp_path: Path) -> None:
    upload = FileUpload(csv_file, "näme-1.csv", ("t",), is_public=True, is_permanent=True, is_encrypted=False)
    (stored,) = lake.commit(Commit("k", files=(upload,))).files
    csv_file.write_text("changed later")
    assert lake.download_file(stored.id, tmp_path / "got.csv") == stored
    assert (tmp_path / "got.csv").read_text() == "id,v\n1,a\n"
    assert (stored.is_public, stored.is_permanent, stored.is_encrypted, stored.max_age_days) == (
        True,
        True,
        False,
        None,
    )


@pytest.mark.rules("IF-26")
@pytest.mark.locations
def test_a_folder_is_a_sliced_file(lake: Storage, tmp_path: Path) -> None:
    (tmp_path / "sliced").mkdir()
    (tmp_path / "sliced" / "1").write_text("one")
    (stored,) = lake.commit(Commit("k", files=(FileUpload(tmp_path / "sliced", "sliced"),))).files
    assert stored.is_sliced
    (tmp_path / "got").mkdir()  # new or empty
    lake.download_file(stored.id, tmp_path / "got")
    with pytest.raises(UserError):
        lake.download_file(stored.id, tmp_path / "got")
    assert [(path.name, path.read_text()) for path in (tmp_path / "got").iterdir()] == [("1", "one")]


@pytest.mark.rules("IF-29")
@pytest.mark.locations
def test_tags_are_added_to_files(lake: Storage, csv_file: Path) -> None:
    (stored,) = lake.commit(Commit("1", files=(FileUpload(csv_file, "f", ("a",)),))).files
    lake.commit(Commit("2", add_file_tags={stored.id: ("a", "done")}))
    assert lake.files(FileQuery())[0].tags == ("a", "done")
    with pytest.raises(NotFoundError, match="no file 99"):
        lake.commit(Commit("3", add_file_tags={99: ("x",)}, state={KEY: {"n": 1}}))
    assert lake.state(KEY) == {}


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\0b"])
def test_an_impossible_file_name_is_refused(lake: Storage, csv_file: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a file"):
        lake.commit(Commit("k", files=(FileUpload(csv_file, name),)))


def test_a_link_is_not_stored_as_a_file(lake: Storage, csv_file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(csv_file)
    with pytest.raises(UserError, match="File link: link is a symbolic link"):
        lake.commit(Commit("k", files=(FileUpload(tmp_path / "link", "link"),)))


def test_an_unknown_file_is_told(lake: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file 7"):
        lake.download_file(7, tmp_path / "x")


def test_a_lake_can_be_moved(uri: str, csv_file: Path, tmp_path: Path) -> None:
    storage = open_storage(uri)
    storage.commit(Commit("k", (TableLoad("in.c-a.t", csv_file),), (FileUpload(csv_file, "f"),)))
    storage.close()
    shutil.move(tmp_path / "lake", tmp_path / "moved")
    storage = open_storage(f"ducklake:sqlite:{tmp_path}/moved/catalog.sqlite")
    assert storage.export_table("in.c-a.t", tmp_path / "out.csv").rows == 1
    storage.download_file(storage.files(FileQuery())[0].id, tmp_path / "f")
    storage.commit(Commit("k2", (TableLoad("in.c-a.t", csv_file, incremental=True),)))
    assert storage.table("in.c-a.t").rows == 2
    storage.close()
    assert not (tmp_path / "lake").exists()


def test_the_tables_can_lie_elsewhere(csv_file: Path, tmp_path: Path) -> None:
    storage = open_storage(f"ducklake:sqlite:{tmp_path}/l/catalog.sqlite?data_path={tmp_path}/big")
    storage.commit(Commit("k", (TableLoad("in.c-a.t", csv_file),)))
    storage.close()
    assert list((tmp_path / "big").rglob("*.parquet"))
    assert not list((tmp_path / "l").rglob("*.parquet"))


def test_a_small_commit_writes_one_file_per_table(lake: Storage, load: Load, tmp_path: Path) -> None:
    load("id\n1\n")
    lake.commit(Commit("s", state={KEY: {"n": 1}}))
    assert len(list((tmp_path / "lake" / "tables").rglob("*.parquet"))) == 1


def test_a_damaged_catalogue_is_told(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("this is no database, and it is long enough to be seen as none")
    with pytest.raises(StorageError, match="cannot be opened"):
        open_storage(f"ducklake:sqlite:{tmp_path}/catalog.sqlite")
