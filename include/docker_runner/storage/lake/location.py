"""Where a lake is: its URI, and what differs from catalogue to catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from docker_runner.errors import UserError
from docker_runner.storage.lake import sql

_PREFIX = "ducklake:sqlite:"
_SUPPORTED = "Supported is ducklake:sqlite:/folder/catalog.sqlite, optionally with ?data_path=/folder for the tables."


@dataclass(frozen=True)
class Location:
    """A lake with a SQLite catalogue and local folders."""

    catalog: Path
    tables: Path

    @property
    def files(self) -> Path:
        """Folder of the contents of stored files."""
        return self.catalog.parent / "files"

    @property
    def scratch(self) -> Path:
        """Folder of what is only needed while a process works."""
        return self.catalog.parent / "scratch"

    @property
    def lock(self) -> Path:
        """File that a writer locks: SQLite refuses a second writer instead of letting it wait."""
        return self.catalog.with_name(self.catalog.name + ".lock")

    def attach_statement(self, catalog: Path | None = None) -> str:
        """SQL that attaches the lake.

        Args:
            catalog: another catalogue file than the location's own, used while a lake is being made.
        """
        # OVERRIDE_DATA_PATH: paths in the catalogue are relative, so a lake's folder may be moved. User data is never
        # kept in the catalogue (row limit 0): SQLite is no place for megabytes of text.
        return (
            f"ATTACH {sql.text(f'ducklake:sqlite:{catalog or self.catalog}')} AS {sql.LAKE} ("
            f"DATA_PATH {sql.text(str(self.tables))}, OVERRIDE_DATA_PATH true, DATA_INLINING_ROW_LIMIT 0, "
            "META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 60000)"
        )


def parse_location(uri: str) -> Location:
    """Read a Storage URI.

    Raises:
        UserError: it is not the URI of a lake.
    """
    if not uri.startswith(_PREFIX):
        raise UserError(f"{uri!r} is not the URI of a Storage. {_SUPPORTED}")
    path, _, query = uri.removeprefix(_PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    data_path = options.pop("data_path", "")
    if not path or options:
        wrong = f"unknown option {', '.join(sorted(options))}" if options else "it names no catalogue file"
        raise UserError(f"{uri!r} is not the URI of a Storage: {wrong}. {_SUPPORTED}")
    catalog = Path(path).expanduser().absolute()
    tables = Path(data_path).expanduser().absolute() if data_path else catalog.parent / "tables"
    if set("*?[") & set(f"{catalog}{tables}"):
        raise UserError(f"{uri!r} cannot be the URI of a Storage: its folders must not contain '*', '?' or '['.")
    return Location(catalog=catalog, tables=tables)
