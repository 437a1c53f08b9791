"""One staged table into its table: structure, delete rules, rows (OM-50..OM-63)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.storage.base import DeleteWhere, LoadedTable, Table, TableLoad
from docker_runner.storage.lake import adoption, sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.documents import merge_metadata
from docker_runner.storage.lake.filters import resolve_columns, where_condition
from docker_runner.storage.lake.import_dates import next_import_date
from docker_runner.storage.lake.records import Run
from docker_runner.storage.lake.staging import StagedTable
from docker_runner.storage.lake.structure import Structure, conversion
from docker_runner.storage.names import TIMESTAMP_COLUMN, sanitize_column

_MANY_ROWS = 1_000_000
# DuckLake gathers 122,880 rows before it writes any: rows of megabytes would not fit into the memory.
_MANY_BYTES = 64_000_000


class TableWriter:
    """Loads into one table, inside the write transaction."""

    def __init__(self, connection: Connection, load: TableLoad, present: Table | None, *, is_only: bool) -> None:
        """Describe a load.

        Args:
            connection: the lake, in its write transaction.
            load: what to do.
            present: the table as it is; None when it does not exist.
            is_only: the transaction has no other load of this table.
        """
        self._connection = connection
        self._is_only = is_only
        self._run = connection.run
        self._load = load
        self._name = sql.table(load.table_id)
        self._present = present
        self._now = next_import_date(connection.run, load.table_id, present)
        self._structure = Structure(connection, load, present, now=self._now)
        self._adopted: list[Path] = []

    def withdraw(self) -> None:
        """Remove the files that :meth:`write` has put into the lake; the transaction was not committed."""
        if self._adopted:
            adoption.remove(self._adopted)

    def write(self, staged: StagedTable) -> tuple[Table, LoadedTable]:
        """Make the rows of the load visible to this transaction.

        Returns:
            The table as it is now, and what was done.

        Raises:
            UserError: the columns, the key or a delete rule do not fit the table.
        """
        self._connection.limit_threads(len(staged.columns))
        table = self._structure.prepare(staged.columns)
        staged.convert(conversion(self._load, self._present, table.types, table.primary_key, staged.columns))
        if self._load.deduplicate:
            staged.make_unique(resolve_columns(table.primary_key, staged.columns))
        changed = self._delete_rows(table) if self._present else 0
        changed += self._merge(table, staged) if self._load.incremental else self._replace(table, staged)
        rows = self._connection.count(f"SELECT count(*) FROM {self._name}")
        table = self._describe(replace(table, rows=rows, last_import_date=self._now), changed=changed > 0)
        loaded = LoadedTable(
            table_id=table.id,
            rows=staged.rows,
            table_rows=rows,
            columns=table.columns,
            created=self._present is None,
            warnings=(*staged.warnings, *self._structure.warnings),
        )
        return table, loaded

    def _delete_rows(self, table: Table) -> int:
        """Run the delete rules (OM-55, OM-57)."""
        deleted = 0
        for rule in self._load.delete_where:
            try:
                conditions = _delete_conditions(self._run, rule, table)
            except UserError as error:
                raise UserError(f"A delete rule does not fit the table. {error}") from None
            deleted += self._connection.count(f"DELETE FROM {self._name} WHERE {' AND '.join(conditions)}")
        return deleted

    def _replace(self, table: Table, staged: StagedTable) -> int:
        if self._present and table.rows > _MANY_ROWS:
            # Deleting so many rows takes time and memory. A new table in its place takes none, but lets every open
            # lake read all its tables' structures again.
            self._structure.empty(table)
        elif self._present:
            self._run(f"DELETE FROM {self._name}")
        return table.rows + self._append(table, staged)

    def _append(self, table: Table, staged: StagedTable) -> int:
        if not staged.rows:
            return 0
        # DuckLake cannot drop a table in the transaction that has adopted files for it.
        is_large = staged.rows >= _MANY_ROWS or staged.file_bytes() >= _MANY_BYTES
        if self._is_only and is_large and staged.files:
            self._adopted = adoption.adopt(self._connection, table, staged.files, self._now)
            if self._adopted:
                return staged.rows
        columns = sql.names((*table.columns, TIMESTAMP_COLUMN))
        return self._connection.count(f"INSERT INTO {self._name} ({columns}) {self._rows(table, staged)}")

    def _merge(self, table: Table, staged: StagedTable) -> int:
        """Add rows, and with a primary key update those that are there and differ (OM-54, D4).

        Without deduplication all rows are added (OM-18). The primary key is then only a remark of which columns were
        meant to tell rows apart; a later load that does deduplicate updates every row of a key.
        """
        if not table.primary_key or not self._present or not self._load.deduplicate:
            return self._append(table, staged)
        if not staged.rows:
            return 0
        same = " AND ".join(f"t.{sql.name(column)} = s.{sql.name(column)}" for column in table.primary_key)
        others = [column for column in table.columns if column not in table.primary_key]
        update = ""
        if others:
            sets = ", ".join(f"{sql.name(column)} = s.{sql.name(column)}" for column in (*others, TIMESTAMP_COLUMN))
            differ = " OR ".join(f"t.{sql.name(column)} IS DISTINCT FROM s.{sql.name(column)}" for column in others)
            update = f"WHEN MATCHED AND ({differ}) THEN UPDATE SET {sets} "
        columns = (*table.columns, TIMESTAMP_COLUMN)
        return self._connection.count(
            f"MERGE INTO {self._name} AS t USING ({self._rows(table, staged)}) AS s ON {same} {update}"
            f"WHEN NOT MATCHED THEN INSERT ({sql.names(columns)}) VALUES ({sql.names(columns, 's.')})"
        )

    def _rows(self, table: Table, staged: StagedTable) -> str:
        """SQL that selects the staged rows with the table's columns."""
        return f"SELECT {sql.names(table.columns)}, {sql.time(self._now)} AS {TIMESTAMP_COLUMN} FROM {staged.relation}"

    def _describe(self, table: Table, *, changed: bool) -> Table:
        """Set metadata and, when rows changed, the time of it (OM-82, OM-83)."""
        entries = (table.metadata, *table.column_metadata.values())
        last_id = max((item.id or 0 for items in entries for item in items), default=0)
        created = () if self._present else self._load.created_metadata
        metadata = merge_metadata(table.metadata, (*created, *self._load.metadata), now=self._now, last_id=last_id)
        last_id += len(metadata) - len(table.metadata)
        column_metadata = dict(table.column_metadata)
        for written, items in self._load.column_metadata.items():
            try:
                (column,) = resolve_columns((sanitize_column(written),), table.columns)
            except UserError as error:
                raise UserError(f"column_metadata does not fit the table. {error}") from None
            before = column_metadata.get(column, ())
            column_metadata[column] = merge_metadata(before, items, now=self._now, last_id=last_id)
            last_id += len(column_metadata[column]) - len(before)
        return replace(
            table,
            last_change_date=self._now if changed else table.last_change_date,
            metadata=metadata,
            column_metadata=column_metadata,
        )


def _delete_conditions(run: Run, rule: DeleteWhere, table: Table) -> list[str]:
    conditions = [where_condition(run, where, table) for where in rule.filters]
    if rule.changed_since:
        conditions.append(f"{TIMESTAMP_COLUMN} >= {sql.time(rule.changed_since)}")
    if rule.changed_until:
        conditions.append(f"{TIMESTAMP_COLUMN} < {sql.time(rule.changed_until)}")
    if not conditions:
        raise UserError("It has no condition at all and would delete every row.")
    return conditions
