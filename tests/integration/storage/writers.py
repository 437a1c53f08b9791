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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Not used here, but by every process that is forked.
import duckdb  # noqa: F401

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, StateKey, Storage, TableLoad

KEYS = 50
ROWS = 2000


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
        load = TableLoad("in.c-shared.upserted", source, primary_key=("id",), incremental=True)
        return Commit(f"{kind} {me} {number}", (load,))
    source.write_text(f"writer,number\n{me},{number}\n")
    table = f"in.c-own.t{me}" if kind == "own" else "in.c-shared.appended"
    return Commit(
        f"{kind} {me} {number}",
        (TableLoad(table, source, incremental=True),),
        (FileUpload(source, f"{me}-{number}", (kind,)),),
        state={StateKey(kind, me): {"number": number}},
    )


def versions(uri: str, folder: str, first: str) -> None:
    """Commit one version of two tables, a file and a state after the other, and say each number when it is there."""
    storage = open_storage(uri)
    number = int(first)
    while True:
        write_version(storage, Path(folder), number)
        print("committed", number, flush=True)
        number += 1


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


PROGRAMS: dict[str, Callable[..., None]] = {"storm": storm, "versions": versions}


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

    def until_end(self) -> Iterator[Sequence[str]]:
        """What a process says until it ends, of one at a time."""
        while (line := self.next_line())[0] != "ended":
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
            print("ended", pid, os.waitstatus_to_exitcode(status), flush=True)

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
