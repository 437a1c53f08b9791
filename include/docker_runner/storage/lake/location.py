"""Where a lake is: its URI, its catalogue, and where its data lies."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from docker_runner.errors import UserError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.blobs import Contents, FolderContents, ObjectContents
from docker_runner.storage.lake.catalog import Catalog
from docker_runner.storage.lake.object_storage import ObjectStorage
from docker_runner.storage.lake.postgres_catalog import PostgresCatalog
from docker_runner.storage.lake.sqlite_catalog import SqliteCatalog

_SQLITE, _POSTGRES = "ducklake:sqlite:", "ducklake:postgres:"
_SUPPORTED = (
    "Supported are ducklake:sqlite:/folder/catalog.sqlite and ducklake:postgres:host=… dbname=…?data_path=…; "
    "data_path is a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix (with SQLite the "
    "catalogue's folder when it is not given)."
)
_SCRATCH_VARIABLE = "DOCKER_RUNNER_STORAGE_SCRATCH"


@dataclass(frozen=True)
class Location:
    """A lake.

    Attributes:
        catalog: what knows the tables.
        data: where tables and files lie: a folder or object storage.
        scratch: folder of what is only needed while a process works; always on this machine.
        movable: the data lies beside the catalogue, so both may be moved together.
    """

    catalog: Catalog
    data: Path | ObjectStorage
    scratch: Path
    movable: bool = False

    @property
    def tables(self) -> str:
        """Folder or URL of the tables' Parquet files."""
        return f"{self.data}/tables"

    @property
    def files(self) -> Contents:
        """The contents of stored files."""
        if isinstance(self.data, ObjectStorage):
            return ObjectContents(self.data)
        return FolderContents(self.data / "files")

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB's extensions that are needed."""
        more = self.data.extensions if isinstance(self.data, ObjectStorage) else ()
        return ("ducklake", self.catalog.extension, *more)

    @property
    def settings(self) -> tuple[str, ...]:
        """Statements to run before the lake is attached."""
        secret = (self.data.secret(),) if isinstance(self.data, ObjectStorage) else ()
        return (*self.catalog.settings, *secret)

    def make_folders(self) -> None:
        """Make the folders of a new lake."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        if isinstance(self.data, Path):
            for name in ("tables", "files"):
                (self.data / name).mkdir(parents=True, exist_ok=True)

    def catalog_files(self) -> list[str]:
        """Files that the catalogue consists of, if it does."""
        if not isinstance(self.catalog, SqliteCatalog):
            return []
        return [f"{self.catalog.path}{suffix}" for suffix in ("", "-wal", "-shm", "-journal")]

    def attach_statement(self, address: str | None = None, *, read_only: bool = False) -> str:
        """SQL that attaches the lake.

        Args:
            address: of another catalogue than the location's own, used while a lake is being made.
            read_only: nothing can be written.
        """
        # OVERRIDE_DATA_PATH: paths in the catalogue are relative, so a lake's folder may be moved. User data is never
        # kept in the catalogue (row limit 0): a catalogue is no place for megabytes of text.
        options = (
            f"DATA_PATH {sql.text(self.tables)}",
            "OVERRIDE_DATA_PATH true",
            "DATA_INLINING_ROW_LIMIT 0",
            *self.catalog.options,
            *(["READ_ONLY"] if read_only else []),
        )
        source = sql.text(f"ducklake:{address or self.catalog.address}")
        return f"ATTACH {source} AS {sql.LAKE} ({', '.join(options)})"


def parse_location(uri: str) -> Location:
    """Read a Storage URI.

    Raises:
        UserError: it is not the URI of a lake, or the environment lacks what is needed to use it.
    """
    prefix = next((prefix for prefix in (_SQLITE, _POSTGRES) if uri.startswith(prefix)), None)
    if prefix is None:
        # What stands before the first ':' is shown, not all of it: it may contain a password.
        raise UserError(f"{uri.partition(':')[0]!r}… is not the URI of a Storage. {_SUPPORTED}")
    address, _, query = uri.removeprefix(prefix).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    data_path = options.pop("data_path", "")
    if options:
        raise UserError(f"The URI of the Storage has an unknown option: {', '.join(sorted(options))}. {_SUPPORTED}")
    if prefix == _POSTGRES:
        return _postgres(address, data_path)
    return _sqlite(address, data_path)


def _sqlite(address: str, data_path: str) -> Location:
    if not address:
        raise UserError(f"The URI of the Storage names no catalogue file. {_SUPPORTED}")
    path = _folder(address)
    data = _data(data_path) if data_path else path.parent
    return Location(SqliteCatalog(path), data, path.parent / "scratch", movable=not data_path)


def _postgres(address: str, data_path: str) -> Location:
    if not data_path:
        raise UserError(
            f"The URI of the Storage needs a data_path that all machines can reach: a shared folder or object storage. "
            f"{_SUPPORTED}"
        )
    catalog = PostgresCatalog.parse(address)
    scratch = os.environ.get(_SCRATCH_VARIABLE) or f"{tempfile.gettempdir()}/docker-runner-storage-{os.getuid()}"
    return Location(catalog, _data(data_path), _folder(scratch))


def _data(path: str) -> Path | ObjectStorage:
    if "://" in path:
        return ObjectStorage.parse(path)
    return _folder(path)


def _folder(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if set("*?[") & set(str(path)):
        raise UserError(f"{text!r} cannot be part of the URI of a Storage: folders must not contain '*', '?' or '['.")
    return path
