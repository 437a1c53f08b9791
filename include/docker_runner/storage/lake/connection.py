"""DuckDB with a lake attached, and the lock of those who write."""

from __future__ import annotations

import importlib.util
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import lost_commit, records, sql
from docker_runner.storage.lake.attempts import attempts
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.object_storage import ObjectStorage, hide_secrets
from docker_runner.storage.lake.scratch import Scratch, remove_abandoned
from docker_runner.storage.lake.unwritable import readable_copy

if TYPE_CHECKING:
    import duckdb

# Measured with 512 MB: an upsert of 400 columns works with two threads, of 1000 columns with one.
_COLUMNS_IN_MEMORY = 1000
_MEMORY_VARIABLE = "DOCKER_RUNNER_STORAGE_MEMORY"

_Result = TypeVar("_Result")


class Connection:
    """An open lake: run statements with :meth:`run`, write inside :meth:`writing`."""

    def __init__(self, location: Location) -> None:
        self._copy: TemporaryDirectory[str] | None = None
        try:
            if isinstance(location.data, ObjectStorage):
                location.data.check()
            if not location.catalog.exists():
                _create(location)
            try:
                self._open(location)
            except (OSError, _duckdb_error()):
                found = readable_copy(location)
                if found is None:
                    raise
                copied, self._copy = found
                self._open(copied)
        except (OSError, _duckdb_error()) as error:
            problem = hide_secrets(f"The Storage at {location.catalog} cannot be opened: {error}")
            raise StorageError(problem) from None

    @property
    def is_copy(self) -> bool:
        """Whether a copy of the catalogue is read, which is there until :meth:`close`."""
        return self._copy is not None

    def _open(self, location: Location) -> None:
        self.location = location
        self.scratch = Scratch(location)
        try:
            self._duckdb = _connect(location, self.scratch)
            self._duckdb.execute(location.attach_statement())
            self._complete()
        except BaseException:
            self.scratch.remove()
            raise

    def _complete(self) -> None:
        """See that the lake's data is where the URI says, and make the tables that an earlier version did not have."""
        ((path,),) = self.run(f"SELECT value FROM {sql.CATALOG}.ducklake_metadata WHERE key = 'data_path'")  # noqa: S608
        known = str(path).rstrip("/")
        if not self.location.movable and known != self.location.tables:
            raise UserError(
                f"The data of the Storage at {self.location.catalog} lies in {known.removesuffix('/tables')}, not in "
                f"{self.location.data}: correct data_path in the URI. When the data was moved, change 'data_path' in "
                "the catalogue's table ducklake_metadata."
            )
        if records.missing_kinds(self.run):
            with self.locked():
                records.create(self.run)

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
    def transaction(
        self, before_commit: Callable[[], None] | None = None, *, needs_answer: bool = True
    ) -> Iterator[None]:
        """A transaction: committed at the end of the block, undone when it raises.

        Args:
            before_commit: called at the end of a block that writes; the transaction is undone when it raises.
            needs_answer: it is an error when the answer to the commit was lost, also when the catalogue has made it.
        """
        mark, is_made = "", False
        self.run("BEGIN TRANSACTION")
        try:
            yield
            if before_commit:
                before_commit()
                mark = uuid.uuid4().hex
                lost_commit.remark(self.run, mark)
            self.run("COMMIT")
        except BaseException as error:
            # A failed COMMIT has ended the transaction already.
            with suppress(_duckdb_error()):
                self._duckdb.execute("ROLLBACK")
            if mark:
                with suppress(_duckdb_error(), StorageError):
                    is_made = self._settle(mark)
            if needs_answer or not is_made or not isinstance(error, _duckdb_error()):
                raise

    def _settle(self, mark: str) -> bool:
        """After a COMMIT that failed: take it back if the catalogue has made it and its files are gone.

        Returns:
            Whether it is made, and whole.
        """
        self.location.catalog.wait_for_commits()
        with self.transaction():
            snapshot = lost_commit.marked(self.run, mark)
        return snapshot is not None and not self.take_back_if_lost(snapshot)

    def take_back_if_lost(self, snapshot: int) -> bool:
        """Take a commit back whose files are gone, outside of a transaction; the locks of its writer must be held.

        Returns:
            Whether it was taken back.

        Raises:
            StorageError: it cannot be, because others stand on it.
        """
        with self.transaction():
            if not lost_commit.lacks_files(self.run, self.location, snapshot):
                return False
            lost_commit.take_back(self.run, snapshot)
        return True

    @contextmanager
    def locked(self, names: Collection[str] | None = None) -> Iterator[Callable[[], None]]:
        """Keep other writers out; gives what to call before a transaction is committed.

        Args:
            names: of what is written, as :mod:`docker_runner.storage.lake.lock_names` has them: writers of the same
                names wait for each other. By default, all wait.
        """
        with self.location.catalog.locked(names) as confirm:
            remove_abandoned(self.location)
            yield confirm

    @contextmanager
    def writing(self, names: Collection[str] | None = None) -> Iterator[None]:
        """A write transaction, while other writers are kept out as :meth:`locked` does."""
        with self.locked(names) as confirm, self.transaction(before_commit=confirm):
            yield

    def change(self, names: Collection[str] | None, work: Callable[[], _Result]) -> _Result:
        """Do something in a write transaction, while other writers are kept out as :meth:`locked` does.

        It is done again when it met a commit of a writer who does not take our locks.
        """

        def once() -> _Result:
            with self.locked(names) as confirm, self.transaction(before_commit=confirm, needs_answer=False):
                return work()

        return attempts()(once)

    def close(self) -> None:
        """Close the lake and remove the working folder."""
        self._duckdb.close()
        self.scratch.remove()
        if self._copy:
            self._copy.cleanup()


