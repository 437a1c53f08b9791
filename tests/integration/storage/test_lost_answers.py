"""The connection breaks when the server has committed and not said so: DuckLake removes the commit's files then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tenacity import Retrying, stop_after_attempt
from tests.cutting_proxy import CuttingProxy
from tests.integration.storage.lake_files import read_csv
from tests.servers import PASSWORD, PostgresServer

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.base import Commit, Committed, FileQuery, FileUpload, StateKey, TableLoad
from docker_runner.storage.lake import commit as committing
from docker_runner.storage.lake import load as loading
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.postgres_catalog import PostgresCatalog

STATE = StateKey("c", "1")
TABLE = "in.c-main.t"


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(postgres.port)
    yield proxy
    assert proxy.cuts == 0, "no answer was lost"
    proxy.close()


@pytest.fixture(params=["folder", "s3"])
def lake(
    request: pytest.FixtureRequest, shared_uri: str, postgres: PostgresServer, proxy: CuttingProxy, tmp_path: Path
) -> Iterator[Lake]:
    uri = shared_uri.replace(f"port={postgres.port}", f"port={proxy.port}")
    if request.param == "folder":
        uri = f"{uri.partition('?')[0]}?data_path={tmp_path}/lake"
    with Lake(parse_location(uri)) as lake:
        yield lake


@pytest.fixture
def commit(lake: Lake, tmp_path: Path) -> Callable[..., Committed]:
    """Stores CSV text in a table with a key, with a file and a state."""

    def store(key: str, content: str, *, incremental: bool = True) -> Committed:
        source = tmp_path / f"{key}.csv"
        source.write_text(content)
        table = TableLoad(TABLE, source, primary_key=("id",), incremental=incremental)
        return lake.commit(Commit(key, (table,), (FileUpload(source, key),), state={STATE: {"key": key}}))

    return store


def rows(lake: Lake, folder: Path) -> list[list[str]]:
    lake.export_table(TABLE, folder / "out.csv")
    return sorted(read_csv(folder / "out.csv")[1:])


@pytest.fixture
def lose(
    lake: Lake, commit: Callable[..., Committed], proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], None]:
    """Makes a commit whose process finds no way to the catalogue after the answer was lost, and ends."""

    def lose(key: str, content: str) -> None:
        proxy.cuts = 1
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "_settle", lambda *_: None)
            patch.setattr(committing, "attempts", lambda: Retrying(stop=stop_after_attempt(1), reraise=True))
            with pytest.raises(StorageError, match="COMMIT"):
                commit(key, content)

    return lose


def test_a_commit_whose_answer_is_lost_is_made_again_at_once(
    lake: Lake, commit: Callable[..., Committed], proxy: CuttingProxy, tmp_path: Path
) -> None:
    proxy.cuts = 1
    assert not commit("k1", "id,v\n1,a\n2,b\n").repeated  # makes bucket and table
    assert rows(lake, tmp_path) == [["1", "a"], ["2", "b"]]
    proxy.cuts = 1
    assert not commit("k2", "id,v\n2,c\n3,d\n").repeated  # updates and inserts
    assert rows(lake, tmp_path) == [["1", "a"], ["2", "c"], ["3", "d"]]
    proxy.cuts = 1
    commit("k3", "id,v,w\n4,e,f\n", incremental=False)  # replaces, and adds a column
    assert rows(lake, tmp_path) == [["4", "e", "f"]]
    assert lake.table(TABLE).rows == lake.history(TABLE)[0].rows == 1
    assert lake.state(STATE) == {"key": "k3"}
    # Ids of files that were seen for a moment are not given again.
    assert [(file.id, file.name) for file in lake.files(FileQuery())] == [(6, "k3"), (4, "k2"), (2, "k1")]
    assert commit("k3", "id,v,w\n4,e,f\n").repeated


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_large_loads_are_made_again_too(
    lake: Lake,
    commit: Callable[..., Committed],
    proxy: CuttingProxy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(loading, "_MANY_ROWS", 2)
    proxy.cuts = 1
    commit("k1", "id,v\n1,a\n2,b\n3,c\n", incremental=False)  # its files become the table's own
    proxy.cuts = 1
    commit("k2", "id,v\n4,a\n5,b\n6,c\n", incremental=False)  # the table is dropped and made anew
    assert rows(lake, tmp_path) == [["4", "a"], ["5", "b"], ["6", "c"]]
    assert lake.table(TABLE).rows == 3


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_what_is_dropped_put_back_deleted_or_encrypted_anew_is_done_once_also_when_the_answer_is_lost(
    lake: Lake, commit: Callable[..., Committed], proxy: CuttingProxy, tmp_path: Path
) -> None:
    snapshot = commit("k1", "id,v\n1,a\n").snapshot or 0
    states: list[dict[str, object]] = []

    def change(state: dict[str, object]) -> dict[str, object]:
        states.append(state)
        return {"n": len(states)}

    proxy.cuts = 1
    assert lake.change_states(change) == 1
    assert (lake.state(STATE), states) == ({"n": 1}, [{"key": "k1"}])
    proxy.cuts = 1
    lake.drop_table(TABLE)
    assert lake.tables() == []
    proxy.cuts = 1
    lake.restore(TABLE, snapshot)  # its file is removed with the lost answer, so it is put back again
    assert rows(lake, tmp_path) == [["1", "a"]]
    assert [change.what[0] for change in lake.history(TABLE)][:2] == [f"restored from snapshot {snapshot}", "dropped"]
    proxy.cuts = 1
    assert lake.delete_file(1).name == "k1"
    assert lake.files(FileQuery()) == []


def test_a_retry_finds_that_a_commit_has_lost_its_files(
    lake: Lake, commit: Callable[..., Committed], lose: Callable[[str, str], None], tmp_path: Path
) -> None:
    commit("k1", "id,v\n1,a\n2,b\n")
    lose("k2", "id,v\n2,c\n3,d\n")
    with pytest.raises(StorageError):
        rows(lake, tmp_path)
    with pytest.raises(UserError, match="gone"):  # not: done before
        lake.commit(Commit("k2", (TableLoad(TABLE, tmp_path / "gone.csv"),)))
    with Lake(lake._connection.location) as other:
        again = TableLoad(TABLE, tmp_path / "k2.csv", primary_key=("id",), incremental=True)
        assert not other.commit(Commit("k2", (again,))).repeated
        assert rows(other, tmp_path) == rows(lake, tmp_path) == [["1", "a"], ["2", "c"], ["3", "d"]]
        assert other.state(STATE) == {"key": "k1"}  # nothing is left of what was taken back


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_what_others_have_added_meanwhile_stays(
    lake: Lake, commit: Callable[..., Committed], lose: Callable[[str, str], None], tmp_path: Path
) -> None:
    source = tmp_path / "more.csv"
    source.write_text("id,v\n9,z\n")
    for table_id in ("in.c-main.u", "in.c-other.u"):
        lake.commit(Commit(table_id, (TableLoad(table_id, source),)))
    lake.commit(Commit("0", (TableLoad("in.c-main.plain", source, incremental=True),)))
    lose("k1", "id,v\n1,a\n")
    lake.commit(Commit("more", (TableLoad("in.c-main.u", source, incremental=True),)))
    commit("k1", "id,v\n1,a\n")
    assert rows(lake, tmp_path) == [["1", "a"]]
    assert [(table.id, table.rows) for table in lake.tables("in.c-main")] == [
        ("in.c-main.plain", 1), (TABLE, 1), ("in.c-main.u", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_a_table_that_others_have_built_upon_is_not_taken_from_them(
    lake: Lake, commit: Callable[..., Committed], lose: Callable[[str, str], None], tmp_path: Path
) -> None:
    lose("k1", "id,v\n1,a\n")  # makes the table
    source = tmp_path / "more.csv"
    source.write_text("id,v\n9,z\n")
    lake.commit(Commit("more", (TableLoad(TABLE, source, incremental=True, deduplicate=False),)))
    with pytest.raises(StorageError, match="later commits stand on it"):
        commit("k1", "id,v\n1,a\n")


@pytest.mark.parametrize("lake", ["folder"], indirect=True)
def test_maintenance_and_restoring_lose_nothing_either(
    lake: Lake, commit: Callable[..., Committed], proxy: CuttingProxy, tmp_path: Path
) -> None:
    for number in range(3):
        commit(f"k{number}", f"id,v\n{number},a\n")
    expected = [["0", "a"], ["1", "a"], ["2", "a"]]
    proxy.cuts = 1
    assert "COMMIT" in "".join(lake.maintain(timedelta(7)).problems)
    assert rows(lake, tmp_path) == expected
    before = lake.history(TABLE)[0].snapshot
    commit("k3", "id,v\n9,z\n", incremental=False)
    proxy.cuts = 1
    assert lake.restore(TABLE, before).rows == 3
    assert rows(lake, tmp_path) == expected


def test_a_writer_waits_for_a_commit_that_is_under_way_on_a_connection_that_is_gone(
    shared_uri: str, tmp_path: Path
) -> None:
    catalog = parse_location(shared_uri).catalog
    assert isinstance(catalog, PostgresCatalog)
    Lake(parse_location(shared_uri)).close()

    def write() -> None:
        with catalog.locked(["a table"]):
            pass

    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(catalog.parameters, password=PASSWORD) as under_way,
    ):
        under_way.execute("LOCK TABLE ducklake_snapshot IN ROW EXCLUSIVE MODE")  # as each commit has it until its end
        waiting = pool.submit(write)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.5)
        under_way.rollback()
        waiting.result(timeout=60)
