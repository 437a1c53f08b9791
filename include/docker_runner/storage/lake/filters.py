"""Columns and rows that are named by their values (OM-57, IM-32)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from docker_runner.errors import UserError
from docker_runner.storage.base import BaseType, ColumnType, Operator, Table, Where
from docker_runner.storage.lake import sql, types
from docker_runner.storage.lake.records import Run


def where_condition(run: Run, where: Where, table: Table) -> str:
    """SQL of a filter.

    Values are texts, as everywhere outside of the lake. They are read as the column's type reads the texts of a CSV, so
    ``1.0`` finds the INTEGER 1; a text that is no value of the type equals no row. NULL is the empty text, as in
    exports.

    Raises:
        UserError: the column does not exist.
    """
    (column,) = resolve_columns((where.column,), table.columns)
    name, kind = sql.name(column), types.column_type(table, column)
    values = _literals(run, where.values, kind)
    condition = f"{name} IN ({', '.join(values)})" if values else "false"
    if "" in where.values:
        condition = f"({condition} OR {name} IS NULL)"
    return condition if where.operator is Operator.EQ else f"NOT coalesce({condition}, false)"


def _literals(run: Run, values: tuple[str, ...], kind: ColumnType) -> list[str]:
    if kind.base is BaseType.STRING:
        return [sql.text(value) for value in values]
    text = types.exported(types.parsed("value", kind))
    found = run(f"SELECT DISTINCT {text} FROM (SELECT unnest(?) AS value) WHERE {text} IS NOT NULL", [list(values)])
    return [types.literal(str(row[0]), kind) for row in found]


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
