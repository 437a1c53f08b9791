"""Writers that are killed at any moment.

``make crashes`` kills 120 times, the usual tests 16 times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv
from tests.integration.storage.writers import ROWS, Writers, write_version, writers
from tests.servers import PostgresServer

from docker_runner.storage.base import FileQuery, StateKey
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

KILLS = int(os.environ.get("DOCKER_RUNNER_CRASHES", "6"))
NEVER = -1


@pytest.fixture
def program(environment: None) -> Iterator[Writers]:
    with writers() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def new_uri(request: pytest.FixtureRequest, tmp_path: Path, environment: None) -> Callable[[str], str]:
    """Gives the URI of a lake that does not exist yet, in a folder of this name."""

    def uri_of(name: str) -> str:
        if request.param == "sqlite":
            return f"ducklake:sqlite:{tmp_path}/{name}/catalog.sqlite"
        postgres: PostgresServer = request.getfixturevalue("postgres")
        return f"ducklake:postgres:{postgres.new_database()}?data_path={tmp_path}/{name}"

    return uri_of


def open_lake(uri: str) -> Lake:
    return Lake(parse_location(uri))


def write_and_kill(program: Writers, uri: str, folder: Path, first: int, seconds: float) -> int:
    """Let a process commit versions and kill it after so many seconds; gives the last version that it said is there."""
    pid = program.start("versions", uri, folder, first)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return max([first - 1, *(int(line[1]) for line in program.until_end())])


def version_of(lake: Lake, folder: Path) -> int:
    """The version that the lake shows, of which everything must be there, and nothing of another one."""
    number = lake.state(StateKey("versions", "1")).get("number", NEVER)
    files = lake.files(FileQuery(tags=("version",), limit=1000))
    assert [file.name for file in files] == [str(n) for n in range(number, -1, -1)]
    new = {f"in.c-new{n % 3}.t{n}" for n in range(number + 1)}
    shared = {"in.c-main.replaced", "in.c-main.updated"} if number > NEVER else set()
    assert {table.id for table in lake.tables()} == new | shared
    for table_id in shared:
        lake.export_table(table_id, folder / "exported.csv")
        rows = sorted(read_csv(folder / "exported.csv")[1:], key=lambda row: int(row[0]))
        assert rows == [[str(row), str(number)] for row in range(ROWS)]
    if files:
        lake.download_file(files[0].id, folder / "content")
        assert (folder / "content").read_text() == str(number)
    return int(number)


def unneeded(lake: Lake, folder: Path) -> list[str]:
    """What lies in the lake's folders and belongs to nothing, after everybody is gone and maintenance was done."""
    data_files = lake._connection.count("SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file")
    data_files += lake._connection.count("SELECT count(*) FROM __ducklake_metadata_lake.ducklake_delete_file")
    tables = [str(path) for path in (folder / "tables").rglob("*") if path.is_file()]
    contents = [str(path) for path in (folder / "files").glob("*/*")]
    known = len(lake.files(FileQuery(limit=10000)))
    found = [str(path) for path in leftovers(folder)]
    found += tables if len(tables) != data_files else []
    return found + (contents if len(contents) != known else [])


def measured(program: Writers, uri: str, folder: Path) -> float:
    """Seconds in which a process makes a lake and commits the first version."""
    started = time.monotonic()
    pid = program.start("versions", uri, folder, 0)
    assert program.next_line() == ["committed", "0"]
    seconds = time.monotonic() - started
    os.kill(pid, signal.SIGKILL)
    list(program.until_end())
    return seconds


def test_after_each_kill_the_lake_shows_whole_commits_and_nothing_is_left(
    program: Writers, new_uri: Callable[[str], str], tmp_path: Path
) -> None:
    uri = new_uri("lake")
    chance = random.Random(seed := random.randrange(1 << 32))
    moments = 1.2 * measured(program, uri, tmp_path)
    number = unsaid = 0
    with open_lake(uri) as lake:
        number = version_of(lake, tmp_path)
    for kill in range(KILLS // 2):
        said = write_and_kill(program, uri, tmp_path, number + 1, chance.uniform(0, moments))
        with open_lake(uri) as lake:
            number = version_of(lake, tmp_path)
            # What was answered is there; one more may have been made whose answer did not get out.
            assert number in (said, said + 1), f"kill {kill}, seed {seed}"
            unsaid += number - said
            if kill % 5 == 4:
                number += 1
                write_version(lake, tmp_path, number)
    print(f"{KILLS // 2} kills at {number + 1} commits, {unsaid} of which were not answered")
    two_days_ago = time.time() - 2 * 86400
    for path in (tmp_path / "lake").rglob("*"):
        os.utime(path, (two_days_ago, two_days_ago))
    with open_lake(uri) as lake:
        for _ in range(2):  # what the first gives up is not removed before the next
            lake.maintain(timedelta(0), grace=timedelta(0))
        assert version_of(lake, tmp_path) == number
        assert unneeded(lake, tmp_path / "lake") == []
    assert list(parse_location(uri).scratch.iterdir()) == []


def test_what_a_killed_reader_could_not_keep_in_memory_is_removed_by_the_next_writer(uri: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from docker_runner.storage import open_storage; lake = open_storage(sys.argv[1]); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, uri], check=False).returncode == 9
    (owner,) = (tmp_path / "lake" / "scratch").glob("*.lock")
    owner.with_suffix(".spill").mkdir()  # as DuckDB makes it
    with open_lake(uri) as lake:
        write_version(lake, tmp_path, 0)
    assert list((tmp_path / "lake" / "scratch").iterdir()) == []


def test_a_lake_whose_maker_was_killed_is_made_by_the_next_one(
    program: Writers, new_uri: Callable[[str], str], tmp_path: Path
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    moments = measured(program, new_uri("first"), tmp_path)
    for kill in range(max(2, KILLS // 10)):
        uri = new_uri(f"lake{kill}")
        said = write_and_kill(program, uri, tmp_path, 0, chance.uniform(0, moments))
        with open_lake(uri) as lake:
            assert version_of(lake, tmp_path) in (said, said + 1), f"kill {kill}, seed {seed}"
            write_version(lake, tmp_path, version_of(lake, tmp_path) + 1)
