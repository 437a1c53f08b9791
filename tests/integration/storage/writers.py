"""Processes that write to a lake, as a program: forks them from one process, which has imported everything.

Reads one command a line: what to write and its arguments. Each starts a process at once; its id is answered.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

# Not used here, but by every process that is forked.
import duckdb  # noqa: F401

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, StateKey, StateUpdate, Storage, TableLoad
from docker_runner.storage.lake import load
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

KEYS = 50
ROWS = 2000
LARGE_ROWS = int(os.environ.get("DOCKER_RUNNER_CRASHES_ROWS", "3000"))


def storm(uri: str, folder: str, me: str, kinds: str, commits: str) -> None:
    """Commit one kind of load after the other, so many times each."""
    storage = open_storage(uri)
    for kind in kinds.split(","):
        for number in range(int(commits)):
            storage.commit(_storm_commit(kind, Path(folder), me, number))
    storage.close()


def _storm_commit(kind: str, folder: Path, me: str, number: int) -> Commit:
    source = folder / f"{me}.csv"
    if kind == "upserted":
        source.write_text("id,v\n" + "".join(f"{key},{me}-{number}\n" for key in range(KEYS)))
        upsert = TableLoad("in.c-shared.upserted", source, primary_key=("id",), incremental=True)
        return Commit(f"{kind} {me} {number}", (upsert,))
    source.write_text(f"writer,number\n{me},{number}\n")
    table = f"in.c-own.t{me}" if kind == "own" else "in.c-shared.appended"
    return Commit(
        f"{kind} {me} {number}",
        (TableLoad(table, source, incremental=True),),
        (FileUpload(source, f"{me}-{number}", (kind,)),),
        state={StateKey(kind, me): {"number": number}},
    )


def work(uri: str, folder: str, kind: str, me: str) -> None:
    """Do one kind of work without end, and say each time when it is done; goes on with what was done last."""
    lake = Lake(parse_location(uri))
    number = lake.state(StateKey(kind, me)).get("number", -1) + 1
    while True:
        WORK[kind](lake, Path(folder), me, number)
        print("committed", kind, me, number, flush=True)
        number += 1


def _work_versions(lake: Lake, folder: Path, _me: str, number: int) -> None:
    write_version(lake, folder, number)


def _work_shared(lake: Lake, folder: Path, me: str, number: int) -> None:
    """A row for a table of its own and for a common one, and all rows of a third, which are its last writer's."""
    added, keys = folder / f"added-{me}.csv", folder / f"keys-{me}.csv"
    added.write_text(f"writer,number\n{me},{number}\n")
    keys.write_text("id,v\n" + "".join(f"{key},{me}-{number}\n" for key in range(KEYS)))
    lake.commit(
        Commit(
            f"shared {me} {number}",
            (
                TableLoad(f"in.c-own.t{me}", added, incremental=True),
                TableLoad("in.c-shared.appended", added, incremental=True),
                TableLoad("in.c-shared.upserted", keys, primary_key=("id",), incremental=True),
            ),
            (FileUpload(added, f"{me}-{number}", ("shared",)),),
            state={StateKey("shared", me): StateUpdate({"number": number}, _follows(number))},
        )
    )


def _follows(number: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda present: bool(present.get("number", -1) == number - 1)


def _work_large(lake: Lake, folder: Path, me: str, number: int) -> None:
    """A table of one number, and one that grows by as many rows; both get the files that the rows were staged in."""
    load._MANY_ROWS = min(load._MANY_ROWS, LARGE_ROWS - 1)
    source = folder / f"large-{me}.csv"
    lake._connection.run(f"COPY (SELECT range AS id, {number} AS v FROM range({LARGE_ROWS})) TO '{source}' (HEADER)")
    loads = (
        TableLoad(f"in.c-large.replaced{me}", source),
        TableLoad(f"in.c-large.appended{me}", source, incremental=True),
    )
    lake.commit(Commit(f"large {me} {number}", loads, state={StateKey("large", me): {"number": number}}))


def _work_restored(lake: Lake, folder: Path, me: str, number: int) -> None:
    """A table whose rows all have one number, from 0 to 2, which is put back to an earlier one again and again."""
    source, table = folder / f"restored-{me}.csv", f"in.c-back.t{me}"
    source.write_text("id,v\n" + "".join(f"{row},{number % 3}\n" for row in range(ROWS)))
    if number < 3:
        lake.commit(Commit(f"restored {me} {os.getpid()} {number}", (TableLoad(table, source),)))
    else:
        lake.restore(table, lake.history(table)[1 + number % 2].snapshot)


def _work_maintained(lake: Lake, _folder: Path, _me: str, _number: int) -> None:
    lake.maintain(timedelta(days=1))


def _work_emptied(lake: Lake, _folder: Path, _me: str, _number: int) -> None:
    """Maintenance that removes whatever is not needed at once: nobody else may be at work."""
    lake.maintain(timedelta(0), grace=timedelta(0))


WORK: dict[str, Callable[[Lake, Path, str, int], None]] = {
    "versions": _work_versions,
    "shared": _work_shared,
    "large": _work_large,
    "restored": _work_restored,
    "maintained": _work_maintained,
    "emptied": _work_emptied,
}


def write_version(storage: Storage, folder: Path, number: int) -> None:
    """Two tables of which all rows, and a file and a state of which all say the number."""
    source = folder / f"version{number}.csv"
    source.write_text("id,v\n" + "".join(f"{row},{number}\n" for row in range(ROWS)))
    small = folder / f"version{number}.txt"
    small.write_text(str(number))
    storage.commit(
        Commit(
            f"version {number}",
            (
                TableLoad("in.c-main.replaced", source),
                TableLoad("in.c-main.updated", source, primary_key=("id",), incremental=True),
                TableLoad(f"in.c-new{number % 3}.t{number}", small, columns=("v",)),
            ),
            (FileUpload(small, str(number), ("version",)),),
            state={StateKey("versions", "1"): {"number": number}},
        )
    )
    source.unlink()


PROGRAMS: dict[str, Callable[..., None]] = {"storm": storm, "work": work}


class Writers:
    """The program, as a test sees it."""

    def __init__(self) -> None:
        self._said: deque[Sequence[str]] = deque()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.storage.writers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *command: object) -> int:
        """Start a process; gives its id."""
        assert self._process.stdin
        self._process.stdin.write("\t".join(map(str, command)) + "\n")
        self._process.stdin.flush()
        while (line := self._read())[0] != "started":
            self._said.append(line)  # of those that were started before
        return int(line[1])

    def next_line(self) -> Sequence[str]:
        """What a process says next."""
        return self._said.popleft() if self._said else self._read()

    def _read(self) -> Sequence[str]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the writers ended"
        return line.rstrip("\n").split(maxsplit=1)

    def until_end(self, number: int = 1) -> Iterator[Sequence[str]]:
        """What processes say until so many have ended."""
        while number:
            line = self.next_line()
            number -= line[0] == "ended"
            yield line

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@contextmanager
def writers() -> Iterator[Writers]:
    program = Writers()
    try:
        yield program
    finally:
        program.close()


def _child(name: str, arguments: list[str]) -> None:
    code = 1
    try:
        PROGRAMS[name](*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _main() -> None:
    def report(*_: object) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # At once: the next one may end, and be reported, in the middle of anything longer.
            os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())

    signal.signal(signal.SIGCHLD, report)
    for line in sys.stdin:
        name, *arguments = line.rstrip("\n").split("\t")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _child(name, arguments)
        print("started", pid, flush=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


if __name__ == "__main__":
    _main()
