"""The structure of a table: made for its first load, fitted to later ones (OM-52, OM-60..OM-63, OM-72, OM-95)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from docker_runner.errors import UserError
from docker_runner.storage.base import BaseType, ColumnType, Table, TableLoad
from docker_runner.storage.lake import sql, types
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.conversion import Conversion
from docker_runner.storage.lake.filters import resolve_columns
from docker_runner.storage.lake.records import Run
from docker_runner.storage.lake.staging import has_duplicates
from docker_runner.storage.names import TIMESTAMP_COLUMN, sanitize_column

Types = Mapping[str, ColumnType]


def wanted_types(load: TableLoad, present: Table | None, columns: tuple[str, ...]) -> Types:
    """The types that a table's columns are to have after a load, empty for a table of texts.

    Args:
        load: what to do.
        present: the table as it is; None when it does not exist.
        columns: the columns of the CSV.

    Raises:
        UserError: a column is of another type already (OM-95), or its type or length makes no sense.
    """
    known = present.columns if present else ()
    names = (*known, *_others(columns, known))
    given = {sanitize_column(column).lower(): kind for column, kind in load.types.items()}
    unknown = given.keys() - {name.lower() for name in names}
    if unknown:
        raise UserError(f"Types are given for columns that are not there: {', '.join(sorted(unknown))}.")
    if not given and not (present and present.types):
        return {}
    before = present.types if present else {}
    kinds = {name: given.get(name.lower()) or before.get(name) or ColumnType(BaseType.STRING) for name in names}
    for name, kind in kinds.items():
        try:
            types.sql_type(kind)
        except UserError as error:
            raise UserError(f"The type of the column {name} is wrong. {error}") from None
    if present:
        _refuse_other_types(present, kinds)
    return kinds


def _refuse_other_types(present: Table, kinds: Types) -> None:
    others = [
        f"{name} is {before.value} and would become {kinds[name].base.value}"
        for name in present.columns
        if (before := types.column_type(present, name).base) is not kinds[name].base
    ]
    if others:
        raise UserError(
            f"The types of columns do not fit the table: {'; '.join(others)}. A column keeps its type: write to "
            "another table, or give the types that the table has."
        )


def _others(columns: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Columns that are not known; case does not matter."""
    lower = {column.lower() for column in known}
    return tuple(column for column in columns if column.lower() not in lower)


def keeps_null_values(load: TableLoad, present: Table | None) -> bool:
    """Whether a load keeps the texts that would be NULL: it makes the table from the header of its CSV (OM-53)."""
    return bool(load.null_values) and present is None and not load.columns


def conversion(
    load: TableLoad, present: Table | None, kinds: Types, key: tuple[str, ...], columns: tuple[str, ...]
) -> Conversion:
    """What a load makes of the texts of its CSV.

    Args:
        load: what to do.
        present: the table before the load; None when it did not exist.
        kinds: types of the table's columns.
        key: the table's primary key.
        columns: the columns of the CSV, by which the types and the key are named.
    """
    spelled = {name.lower(): kind for name, kind in kinds.items()}
    of_csv = {column: spelled[column.lower()] for column in columns if column.lower() in spelled}
    null_values = () if keeps_null_values(load, present) else load.null_values
    found = Conversion(of_csv, resolve_columns(key, columns), null_values)
    return found if found.changes_texts else Conversion()


def expected_conversion(load: TableLoad, present: Table | None, columns: tuple[str, ...]) -> Conversion:
    """What :func:`conversion` will be, if nobody changes the table until then and the key can be changed."""
    kinds = wanted_types(load, present, columns)
    if load.primary_key is None:
        key = present.primary_key if present else ()
    else:
        key = tuple(sanitize_column(column) for column in load.primary_key)
    missing = _others(key, columns)
    return conversion(load, present, kinds, tuple(column for column in key if column not in missing), columns)


