"""Input mapping of tables: from Storage into ``in/tables`` (section 6)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.errors import ApplicationError, ConfigurationError, TargetError, UserError
from docker_runner.interface.manifests import input_table_manifest, write_manifest
from docker_runner.mapping.branch_sources import branch_source, refuse_branch_buckets
from docker_runner.mapping.input_table_options import InputTable, input_table
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import Exported, Storage, Table


@dataclass(frozen=True)
class FoundTable:
    """A table that an item of the mapping means.

    Attributes:
        item: what is asked for.
        table: the table that is read, which in a branch may be the branch's own.
        changed_since: only rows that changed since then; for adaptive loads what the state remembers (IM-30).
    """

    item: InputTable
    table: Table
    changed_since: datetime | None


@dataclass(frozen=True)
class TableReader:
    """Reads tables for one row of a job.

    Attributes:
        storage: where the tables are.
        folder: ``in/tables`` of the data folder; must be empty.
        state: the stored state document, for adaptive loads (IM-30).
        extension: format of the manifests.
        branch: id of the development branch; empty in the default branch (BR-3).
        branch_buckets_allowed: buckets of development branches may be named (BR-9).
        schema_told: manifests of typed tables have a ``schema``.
        most_rows: no table has more rows, whatever an item asks for; None for any number (LC-65).
        max_bytes: size of the largest table that may be exported (IM-27).
        log: is told what was fetched (IM-38).
    """

    storage: Storage
    folder: Path
    state: Mapping[str, Any]
    max_bytes: int
    log: logging.Logger
    extension: str = "json"
    branch: str = ""
    branch_buckets_allowed: bool = False
    schema_told: bool = True
    most_rows: int | None = None

    def find(self, items: Sequence[Mapping[str, Any]]) -> list[FoundTable]:
        """Understand all items, find and measure their tables; nothing is read from them yet.

        Args:
            items: ``storage.input.tables`` with defaults filled in.

        Returns:
            One for each item.

        Raises:
            UserError: a mapping is wrong, or Storage refuses it; names the key (IM-39, LC-44).
        """
        now = datetime.now(UTC)
        wanted = [
            self._limited(input_table(item, key=f"storage.input.tables[{i}]", now=now)) for i, item in enumerate(items)
        ]
        if not wanted:
            return []
        if not self.branch_buckets_allowed:
            refuse_branch_buckets({f"{item.key}.source": item.source for item in wanted}, storage=self.storage)
        dates = self._last_import_dates(now) if any(item.adaptive for item in wanted) else {}
        tables = [self._table(item) for item in wanted]
        for item, table in zip(wanted, tables, strict=True):
            _refuse_unknown_columns(item, table)
            self._refuse_too_large(item, table)
        return [
            FoundTable(item, table, dates.get(table.id) if item.adaptive else item.changed_since)
            for item, table in zip(wanted, tables, strict=True)
        ]

    def _limited(self, item: InputTable) -> InputTable:
        if self.most_rows is None:
            return item
        return replace(item, limit=self.most_rows if item.limit is None else min(item.limit, self.most_rows))

    def load(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write the mapped tables and their manifests into the folder (IM-25..IM-39).

        All items are understood and all tables found and measured before the first one is written.

        Args:
            items: ``storage.input.tables`` with defaults filled in.

        Returns:
            For each item ``{source, destination, rows, bytes, columns, last_import_date}``: the table that was read,
            which in a branch may be the branch's own, and the date of its last import before the export (IM-31).

        Raises:
            UserError: as of :meth:`find`.
            ApplicationError: a file or manifest cannot be written.
        """
        found = self.find(items)
        if not found:
            return []
        done = [self._export(one) for one in found]
        for one, exported in zip(found, done, strict=True):
            self._describe(one.item, one.table, exported)
        self.log.info("All tables were fetched.")
        return [
            {
                "source": one.table.id,
                "destination": f"in/tables/{one.item.destination}",
                "rows": exported.rows,
                "bytes": exported.bytes,
                "columns": len(exported.columns),
                "last_import_date": one.table.last_import_date.isoformat(),
            }
            for one, exported in zip(found, done, strict=True)
        ]

    def _last_import_dates(self, now: datetime) -> dict[str, datetime]:
        """What the state remembers, by the table that a run in this branch reads (IM-30, BR-3)."""
        dates: dict[str, datetime] = {}
        for entry in self.state.get("storage", {}).get("input", {}).get("tables", []):
            key = f"lastImportDate of {entry['source']} in the state"
            date = moment(entry["lastImportDate"], now=now, key=key)
            if entry["source"].count(".") == 2:
                dates.setdefault(branch_source(entry["source"], branch=self.branch, storage=self.storage), date)
        return dates

    def _table(self, item: InputTable) -> Table:
        with _named(f"{item.key}.source"):
            source = branch_source(item.source, branch=self.branch, storage=self.storage, log=self.log)
            return self.storage.table(source)

    def _refuse_too_large(self, item: InputTable, table: Table) -> None:
        if table.bytes > self.max_bytes:
            raise ConfigurationError(
                f"The table {table.id} has {table.bytes} bytes; no table with more than {self.max_bytes} bytes is "
                "exported, whatever is filtered. The variable DOCKER_RUNNER_MAX_EXPORT_BYTES sets this limit.",
                key=f"{item.key}.source",
            )

    def _export(self, found: FoundTable) -> Exported:
        item = found.item
        with _named(item.key):
            try:
                return self.storage.export_table(
                    found.table.id,
                    self._target(item),
                    columns=item.columns,
                    where=item.where,
                    changed_since=found.changed_since,
                    limit=item.limit,
                    file_type=item.file_type,
                )
            except TargetError as error:
                # The folder is the runner's own: nothing that the mapping's author could change.
                raise ApplicationError(f"The table {found.table.id} cannot be written: {error}") from error

    def _target(self, item: InputTable) -> Path:
        """The file to write: a Parquet table is a folder of files, as components read ``<destination>/*.parquet``."""
        target = self.folder / item.destination
        part = target / "part-0.parquet"
        # What an earlier item wrote to the same place is overwritten (IM-35), also in the other format.
        if item.file_type == "parquet":
            if target.is_file():
                target.unlink()
            target.mkdir(exist_ok=True)
            return part
        if part.exists():
            shutil.rmtree(target)
        return target

    def _describe(self, item: InputTable, table: Table, exported: Exported) -> None:
        manifest = input_table_manifest(table, exported.columns, with_schema=self.schema_told)
        try:
            write_manifest(self.folder / item.destination, manifest, extension=self.extension)
        except OSError as error:
            raise ApplicationError(f"The manifest of {table.id} cannot be written: {error}") from error
        self.log.info(
            "Fetched table %s: %s rows, %s bytes -> in/tables/%s.",
            table.id,
            exported.rows,
            exported.bytes,
            item.destination,
        )


@contextmanager
def _named(key: str) -> Iterator[None]:
    """What Storage refuses is told with the key that asked for it (IM-39)."""
    try:
        yield
    except ConfigurationError:
        raise
    except UserError as error:
        raise ConfigurationError(f"This cannot be imported from Storage: {error}", key=key) from error


def _refuse_unknown_columns(item: InputTable, table: Table) -> None:
    """Columns and filters must name columns of the table (IM-33)."""
    for name, columns in (("columns", item.columns), ("where_column", (item.where.column,) if item.where else ())):
        unknown = [column for column in columns if column not in table.columns]
        if unknown:
            raise ConfigurationError(
                f"The table {table.id} has no column {', '.join(unknown)}; its columns are: "
                f"{', '.join(table.columns)}.",
                key=f"{item.key}.{name}",
            )


def table_states(loaded: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What the state remembers of every loaded table (IM-31)."""
    return [{"source": item["source"], "lastImportDate": item["last_import_date"]} for item in loaded]
