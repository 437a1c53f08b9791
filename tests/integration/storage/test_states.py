"""States that are made from earlier ones: of runs that began with the same one, one stores its results."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv

from docker_runner.errors import OvertakenError
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, FileUpload, StateKey, StateUpdate, Storage, TableLoad

KEY = StateKey("vendor.comp", "42", "r1")
TABLE = "in.c-main.t"
NOW = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"

pytestmark = pytest.mark.rules("LC-11", "ST-12")


def counted(began: Mapping[str, Any]) -> StateUpdate:
    """The state after a run that began with another one and has counted one more."""
    return StateUpdate({"n": began.get("n", 0) + 1}, lambda present: present.get("n") == began.get("n"))


def run_of(folder: Path, began: Mapping[str, Any], name: str, *, table: str = TABLE) -> Commit:
    """What a run that began with a state would store: a row and a file of its number, and the next state."""
    new = counted(began)
    source = folder / f"{name}.csv"
    source.write_text(f"n,run\n{new.document['n']},{name}\n")
    load = TableLoad(table, source, incremental=True)
    return Commit(name, (load,), (FileUpload(source, name),), state={KEY: new}, run=name)


def rows(lake: Storage, folder: Path, table: str = TABLE) -> list[list[str]]:
    lake.export_table(table, folder / "exported.csv")
    return sorted(read_csv(folder / "exported.csv")[1:])


@pytest.mark.locations
def test_a_run_that_another_one_has_overtaken_stores_nothing_and_tells_which_one(
    lake: Storage, uri: str, tmp_path: Path
) -> None:
    first, second = (run_of(tmp_path, lake.state(KEY), name) for name in ("first", "second"))
    lake.commit(second)
    told = rf"Another run of vendor\.comp/42 row r1 \(second, {NOW}\) has stored its state .*Run it again"
    with pytest.raises(OvertakenError, match=told):
        lake.commit(first)
    assert rows(lake, tmp_path) == [["1", "second"]]
    assert [file.name for file in lake.files(FileQuery())] == ["second"]
    assert lake.state(KEY) == {"n": 1}
    if uri.startswith("ducklake:sqlite"):
        assert len([path for path in (tmp_path / "lake" / "files").rglob("*") if path.is_file()]) == 1
        assert leftovers(tmp_path / "lake") == []
    # The answer to the second one may have been lost: it is done, although the state is not the one that it began with.
    assert lake.commit(second).repeated
    lake.commit(run_of(tmp_path, lake.state(KEY), "first"))
    assert lake.commit(second).repeated
    assert rows(lake, tmp_path) == [["1", "second"], ["2", "first"]]


@pytest.mark.locations
def test_no_update_is_lost_and_no_row_is_there_twice_however_many_run_at_once(uri: str, tmp_path: Path) -> None:
    runs, rounds = 3, 2
    barrier = threading.Barrier(runs)

    def work(me: int) -> int:
        """Runs until it was not overtaken so many times; gives how often it was."""
        overtaken = 0
        lake = open_storage(uri)
        barrier.wait()
        for done in range(rounds):
            while True:
                try:
                    lake.commit(run_of(tmp_path, lake.state(KEY), f"{me} {done} {overtaken}"))
                    break
                except OvertakenError:
                    overtaken += 1
        lake.close()
        return overtaken

    with ThreadPoolExecutor(runs) as pool:
        list(pool.map(work, range(runs)))
    lake = open_storage(uri)
    assert lake.state(KEY) == {"n": runs * rounds}
    assert [int(row[0]) for row in rows(lake, tmp_path)] == list(range(1, runs * rounds + 1))
    assert len(lake.files(FileQuery())) == runs * rounds
    lake.close()


@pytest.mark.locations
def test_runs_that_write_different_tables_do_not_pass_each_other_by_either(uri: str, tmp_path: Path) -> None:
    lakes = [open_storage(uri), open_storage(uri)]
    first, second = (run_of(tmp_path, {}, name, table=f"in.c-{name}.t") for name in ("first", "second"))
    first, second = (
        Commit("first", first.tables, state=first.state),
        Commit("second", second.tables, state=second.state),
    )
    looks, is_stored = threading.Event(), threading.Event()
    follows = first.state[KEY].follows  # type: ignore[union-attr]

    def slowly(present: Mapping[str, Any]) -> bool:
        looks.set()
        is_stored.wait(0.7)  # as long as the first one looks and writes, the second one waits
        return bool(follows(present))

    first = Commit("first", first.tables, state={KEY: StateUpdate({"n": 1}, slowly)})
    with ThreadPoolExecutor() as pool:
        begun = pool.submit(lakes[0].commit, first)
        assert looks.wait(30)
        other = pool.submit(lakes[1].commit, second)
        other.add_done_callback(lambda _: is_stored.set())
        begun.result()
        with pytest.raises(OvertakenError):
            other.result()
    assert [table.id for table in lakes[1].tables()] == ["in.c-first.t"]
    for lake in lakes:
        lake.close()


def test_what_an_update_does_not_set_stays_as_it_is_by_then(lake: Storage, load: Callable[..., Any]) -> None:
    lake.commit(Commit("before", state={KEY: {"n": 1, "data_app": {"id": "a"}}}))
    update = counted(lake.state(KEY))
    lake.commit(Commit("app", state={KEY: {"n": 1, "data_app": {"id": "b"}, "more": []}}))
    lake.commit(Commit("run", state={KEY: update}))
    assert lake.state(KEY) == {"n": 2, "data_app": {"id": "b"}, "more": []}


def test_who_has_stored_a_state_is_told_as_far_as_it_is_known(lake: Storage) -> None:
    update = counted(lake.state(KEY))
    lake.commit(Commit("somebody", state={KEY: {"n": 7}}))
    with pytest.raises(OvertakenError, match=rf"Another run of vendor\.comp/42 row r1 \({NOW}\) has stored"):
        lake.commit(Commit("late", state={KEY: update}))
    # As after the keys of commits were forgotten.
    connection = lake._connection  # type: ignore[attr-defined]
    connection.run("DELETE FROM lake._docker_runner.commits")
    with pytest.raises(OvertakenError, match=r"\(snapshot \d+\) has stored"):
        lake.commit(Commit("late", state={KEY: update}))
    removed = StateUpdate({"n": 1}, lambda present: bool(present))
    with pytest.raises(OvertakenError, match=re.escape("Another run of vendor.comp/43 has stored")):
        lake.commit(Commit("late", state={StateKey("vendor.comp", "43"): removed}))
