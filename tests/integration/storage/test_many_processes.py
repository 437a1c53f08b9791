"""Many processes on one lake, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, StateKey, Storage, TableLoad

PROCESSES, COMMITS, KEYS = 8, 5, 50

WRITER = """
import sys
from pathlib import Path
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, StateKey, TableLoad

uri, folder, me, commits, keys = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
storage = open_storage(uri)
for number in range(commits):
    own, shared, upserted = (folder / f"{me}-{number}-{name}.csv" for name in ("own", "shared", "upserted"))
    own.write_text(f"id\\n{number}\\n")
    shared.write_text(f"writer,number\\n{me},{number}\\n")
    upserted.write_text("id,by\\n" + "".join(f"{key},{me}-{number}\\n" for key in range(keys)))
    storage.commit(Commit(
        f"{me}-{number}",
        (
            TableLoad(f"in.c-own.t{me}", own, incremental=True),
            TableLoad("in.c-shared.appended", shared, incremental=True),
            TableLoad("in.c-shared.upserted", upserted, primary_key=("id",), incremental=True),
        ),
        (FileUpload(shared, f"{me}-{number}", ("all",)),),
        state={StateKey("comp", me): {"number": number}},
    ))
storage.close()
"""

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


def finish(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def exported(storage: Storage, table_id: str, folder: Path) -> list[list[str]]:
    storage.export_table(table_id, folder / "exported.csv")
    return read_csv(folder / "exported.csv")[1:]


@pytest.mark.rules("D6")
def test_nothing_is_lost_or_doubled_when_many_processes_make_and_write_one_lake(tmp_path: Path) -> None:
    # The lake does not exist yet: all processes find that out at the same time.
    uri = f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite"
    processes = [start(WRITER, uri, str(tmp_path), str(i), str(COMMITS), str(KEYS)) for i in range(PROCESSES)]
    finish(processes)
    lake = open_storage(uri)
    everything = sorted([str(i), str(n)] for i in range(PROCESSES) for n in range(COMMITS))
    assert sorted(exported(lake, "in.c-shared.appended", tmp_path)) == everything
    upserted = exported(lake, "in.c-shared.upserted", tmp_path)
    assert sorted(int(row[0]) for row in upserted) == list(range(KEYS))
    assert len({row[1] for row in upserted}) == 1  # one writer was the last, for all keys
    for i in range(PROCESSES):
        assert lake.table(f"in.c-own.t{i}").rows == COMMITS
        assert lake.state(StateKey("comp", str(i))) == {"number": COMMITS - 1}
    files = lake.files(FileQuery(tags=("all",)))
    assert sorted(file.name.split("-") for file in files) == everything
    assert len({file.id for file in files}) == PROCESSES * COMMITS
    assert leftovers(tmp_path / "lake") == []
    lake.close()


def test_a_reader_is_not_held_up_by_writers_and_always_sees_whole_commits(uri: str, tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_text("id,v\n" + "".join(f"{i},value {i}\n" for i in range(300_000)))
    process = start(LARGE_WRITER, uri, str(tmp_path / "large.csv"))
    lake = open_storage(uri)
    try:
        assert process.stdout
        process.stdout.readline()
        slowest = 0.0
        for _ in range(15):
            started = time.monotonic()
            assert lake.table("in.c-main.t").rows == 300_000
            assert lake.export_table("in.c-main.t", tmp_path / "part.csv", limit=5).rows == 5
            assert "number" in lake.state(StateKey("c", "1"))
            slowest = max(slowest, time.monotonic() - started)
    finally:
        process.kill()
        process.communicate()
        lake.close()
    assert slowest < 2  # a commit of this size takes longer than all three reads; the bound is for busy machines


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.2, 0.3, 0.4, 0.5])
def test_a_killed_writer_leaves_the_lake_usable_with_its_last_commit(uri: str, tmp_path: Path, delay: float) -> None:
    (tmp_path / "large.csv").write_text("id,v\n" + "".join(f"{i},value {i}\n" for i in range(100_000)))
    process = start(LARGE_WRITER, uri, str(tmp_path / "large.csv"))
    assert process.stdout
    answered = int(process.stdout.readline())
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    answered = max([answered, *map(int, rest.split())])

    lake = open_storage(uri)
    # A commit that was answered is there; one more may have been made without its answer getting out.
    assert lake.state(StateKey("c", "1"))["number"] in (answered, answered + 1)
    assert lake.export_table("in.c-main.t", tmp_path / "all.csv").rows == 100_000
    (tmp_path / "small.csv").write_text("id,v\n1,a\n")
    lake.commit(Commit("after", (TableLoad("in.c-main.t", tmp_path / "small.csv"),)))
    assert exported(lake, "in.c-main.t", tmp_path) == [["1", "a"]]
    lake.close()
    assert leftovers(tmp_path / "lake") == []
    assert not list((tmp_path / "lake" / "scratch").iterdir())


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