def create_empty(run: Run, table: Table) -> None:
    """Make a table without rows."""
    definitions = ", ".join(
        f"{sql.name(column)} {types.sql_type(types.column_type(table, column))}" for column in table.columns
    )
    run(f"CREATE TABLE {sql.table(table.id)} ({definitions}, {TIMESTAMP_COLUMN} TIMESTAMPTZ)")


class Structure:
    """Makes or changes the structure of one table, inside the write transaction."""

    def __init__(self, connection: Connection, load: TableLoad, present: Table | None, *, now: datetime) -> None:
        """Describe the table.

        Args:
            connection: the lake, in its write transaction.
            load: the load that the table is to take.
            present: the table as it is; None when it does not exist.
            now: time of the load.
        """
        self._connection = connection
        self._run = connection.run
        self._load = load
        self._present = present
        self._now = now
        self._name = sql.table(load.table_id)
        self.warnings: list[str] = []

    def prepare(self, columns: tuple[str, ...]) -> Table:
        """Make a table that can take the columns of a CSV.

        Returns:
            The table as it is now, with the rows it had.

        Raises:
            UserError: the columns, their types or the key do not fit the table.
        """
        if self._present is None:
            return self._create(columns)
        self._refuse_missing(self._present, columns)
        kinds = wanted_types(self._load, self._present, columns)
        table = self._add_columns(self._present, columns, kinds)
        return self._change_key(self._change_types(table, kinds))

    def empty(self, table: Table) -> None:
        """Put a table without rows into the place of one."""
        self._run(f"DROP TABLE {self._name}")
        create_empty(self._run, table)

    def _create(self, columns: tuple[str, ...]) -> Table:
        wanted = tuple(sanitize_column(column) for column in self._load.primary_key or ())
        try:
            key = resolve_columns(wanted, columns)
        except UserError as error:
            raise UserError(f"The primary key does not fit the columns. {error}") from None
        if keeps_null_values(self._load, None):
            self.warnings.append(
                "The table is made from the header of the CSV: values are stored as they are, none of them as NULL."
            )
        now, kinds = self._now, wanted_types(self._load, None, columns)
        table = Table(self._load.table_id, columns, key, now, now, now, rows=0, bytes=0, types=kinds)
        self._run(f"CREATE SCHEMA IF NOT EXISTS {self._name.rpartition('.')[0]}")
        create_empty(self._run, table)
        return table

    def _refuse_missing(self, table: Table, columns: tuple[str, ...]) -> None:
        """Refuse a CSV that lacks some of the table's columns (OM-72, OM-95)."""
        missing = _others(table.columns, columns)
        if not missing:
            return
        expected, found = ", ".join(table.columns), ", ".join(columns)
        if self._load.from_schema:
            raise UserError(
                f"The schema does not fit the table: of the table's {len(table.columns)} columns {', '.join(missing)} "
                f"are missing in the schema, which has {len(columns)}. Expected are {expected}, found were {found}."
            )
        raise UserError(
            f"The columns {', '.join(missing)} are missing. Expected are {expected}, found were {found}. "
            f"Is the delimiter {self._load.delimiter!r} right?"
        )

    def _add_columns(self, table: Table, columns: tuple[str, ...], kinds: Types) -> Table:
        """Add the columns that only the CSV has (OM-60, D5)."""
        added = _others(columns, table.columns)
        for column in added:
            kind = kinds.get(column, ColumnType(BaseType.STRING))
            default = self._default(column, kind)
            if default is None and not kind.nullable and self._load.incremental and table.rows:
                raise UserError(
                    f"The column {column} is new and must not be NULL: give it a default for the {table.rows} rows "
                    "that are there already."
                )
            value = "" if default is None else f" DEFAULT {sql.text(default)}"
            self._run(f"ALTER TABLE {self._name} ADD COLUMN {sql.name(column)} {types.sql_type(kind)}{value}")
        new = {column: kinds[column] for column in added} if table.types else {}
        return replace(table, columns=table.columns + added, types={**table.types, **new})

    def _default(self, column: str, kind: ColumnType) -> str | None:
        """Text of the value that present rows get; texts are empty when nothing else is said."""
        if kind.default is None:
            return "" if kind.base is BaseType.STRING else None
        ((text,),) = self._run(
            f"SELECT {types.exported(types.parsed('text', kind))} FROM (SELECT ? AS text)", [kind.default]
        )
        if text is None:
            raise UserError(f"The default {kind.default!r} of the column {column} is no {types.expectation(kind)}.")
        return str(text)

    def _change_types(self, table: Table, kinds: Types) -> Table:
        """Change lengths and whether columns may be NULL; their base types stay (OM-95)."""
        if not kinds:
            return table
        other = [column for column in table.columns if types.column_type(table, column) != kinds[column]]
        if self._load.incremental:  # otherwise the rows go anyway
            for column in other:
                self._refuse_unfit_rows(column, types.column_type(table, column), kinds[column])
        changed = replace(table, types=kinds)
        if any(types.sql_type(types.column_type(table, column)) != types.sql_type(kinds[column]) for column in other):
            self._rebuild(changed)
        return changed

    def _refuse_unfit_rows(self, column: str, before: ColumnType, after: ColumnType) -> None:
        name, longest = sql.name(column), types.max_characters(after)
        tests = [] if after.nullable else [f"{name} IS NULL"]
        if longest is not None:
            tests.append(f"length({name}) > {longest}")
        if types.sql_type(before) != types.sql_type(after):
            tests.append(f"TRY_CAST({name} AS {types.sql_type(after)}) IS DISTINCT FROM {name}")
        unfit = tests and self._connection.count(f"SELECT count(*) FROM {self._name} WHERE {' OR '.join(tests)}")
        if unfit:
            nothing = "" if after.nullable else ", not NULL"
            raise UserError(
                f"The column {column} cannot be changed to {types.expectation(after)}{nothing}; {unfit} of the table's "
                "rows have other values."
            )

    def _rebuild(self, table: Table) -> None:
        """Make the table anew with the types it is to have; rows keep the times of their changes."""
        if not self._load.incremental:
            self.empty(table)
            return
        rows = sql.text(str(self._connection.scratch.new_file(".parquet")))
        values = ", ".join(
            f"CAST({sql.name(column)} AS {types.sql_type(types.column_type(table, column))}) AS {sql.name(column)}"
            for column in table.columns
        )
        self._run(
            f"COPY (SELECT {values}, {TIMESTAMP_COLUMN} FROM {self._name}) TO {rows} "
            "(FORMAT parquet, ROW_GROUP_SIZE_BYTES 33554432)"
        )
        self.empty(table)
        columns = sql.names((*table.columns, TIMESTAMP_COLUMN))
        self._run(f"INSERT INTO {self._name} ({columns}) SELECT {columns} FROM read_parquet({rows})")

    def _change_key(self, table: Table) -> Table:
        """Change the primary key, or keep it with a warning when the rows or columns do not allow it (OM-62).

        Raises:
            UserError: it is not possible and comes from a schema.
        """
        if self._load.primary_key is None:
            return table
        wanted = tuple(sanitize_column(column) for column in self._load.primary_key)
        if {column.lower() for column in wanted} == {column.lower() for column in table.primary_key}:
            return table
        before, after = (f"[{', '.join(key)}]" for key in (table.primary_key, wanted))
        self.warnings.append(f"Modifying the primary key of {table.id} from {before} to {after}.")
        try:
            key = resolve_columns(wanted, table.columns)
            if key and not self._is_unique(key):
                raise UserError("Several rows have the same values in these columns, or none.")
        except UserError as error:
            problem = f"The primary key of {table.id} stays {before}: {after} is not possible. {error}"
            if self._load.from_schema:
                raise UserError(problem) from None
            self.warnings.append(problem)
            return table
        return replace(table, primary_key=key)

    def _is_unique(self, key: tuple[str, ...]) -> bool:
        empty = " OR ".join(f"{sql.name(column)} IS NULL" for column in key)
        if self._run(f"SELECT 1 FROM {self._name} WHERE {empty} LIMIT 1"):
            return False
        return not has_duplicates(self._connection, self._name, key)
