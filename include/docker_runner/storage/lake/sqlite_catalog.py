"""The catalogue as a SQLite file, for all processes of one machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker_runner.errors import StorageError
from docker_runner.storage.lake.catalog import LOCK_TIMEOUT_SECONDS, Confirm


@dataclass(frozen=True)
class SqliteCatalog:
    """A catalogue in a file."""

    path: Path

    extension = "sqlite_scanner"
    settings = ()
    options = ("META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 60000")

    def __str__(self) -> str:
        return str(self.path)

    @property
    def address(self) -> str:
        """What DuckDB attaches."""
        return f"sqlite:{self.path}"

    def exists(self) -> bool:
        """Whether there is a lake."""
        return self.path.exists()

    @contextmanager
    def creating(self) -> Iterator[str | None]:
        """Make a new lake under another name and move it into place, so that nobody sees half of one."""
        with self.locked(None):
            if self.exists():
                yield None  # another process was faster
                return
            unfinished = self.path.with_name(self.path.name + ".new")
            for leftover in unfinished.parent.glob(unfinished.name + "*"):
                leftover.unlink()
            yield f"sqlite:{unfinished}"
            unfinished.rename(self.path)

    def wait_for_commits(self) -> None:
        """Nothing: a commit is made by the process itself."""

    @contextmanager
    def locked(self, names: Collection[str] | None) -> Iterator[Confirm]:  # noqa: ARG002
        """Keep all other writers out, whatever they write: SQLite takes one at a time and refuses the others.

        The kernel takes the lock away from a process that ends in any way.
        """
        from filelock import FileLock, Timeout

        lock = self.path.with_name(self.path.name + ".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=LOCK_TIMEOUT_SECONDS, poll_interval=0.01):
                yield lambda: None
        except Timeout as error:
            raise StorageError(
                f"Another process has been writing to the Storage for {LOCK_TIMEOUT_SECONDS} s; it holds {lock}."
            ) from error
