"""DuckDB with a lake attached, and the lock of those who write."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import records
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.scratch import Scratch, remove_abandoned

if TYPE_CHECKING:
    import duckdb

_EXTENSIONS = ("ducklake", "sqlite_scanner")
_LOCK_TIMEOUT_SECONDS = 1800
# Measured with 512 MB: an upsert of 400 columns works with two threads, of 1000 columns with one.
_COLUMNS_IN_MEMORY = 1000
_MEMORY_VARIABLE = "DOCKER_RUNNER_STORAGE_MEMORY"


class Connection:
    """An open lake: run statements with :meth:`run`, write inside :meth:`writing`."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self.scratch = Scratch(location)
        try:
            if not location.catalog.exists():
                _create(location)
            self._duckdb = _connect(self.scratch)
            self._duckdb.execute(location.attach_statement())
        except OSError as error:
            raise StorageError(f"The Storage at {location.catalog} cannot be opened: {error}") from error
        except _duckdb_error() as error:
            raise StorageError(f"The Storage at {location.catalog} cannot be opened: {error}") from error

    def run(self, statement: str, parameters: list[object] | None = None) -> list[tuple[object, ...]]:
        """Run one statement.

        Returns:
            All rows of the result; for statements that write, one row with the number of rows written.
        """
        return self._duckdb.execute(statement, parameters).fetchall()

    def count(self, statement: str) -> int:
        """Run a statement whose result is one number."""
        ((number,),) = self.run(statement)
        assert isinstance(number, int)  # noqa: S101 - holds for every statement given here
        return number

    def limit_threads(self, columns: int) -> None:
        """Use as many threads as the memory allows for rows of so many columns: each thread buffers some of them."""
        self.run(f"SET threads = {max(1, min(_cores(), _COLUMNS_IN_MEMORY // max(1, columns)))}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: committed at the end of the block, undone when it raises."""
        self.run("BEGIN TRANSACTION")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            # A failed COMMIT has ended the transaction already.
            with suppress(_duckdb_error()):
                self._duckdb.execute("ROLLBACK")
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out."""
        with _lock(self.location):
            remove_abandoned(self.location)
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The lake's one write transaction."""
        with self.locked(), self.transaction():
            yield

    def close(self) -> None:
        """Close the lake and remove the working folder."""
        self._duckdb.close()
        self.scratch.remove()


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn DuckDB's and the file system's errors into StorageError."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(f"Storage needs more memory: set {_MEMORY_VARIABLE} to more than it is. {error}") from error
    except (duckdb.Error, OSError) as error:
        raise StorageError(f"Storage failed: {error}") from error


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error


@contextmanager
def _lock(location: Location) -> Iterator[None]:
    from filelock import FileLock, Timeout

    location.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(location.lock, timeout=_LOCK_TIMEOUT_SECONDS, poll_interval=0.01):
            yield
    except Timeout as error:
        raise StorageError(
            f"Another process has been writing to the Storage for {_LOCK_TIMEOUT_SECONDS} s; it holds {location.lock}."
        ) from error


def _connect(scratch: Scratch) -> duckdb.DuckDBPyConnection:
    import duckdb

    memory = os.environ.get(_MEMORY_VARIABLE) or "512MB"
    if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", memory, re.IGNORECASE):
        raise UserError(f"{_MEMORY_VARIABLE} must be an amount of memory, e.g. 512MB or 2GB, not {memory!r}.")
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": _cores(),
            "temp_directory": str(scratch.spill),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Extensions are loaded from the Python packages they were installed with, which the lock file pins as it
            # pins DuckDB itself. Checking their signatures would hash 70 MB at each start, 0.17 s.
            "allow_unsigned_extensions": True,
        },
    )
    for extension in _EXTENSIONS:
        connection.execute(f"LOAD '{_extension_file(extension, duckdb.__version__)}'")
    return connection


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _extension_file(extension: str, version: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{extension}")
    if spec is None or not spec.submodule_search_locations:
        raise StorageError(f"The package duckdb-extension-{extension.replace('_', '-')}=={version} is not installed.")
    return Path(spec.submodule_search_locations[0], "extensions", f"v{version}", f"{extension}.duckdb_extension")


def _create(location: Location) -> None:
    """Make a new lake under another name and move it into place, so that nobody sees half of one."""
    with _lock(location):
        if location.catalog.exists():
            return  # another process was faster
        unfinished = location.catalog.with_name(location.catalog.name + ".new")
        for leftover in unfinished.parent.glob(unfinished.name + "*"):
            leftover.unlink()
        for folder in (location.tables, location.files, location.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        connection = _connect(Scratch(location))
        try:
            connection.execute(location.attach_statement(unfinished))
            for statement in records.SCHEMA:
                connection.execute(statement)
        finally:
            connection.close()
        unfinished.rename(location.catalog)
