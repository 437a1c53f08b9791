"""Many processes on one lake, and processes that are killed."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.integration.storage.lake_files import read_csv

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, StateKey, Storage, TableLoad
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

LARGE_WRITER = """
import sys
from pathlib import Path
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, StateKey, TableLoad

storage = open_storage(sys.argv[1])
number = 0
while True:
    storage.commit(Commit(
        f"large-{number}",
        (TableLoad("in.c-main.t", Path(sys.argv[2])),),
        state={StateKey("c", "1"): {"number": number}},
    ))
    print(number, flush=True)
    number += 1
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def exported(storage: Storage, table_id: str, folder: Path) -> list[list[str]]:
    storage.export_table(table_id, folder / "exported.csv")
    return read_csv(folder / "exported.csv")[1:]


def test_a_reader_beside_a_writer_always_sees_whole_commits(uri: str, tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_text("id,v\n" + "".join(f"{i},value {i}\n" for i in range(300_000)))
    process = start(LARGE_WRITER, uri, str(tmp_path / "large.csv"))
    lake = open_storage(uri)
    try:
        assert process.stdout
        process.stdout.readline()
        for _ in range(15):
            assert lake.table("in.c-main.t").rows == 300_000
            assert lake.export_table("in.c-main.t", tmp_path / "part.csv", limit=5).rows == 5
            assert "number" in lake.state(StateKey("c", "1"))
    finally:
        process.kill()
        process.communicate()
        lake.close()


@pytest.mark.locations
def test_a_reader_does_not_wait_for_a_writer_that_is_in_the_middle_of_a_commit(uri: str, tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    source.write_text("id\n1\n")

    def read() -> tuple[int, int, dict[str, Any]]:
        with closing(open_storage(uri)) as reader:
            exported = reader.export_table("in.c-main.t", tmp_path / "part.csv")
            return reader.table("in.c-main.t").rows, exported.rows, reader.state(StateKey("c", "1"))

    with Lake(parse_location(uri)) as writer, ThreadPoolExecutor(1) as pool:
        writer.commit(Commit("k", (TableLoad("in.c-main.t", source),), state={StateKey("c", "1"): {"n": 1}}))
        with writer._connection.writing():
            writer._connection.run('INSERT INTO lake."in.c-main".t SELECT * FROM lake."in.c-main".t')
            # While it is there, and not when it has gone.
            found = pool.submit(read).result(timeout=100)
    assert found == (1, 1, {"n": 1})


def test_threads_can_share_an_open_lake(lake: Storage, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> None:
        source = tmp_path / f"{number}.csv"
        source.write_text(f"id\n{number}\n")
        lake.commit(Commit(str(number), (TableLoad("in.c-main.t", source, incremental=True),)))
        lake.table("in.c-main.t")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    assert sorted(exported(lake, "in.c-main.t", tmp_path)) == [[str(i)] for i in range(8)]
