"""A lake whose disk is full or read-only can still be read: from copies of its SQLite files elsewhere.

SQLite cannot even read a file where it cannot write its own small files beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from docker_runner.errors import StorageError
from docker_runner.storage.lake.catalog import Confirm
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.sqlite_catalog import SqliteCatalog

# What SQLite writes beside a file to read it.
_NEEDED_BYTES = 64 * 1024
_ATTEMPTS = 5


@dataclass(frozen=True)
class CatalogCopy(SqliteCatalog):
    """A catalogue as it was when it was copied; nothing can be written.

    Attributes:
        original: the catalogue's own file.
        reason: why that cannot be used.
    """

    original: Path
    reason: str

    def __str__(self) -> str:
        return str(self.original)

    @contextmanager
    def locked(self, names: Collection[str] | None) -> Iterator[Confirm]:  # noqa: ARG002
        """Refuse every writer."""
        raise StorageError(f"The Storage at {self.original} can only be read at the moment: {self.reason}.")
        yield


@dataclass(frozen=True)
class DatabaseCopy:
    """A SQLite file as it was when it was copied.

    Attributes:
        file: the copy.
        reason: why the original cannot be used.
        folder: to remove after use.
    """

    file: Path
    reason: str
    folder: TemporaryDirectory[str]


def readable_copy(location: Location) -> tuple[Location, TemporaryDirectory[str]] | None:
    """A lake to read from when nothing can be written beside the catalogue.

    Args:
        location: the lake.

    Returns:
        The lake with a copy of its catalogue, and the folder to remove after use; None when writing is possible.

    Raises:
        OSError, StorageError: as of :func:`copied_if_unwritable`.
    """
    catalog = location.catalog
    copy = copied_if_unwritable(catalog.path) if isinstance(catalog, SqliteCatalog) else None
    if copy is None:
        return None
    read_only = CatalogCopy(copy.file, Path(str(catalog)), copy.reason)
    return replace(location, catalog=read_only, scratch=Path(copy.folder.name, "scratch")), copy.folder


def copied_if_unwritable(database: Path) -> DatabaseCopy | None:
    """A copy of a SQLite file when nothing can be written beside it; None when it can, or there is no such file.

    Raises:
        OSError: the copy cannot be made either.
        StorageError: others write so much that no copy is sound.
    """
    reason = _reason(database.parent) if database.exists() else ""
    if not reason:
        return None
    folder = TemporaryDirectory(prefix="docker-runner-catalog-")
    copy = Path(folder.name, database.name)
    try:
        _copy(database, copy)
    except BaseException:
        folder.cleanup()
        raise
    return DatabaseCopy(copy, reason, folder)


def _reason(folder: Path) -> str:
    """Why nothing can be written to a folder; empty when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_NEEDED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{os.strerror(error.errno)} ({folder})" if error.errno else str(error)
    return ""


def _copy(source: Path, target: Path) -> None:
    """Copy a database with what is in its log and not yet in the file, between two writes."""
    for _ in range(_ATTEMPTS):
        before = _state(source)
        shutil.copyfile(source, target)
        log, copied_log = _log(source), _log(target)
        if log.exists():
            shutil.copyfile(log, copied_log)
        else:
            copied_log.unlink(missing_ok=True)
        if _state(source) == before:
            return
    raise StorageError(f"The Storage at {source} is being written to, and cannot be read beside that on a full disk.")


def _log(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _state(database: Path) -> list[tuple[int, int] | None]:
    """What changes with every write."""
    files = [path.stat() if path.exists() else None for path in (database, _log(database))]
    return [(found.st_size, found.st_mtime_ns) if found else None for found in files]