@contextmanager
def open_read_only(location: Location) -> Iterator[tuple[duckdb.DuckDBPyConnection, Location, Path]]:
    """A lake to read from, where it is read, and the folder for what DuckDB cannot keep in memory.

    Where it is read may be a copy of its catalogue.

    Raises:
        StorageError: it cannot be opened.
    """
    with ExitStack() as stack:
        first = Connection(location)  # makes, completes and checks it
        stack.callback(first.close)
        location = first.location
        if not first.is_copy:
            stack.close()
        scratch = Scratch(location)
        stack.callback(scratch.remove)
        with storage_errors():
            connection = stack.enter_context(_connect(location, scratch))
            connection.execute(location.attach_statement(read_only=True))
        yield connection, location, scratch.spill


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn DuckDB's and the file system's errors into StorageError."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(f"Storage needs more memory: set {_MEMORY_VARIABLE} to more than it is. {error}") from error
    except (duckdb.Error, OSError) as error:
        raise StorageError(hide_secrets(f"Storage failed: {error}")) from None


def _duckdb_error() -> type[Exception]:
    import duckdb

    return duckdb.Error


def _connect(location: Location, scratch: Scratch) -> duckdb.DuckDBPyConnection:
    import duckdb

    memory = os.environ.get(_MEMORY_VARIABLE) or "512MB"
    # Fifteen digits: DuckDB counts no more bytes than fit into 64 bits.
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)? ?[KMGT]i?B|[0-9]{1,15} ?[KM]i?B", memory, re.IGNORECASE):
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
    connection.execute("SET enable_progress_bar = false")  # it would stand in what commands print
    for extension in location.extensions:
        connection.execute(f"LOAD '{_extension_file(extension, duckdb.__version__)}'")
    for statement in location.settings:
        connection.execute(statement)
    return connection


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _extension_file(extension: str, version: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{extension}")
    if spec is None or not spec.submodule_search_locations:
        raise StorageError(f"The package duckdb-extension-{extension.replace('_', '-')}=={version} is not installed.")
    return Path(spec.submodule_search_locations[0], "extensions", f"v{version}", f"{extension}.duckdb_extension")


def _create(location: Location) -> None:
    """Make a new lake, in such a way that nobody sees half of one."""
    with location.catalog.creating() as address:
        if address is None:
            return
        location.make_folders()
        with ExitStack() as undo:
            scratch = Scratch(location)
            undo.callback(scratch.remove)
            connection = undo.enter_context(_connect(location, scratch))
            connection.execute(location.attach_statement(address))
            records.create(lambda statement: connection.execute(statement).fetchall())
