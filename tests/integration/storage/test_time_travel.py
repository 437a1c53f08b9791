"""Earlier states of tables: what changed them, and how they come back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import read_csv

from docker_runner.errors import NotFoundError, UserError
from docker_runner.storage.base import BaseType, ColumnType, Commit, LoadedTable, MetadataItem, TableLoad
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.sql import CATALOG

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"
TYPES = {"id": ColumnType(BaseType.INTEGER, nullable=False), "v": ColumnType(BaseType.STRING)}


def test_the_history_says_what_each_commit_did_and_which_run_it_was(lake: Lake, load: Load, tmp_path: Path) -> None:
    said = {"metadata": (MetadataItem("k", "1", "user"),), "column_metadata": {"v": (MetadataItem("k", "1", "user"),)}}
    load("id,v\n1,a\n2,b\n", primary_key=("id",), **said)
    (tmp_path / "run.csv").write_text("id,v\n2,c\n3,d\n")
    # What is said again is the same, only later.
    again = TableLoad(ID, tmp_path / "run.csv", incremental=True, **said)  # type: ignore[arg-type]
    lake.commit(Commit("b2e577a61c75", (again,), run="cli-20260131T100000"))
    load("id,v,w\n9,9,9\n", "in.c-main.other")
    load("id,v,w\n4,e,f\n", incremental=True, metadata=(MetadataItem("k", "2", "user"),))
    load("id,v,w\n4,e,f\n", primary_key=())
    lake.drop_table(ID)
    changes = lake.history(ID)
    assert [(change.what, change.rows, change.more, change.by) for change in changes] == [
        (("dropped",), None, None, ""),
        (("1 rows loaded", "primary key: id -> none"), 1, -3, "load3"),
        (("1 rows loaded", "columns: id, v -> id, v, w", "metadata changed"), 4, 1, "load2"),
        (("2 rows loaded",), 3, 1, "cli-20260131T100000"),
        (("created",), 2, 2, "load0"),
    ]
    assert [change.snapshot for change in changes] == sorted((change.snapshot for change in changes), reverse=True)
    assert all(timedelta(0) <= datetime.now(UTC) - change.time < timedelta(minutes=30) for change in changes)
    for _ in range(2):  # the first one's own commit is the oldest state after the second
        lake.maintain(timedelta(0), grace=timedelta(0))
    with pytest.raises(NotFoundError, match="there was none since"):
        lake.history(ID)


def test_a_table_comes_back_as_it_was_and_goes_on_from_there(
    lake: Lake, load: Load, rows: Rows, tmp_path: Path
) -> None:
    item = MetadataItem("k", "1", "user")
    load("id,v\n1,a\n2,b\n", primary_key=("id",), types=TYPES, metadata=(item,), column_metadata={"v": (item,)})
    before = lake.table(ID)
    good = lake.history(ID)[0]
    item = MetadataItem("k", "2", "user")
    load("id,v,w\n1,broken,x\n3,c,x\n", incremental=True, metadata=(item,), column_metadata={"v": (item,)})
    lake.maintain(timedelta(days=7), grace=timedelta(0))
    broken = lake.table(ID)
    lake.export_table(ID, tmp_path / "then.csv", at=good.time)
    assert sorted(read_csv(tmp_path / "then.csv")) == [["1", "a"], ["2", "b"], ["id", "v"]]
    restored = lake.restore(ID, good.snapshot)
    assert restored.rows == 2
    after = lake.table(ID)
    assert (after.columns, after.primary_key, after.types) == (before.columns, before.primary_key, before.types)
    assert (after.metadata, after.created, after.rows) == (before.metadata, before.created, 2)
    assert after.column_metadata == before.column_metadata
    assert after.last_change_date == after.last_import_date > broken.last_import_date
    assert rows() == [["1", "a"], ["2", "b"]]
    assert rows(changed_since=broken.last_import_date) == [["1", "a"], ["2", "b"]]
    restoring = lake.history(ID)[0]
    assert restoring.what[0] == f"restored from snapshot {good.snapshot}"
    assert restoring.by.startswith("restore-")
    load("id,v\n2,z\n", incremental=True)
    assert rows() == [["1", "a"], ["2", "z"]]
    lake.restore(ID, restoring.snapshot - 1)
    assert rows() == [["1", "broken", "x"], ["2", "b", ""], ["3", "c", "x"]]


def test_a_dropped_table_comes_back_and_a_state_can_be_looked_at_in_a_table_of_its_own(
    lake: Lake, load: Load, rows: Rows
) -> None:
    load("id,v\n1,a\n", primary_key=("id",))
    load("id,v\n2,b\n")
    first = lake.history(ID)[-1].snapshot
    lake.restore(ID, first, new_id="out.c-look.t")
    assert rows("out.c-look.t") == [["1", "a"]]
    assert lake.bucket("out.c-look") is not None
    assert rows() == [["2", "b"]]
    with pytest.raises(UserError, match=r"There is a table out\.c-look\.t already"):
        lake.restore(ID, first, new_id="out.c-look.T")
    lake.drop_table(ID)
    dropped = lake.history(ID)[0]
    lake.restore(ID, dropped.snapshot - 1)
    assert rows() == [["2", "b"]]
    with pytest.raises(NotFoundError, match=r"There was no table in\.c-main\.t in Storage then"):
        lake.restore(ID, dropped.snapshot)


def test_a_state_that_is_not_kept_is_refused_with_the_time_since_when_states_are(
    lake: Lake, load: Load, rows: Rows
) -> None:
    load("id\n1\n")
    first = lake.history(ID)[0].snapshot
    load("id\n2\n")
    lake._connection.run(
        f"UPDATE {CATALOG}.ducklake_snapshot SET snapshot_time = (snapshot_time::TIMESTAMPTZ - INTERVAL 9 DAY)::VARCHAR"
    )
    lake.maintain(timedelta(days=7))
    kept = f"Earlier states are kept since {lake.history(ID)[0].time:%Y-%m-%d %H:%M:%S} UTC"
    with pytest.raises(UserError, match=kept):
        lake.restore(ID, datetime.now(UTC) - timedelta(days=10))
    with pytest.raises(UserError, match=f"There is no snapshot {first}. {kept}"):
        lake.restore(ID, first)
    with pytest.raises(UserError, match="lies in the future"):
        lake.restore(ID, datetime.now(UTC) + timedelta(hours=1))
    assert rows() == [["2"]]
    lake.restore(ID, datetime.now(UTC) - timedelta(days=8))
    assert rows() == [["2"]]
