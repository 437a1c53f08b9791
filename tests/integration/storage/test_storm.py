"""Many processes that write to one lake at the same time.

``make storm`` lets 16 of them commit ten times in each way, the usual tests 8 of them twice.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv
from tests.integration.storage.writers import KEYS, writers
from tests.servers import PostgresServer

from docker_runner.storage.base import FileQuery, StateKey, Storage
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

PROCESSES = int(os.environ.get("DOCKER_RUNNER_STORM_PROCESSES", "8"))
COMMITS = int(os.environ.get("DOCKER_RUNNER_STORM_COMMITS", "2"))


def exported(storage: Storage, table_id: str, folder: Path) -> list[list[str]]:
    storage.export_table(table_id, folder / "exported.csv")
    return sorted(read_csv(folder / "exported.csv")[1:])


@pytest.fixture(params=["sqlite", "postgres"])
def new_uri(request: pytest.FixtureRequest, tmp_path: Path, environment: None) -> str:
    """A lake that does not exist yet: all processes find that out at the same time."""
    if request.param == "sqlite":
        return f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return f"ducklake:postgres:{postgres.new_database()}?data_path={tmp_path}/data"


@pytest.mark.rules("D6")
def test_nothing_is_lost_or_doubled_when_many_processes_make_and_write_one_lake(new_uri: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with writers() as program:
        for i in range(PROCESSES):
            program.start("storm", new_uri, tmp_path, i, "own,appended,upserted", COMMITS)
        ended = [program.next_line() for _ in range(PROCESSES)]
    print(f"{PROCESSES} x {COMMITS} x 3 commits in {time.monotonic() - started:.1f} s")
    assert [end[1].split()[1] for end in ended] == ["0"] * PROCESSES

    everything = sorted([str(i), str(n)] for i in range(PROCESSES) for n in range(COMMITS))
    with Lake(parse_location(new_uri)) as lake:
        for i in range(PROCESSES):
            assert exported(lake, f"in.c-own.t{i}", tmp_path) == sorted([str(i), str(n)] for n in range(COMMITS))
            for kind in ("own", "appended"):
                assert lake.state(StateKey(kind, str(i))) == {"number": COMMITS - 1}
        assert exported(lake, "in.c-shared.appended", tmp_path) == everything
        assert lake.table("in.c-shared.appended").rows == len(everything)
        upserted = exported(lake, "in.c-shared.upserted", tmp_path)
        assert sorted(int(row[0]) for row in upserted) == list(range(KEYS))
        assert len({row[1] for row in upserted}) == 1  # one writer was the last, for all keys
        for kind in ("own", "appended"):
            files = lake.files(FileQuery(tags=(kind,), limit=1000))
            assert sorted(file.name.split("-") for file in files) == everything
        files = lake.files(FileQuery(limit=1000))
        assert [file.id for file in files] == list(range(len(files), 0, -1))
        assert len(lake.tables()) == PROCESSES + 2
        assert [bucket.id for bucket in lake.buckets()] == ["in.c-own", "in.c-shared"]
    assert leftovers(tmp_path / "lake") == []
