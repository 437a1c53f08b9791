"""Processes that are killed at any moment: writers, alone and among others, and maintenance.

One is killed at a random moment, those beside it after they have gone on. ``make crashes`` kills 180 times and loads a
million rows at once, the usual tests kill 12 times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import leftovers, read_csv
from tests.integration.storage.writers import KEYS, LARGE_ROWS, ROWS, Writers, write_version, writers
from tests.servers import PostgresServer

from docker_runner.storage.base import FileQuery, StateKey
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

ROUNDS = int(os.environ.get("DOCKER_RUNNER_CRASHES", "2"))
NEVER = -1

# Who is at work at the same time: the kind of work, and which of those that do it.
CROWDS = (
    (("shared", "1"), ("shared", "2"), ("large", "1")),
    (("emptied", "1"),),
    (("shared", "1"), ("maintained", "1"), ("restored", "1")),
    (("versions", "1"),),
)
# Work whose number is in a state, which says what must be there.
COUNTED = ("versions", "shared", "large")


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


class Crowd:
    """Processes at work on one lake, and what they have said to be done."""

    def __init__(self, program: Writers, uri: str, folder: Path, members: Sequence[tuple[str, str]]) -> None:
        self._program = program
        self._members = {program.start("work", uri, folder, *member): member for member in members}
        self.said: dict[tuple[str, str], int] = {}

    def kill(self, chance: random.Random, seconds: float) -> None:
        """Kill one after so many seconds, let the others go on, and kill them too."""
        time.sleep(seconds)
        victim = chance.choice(list(self._members))
        os.kill(victim, signal.SIGKILL)
        self._listen_to_ends(1)
        del self._members[victim]
        if self._members:
            # Nobody is held up by what the killed one had in hand. One answer may have been under way.
            for _ in range(2):
                self._listen(self._program.next_line())
        for other in self._members:
            os.kill(other, signal.SIGKILL)
        self._listen_to_ends(len(self._members))

    def _listen_to_ends(self, number: int) -> None:
        for line in self._program.until_end(number):
            self._listen(line)

    def _listen(self, line: Sequence[str]) -> None:
        word, said = line
        if word == "ended":
            assert said.endswith(" -9"), "one has ended by itself"
        else:
            kind, me, number = said.split()
            self.said[kind, me] = int(number)


def number_of(lake: Lake, member: tuple[str, str]) -> int:
    number = lake.state(StateKey(*member)).get("number", NEVER)
    return int(number)


def numbers_of(lake: Lake, folder: Path) -> dict[tuple[str, str], int]:
    """How far each of those whose work is counted has come; all of their work must be there, and nothing else."""
    # The server may still be making the commit of a process that is gone.
    lake._connection.location.catalog.wait_for_commits()
    members = sorted({member for crowd in CROWDS for member in crowd if member[0] in COUNTED})
    numbers = {member: number_of(lake, member) for member in members}
    _check_versions(lake, folder, numbers["versions", "1"])
    _check_shared(lake, {me: number for (kind, me), number in numbers.items() if kind == "shared"})
    _check_large(lake, numbers["large", "1"])
    for table in lake.tables():
        assert count(lake, table.id) == table.rows, table.id
        if table.bucket == "in.c-back":
            ((values, value),) = lake._connection.run(f"SELECT count(DISTINCT v), min(v) FROM {sql.table(table.id)}")
            assert (table.rows, values) == (ROWS, 1)
            assert str(value) in "012"
    return numbers


def count(lake: Lake, table_id: str) -> int:
    return lake._connection.count(f"SELECT count(*) FROM {sql.table(table_id)}")


def _names(lake: Lake, tag: str) -> list[str]:
    return [file.name for file in lake.files(FileQuery(tags=(tag,), limit=10000))]


def _check_versions(lake: Lake, folder: Path, number: int) -> None:
    assert _names(lake, "version") == [str(n) for n in range(number, -1, -1)]
    new = {f"in.c-new{n % 3}.t{n}" for n in range(number + 1)}
    main = {"in.c-main.replaced", "in.c-main.updated"} if number > NEVER else set()
    assert {table.id for table in lake.tables() if table.bucket.startswith(("in.c-new", "in.c-main"))} == new | main
    for table_id in main:
        lake.export_table(table_id, folder / "exported.csv")
        rows = sorted(read_csv(folder / "exported.csv")[1:], key=lambda row: int(row[0]))
        assert rows == [[str(row), str(number)] for row in range(ROWS)]
    if number > NEVER:
        lake.download_file(lake.files(FileQuery(tags=("version",), limit=1))[0].id, folder / "content")
        assert (folder / "content").read_text() == str(number)


def _check_shared(lake: Lake, numbers: dict[str, int]) -> None:
    done = sorted(f"{me}-{n}" for me, number in numbers.items() for n in range(number + 1))
    assert sorted(_names(lake, "shared")) == done
    if not done:
        return
    written = "SELECT writer || '-' || number FROM {} ORDER BY 1"
    run = lake._connection.run
    assert [row for (row,) in run(written.format(sql.table("in.c-shared.appended")))] == done
    tables = [sql.table(f"in.c-own.t{me}") for me, number in numbers.items() if number > NEVER]
    assert sorted(str(row) for table in tables for (row,) in run(written.format(table))) == done
    ((keys, rows, values, value),) = run(
        f"SELECT count(DISTINCT id), count(*), count(DISTINCT v), min(v) FROM {sql.table('in.c-shared.upserted')}"
    )
    assert (keys, rows, values) == (KEYS, KEYS, 1)
    assert value in {f"{me}-{number}" for me, number in numbers.items()}


def _check_large(lake: Lake, number: int) -> None:
    if number == NEVER:
        return
    run = lake._connection.run
    values = "SELECT v::INTEGER, count(*) FROM {} GROUP BY 1 ORDER BY 1"
    assert run(values.format(sql.table("in.c-large.replaced1"))) == [(number, LARGE_ROWS)]
    expected = [(n, LARGE_ROWS) for n in range(number + 1)]
    assert run(values.format(sql.table("in.c-large.appended1"))) == expected


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
    pid = program.start("work", uri, folder, "versions", 1)
    assert program.next_line() == ["committed", "versions 1 0"]
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
    killed = unsaid = 0
    with open_lake(uri) as lake:
        numbers = numbers_of(lake, tmp_path)
    # A few rounds on one kind of lake do what those on the other kind do not.
    first = 0 if uri.startswith("ducklake:sqlite") else 2
    for number_of_round in range(first, first + ROUNDS):
        members = CROWDS[number_of_round % len(CROWDS)]
        crowd = Crowd(program, uri, tmp_path, members)
        crowd.kill(chance, chance.uniform(0, moments * len(members)))
        killed += len(members)
        with open_lake(uri) as lake:
            after = numbers_of(lake, tmp_path)
            for member, number in after.items():
                said = crowd.said.get(member, numbers[member])
                # What was answered is there; one more may have been made whose answer did not get out.
                possible = (said, said + 1) if member in members else (said,)
                assert number in possible, f"round {number_of_round}, {member}, seed {seed}"
                unsaid += number - said
            numbers = after
            if number_of_round % 5 == 4:
                numbers["versions", "1"] += 1
                write_version(lake, tmp_path, numbers["versions", "1"])
    commits = sum(number + 1 for number in numbers.values())
    print(f"{killed} kills at {commits} commits, {unsaid} of which were not answered")
    two_days_ago = time.time() - 2 * 86400
    for path in (tmp_path / "lake").rglob("*"):
        os.utime(path, (two_days_ago, two_days_ago))
    with open_lake(uri) as lake:
        for _ in range(2):  # what the first gives up is not removed before the next
            lake.maintain(timedelta(0), grace=timedelta(0))
        assert numbers_of(lake, tmp_path) == numbers
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


def test_a_lake_whose_maker_was_killed_is_made_by_another_one(
    program: Writers, new_uri: Callable[[str], str], tmp_path: Path
) -> None:
    chance = random.Random(seed := random.randrange(1 << 32))
    moments = measured(program, new_uri("first"), tmp_path)
    for kill in range(max(1, ROUNDS // 5)):
        uri = new_uri(f"lake{kill}")
        makers = [("shared", "1"), ("shared", "2")][: 2 - kill % 2]
        crowd = Crowd(program, uri, tmp_path, makers)
        crowd.kill(chance, chance.uniform(0, moments))
        with open_lake(uri) as lake:
            numbers = numbers_of(lake, tmp_path)
            for member in makers:
                said = crowd.said.get(member, NEVER)
                assert numbers[member] in (said, said + 1), f"kill {kill}, seed {seed}"
            write_version(lake, tmp_path, 0)
            assert numbers_of(lake, tmp_path)["versions", "1"] == 0
