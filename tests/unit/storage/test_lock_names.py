"""What commits lock."""

from __future__ import annotations

import json
from pathlib import Path

from docker_runner.storage.base import Commit, FileUpload, StateKey, TableLoad
from docker_runner.storage.lake import lock_names


def names(wanted: Commit, *, tables: tuple[str, ...] = (), buckets: tuple[str, ...] = ()) -> set[str]:
    """Names that a commit locks in a lake that has these tables and buckets."""
    rows: list[tuple[object, ...]] = [(bucket, json.dumps({})) for bucket in buckets]
    return set(lock_names.commit(lambda *_: rows, wanted, tables))


def test_ids_that_differ_only_in_case_are_one_table() -> None:
    assert lock_names.table("in.c-Main.T") == lock_names.table("in.c-main.t")


def test_a_commit_locks_its_key_and_its_tables() -> None:
    loads = tuple(TableLoad(table, Path("x.csv")) for table in ("in.c-b.t", "in.c-a.t"))
    found = names(Commit("k", loads), tables=("in.c-a.t", "in.c-b.t"))
    assert found == {"commit k", "table in.c-a.t", "table in.c-b.t"}


def test_buckets_are_locked_by_those_who_may_make_them() -> None:
    loads = tuple(TableLoad(table, Path("x.csv")) for table in ("in.c-New.t", "in.c-old.t"))
    found = names(Commit("k", loads), buckets=("in.c-old",))
    assert {name for name in found if name.startswith("bucket")} == {"bucket in.c-new"}


def test_who_stores_or_tags_files_locks_all_of_them() -> None:
    assert "files" in names(Commit("k", files=(FileUpload(Path("x"), "f"),)))
    assert "files" in names(Commit("k", add_file_tags={1: ("a",)}))
    assert "files" not in names(Commit("k"))


def test_who_stores_a_state_locks_it() -> None:
    keys = [StateKey("c", "1"), StateKey("c", "1", "row"), StateKey("c", "1", "", "branch")]
    assert len(names(Commit("k", state={key: {} for key in keys}))) == 4
