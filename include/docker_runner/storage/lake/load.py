"""One staged table into its table: structure, delete rules, rows (OM-50..OM-63, OM-72)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from docker_runner.errors import UserError
from docker_runner.storage.base import DeleteWhere, LoadedTable, Operator, Table, TableLoad, Where
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.documents import merge_metadata
from docker_runner.storage.lake.staging import StagedTable, has_duplicates
from docker_runner.storage.names import TIMESTAMP_COLUMN, sanitize_column

_MANY_ROWS = 1_000_000


def where_condition(where: Where, columns: tuple[str, ...]) -> str:
    """SQL of a filter (OM-57, IM-32).

    Raises:
        UserError: the column does not exist.
    """
    column = resolve_columns((where.column,), columns)[0]
    if not where.values:
        return "false" if where.operator is Operator.EQ else "true"
    negation = "" if where.operator is Operator.EQ else "NOT "
    return f"{sql.name(column)} {negation}IN ({sql.texts(where.values)})"


def resolve_columns(wanted: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Wanted columns as the table spells them; case does not matter.

    Raises:
        UserError: some do not exist.
    """
    spelled = {column.lower(): column for column in columns}
    unknown = [column for column in wanted if column.lower() not in spelled]
    if unknown:
        raise UserError(f"There is no column {', '.join(unknown)}. The table has: {', '.join(columns)}.")
    return tuple(spelled[column.lower()] for column in wanted)


class TableWriter:
    """Loads into one table, inside the write transaction."""

    def __init__(self, connection: Connection, load: TableLoad, present: Table | None) -> None:
        """Describe a load.

        Args:
            connection: the lake, in its write transaction.
            load: what to do.
            present: the table as it is; None when it does not exist.
        """
        self._connection = connection
        self._run = connection.run
        self._load = load
        self._name = sql.table(load.table_id)
        self._present = present
        self._warnings: list[str] = []
        self._now = datetime.now(UTC)
        if present:
            # Later than every load before, whatever the clock says: exports since a load must find the next (IM-30).
            self._now = max(self._now, present.last_import_date + timedelta(microseconds=1))

    def write(self, staged: StagedTable) -> tuple[Table, LoadedTable]:
        """Make the rows of the load visible to this transaction.

        Returns:
            The table as it is now, and what was done.

        Raises:
            UserError: the columns, the key or a delete rule do not fit the table.
        """
        self._connection.limit_threads(len(staged.columns))
        table = self._present or self._create(staged)
        if self._present:
            table = self._add_columns(table, staged)
            table = self._change_key(table)
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
            warnings=(*staged.warnings, *self._warnings),
        )
        return table, loaded

    def _create(self, staged: StagedTable) -> Table:
        columns = staged.columns
        wanted = tuple(sanitize_column(column) for column in self._load.primary_key or ())
        try:
            key = resolve_columns(wanted, columns)
        except UserError as error:
            raise UserError(f"The primary key does not fit the columns. {error}") from None
        self._run(f"CREATE SCHEMA IF NOT EXISTS {self._name.rpartition('.')[0]}")
        self._create_empty(columns)
        return Table(self._load.table_id, columns, key, self._now, self._now, self._now, rows=0, bytes=0)

    def _create_empty(self, columns: tuple[str, ...]) -> None:
        definitions = ", ".join(f"{sql.name(column)} VARCHAR" for column in columns)
        self._run(f"CREATE TABLE {self._name} ({definitions}, {TIMESTAMP_COLUMN} TIMESTAMPTZ)")

    def _add_columns(self, table: Table, staged: StagedTable) -> Table:
        """Add the columns that only the CSV has; refuse a CSV that lacks some of the table's (OM-60, OM-72, D5)."""
        given = {column.lower() for column in staged.columns}
        missing = [column for column in table.columns if column.lower() not in given]
        if missing:
            raise UserError(
                f"The columns {', '.join(missing)} are missing. Expected are {', '.join(table.columns)}, found were "
                f"{', '.join(staged.columns)}. Is the delimiter {self._load.delimiter!r} right?"
            )
        known = {column.lower() for column in table.columns}
        added = tuple(column for column in staged.columns if column.lower() not in known)
        for column in added:
            self._run(f"ALTER TABLE {self._name} ADD COLUMN {sql.name(column)} VARCHAR DEFAULT ''")
        return replace(table, columns=table.columns + added)

    def _change_key(self, table: Table) -> Table:
        """Change the primary key, or keep it with a warning when the rows or columns do not allow it (OM-62)."""
        if self._load.primary_key is None:
            return table
        wanted = tuple(sanitize_column(column) for column in self._load.primary_key)
        if {column.lower() for column in wanted} == {column.lower() for column in table.primary_key}:
            return table
        before, after = (f"[{', '.join(key)}]" for key in (table.primary_key, wanted))
        self._warnings.append(f"Modifying the primary key of {table.id} from {before} to {after}.")
        try:
            key = resolve_columns(wanted, table.columns)
            if key and has_duplicates(self._connection, self._name, key):
                raise UserError("Several rows have the same values in these columns.")
        except UserError as error:
            self._warnings.append(f"The primary key of {table.id} stays {before}: {after} is not possible. {error}")
            return table
        return replace(table, primary_key=key)

    def _delete_rows(self, table: Table) -> int:
        """Run the delete rules (OM-55, OM-57)."""
        deleted = 0
        for rule in self._load.delete_where:
            try:
                conditions = _delete_conditions(rule, table.columns)
            except UserError as error:
                raise UserError(f"A delete rule does not fit the table. {error}") from None
            deleted += self._connection.count(f"DELETE FROM {self._name} WHERE {' AND '.join(conditions)}")
        return deleted

    def _replace(self, table: Table, staged: StagedTable) -> int:
        if self._present and table.rows > _MANY_ROWS:
            # Deleting so many rows takes time and memory. A new table in its place takes none, but lets every open
            # lake read all its tables' structures again.
            self._run(f"DROP TABLE {self._name}")
            self._create_empty(table.columns)
        elif self._present:
            self._run(f"DELETE FROM {self._name}")
        return table.rows + self._append(table, staged)

    def _append(self, table: Table, staged: StagedTable) -> int:
        if not staged.rows:
            return 0
        columns = sql.names((*table.columns, TIMESTAMP_COLUMN))
        return self._connection.count(f"INSERT INTO {self._name} ({columns}) {self._rows(table, staged)}")

    def _merge(self, table: Table, staged: StagedTable) -> int:
        """Add rows, and with a primary key update those that are there and differ (OM-54, D4)."""
        if not table.primary_key or not self._present:
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


def _delete_conditions(rule: DeleteWhere, columns: tuple[str, ...]) -> list[str]:
    conditions = [where_condition(where, columns) for where in rule.filters]
    if rule.changed_since:
        conditions.append(f"{TIMESTAMP_COLUMN} >= {sql.time(rule.changed_since)}")
    if rule.changed_until:
        conditions.append(f"{TIMESTAMP_COLUMN} < {sql.time(rule.changed_until)}")
    if not conditions:
        raise UserError("It has no condition at all and would delete every row.")
    return conditions
