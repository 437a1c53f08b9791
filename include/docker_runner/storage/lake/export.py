"""Table -> CSV or Parquet (IM-15, IM-29..IM-37)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.storage.base import Exported, Table, Where
from docker_runner.storage.lake import sql, types
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.filters import resolve_columns, where_condition
from docker_runner.storage.names import TIMESTAMP_COLUMN
from docker_runner.written_whole import written_file

_FORMATS = {
    "csv": "FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"', FORCE_QUOTE *, COMPRESSION none",
    # Row groups are bounded in bytes: rows may hold megabytes each.
    "parquet": "FORMAT parquet, ROW_GROUP_SIZE_BYTES 33554432",
}


def export(
    connection: Connection,
    table: Table,
    target: Path,
    *,
    columns: Sequence[str],
    where: Where | None,
    changed_since: datetime | None,
    limit: int | None,
    file_type: str,
    snapshot: int | None = None,
) -> Exported:
    """Write a table's rows, as they are or as they were in an earlier snapshot; the target appears when it is complete.

    Raises:
        UserError: a column does not exist or is named twice, the limit is negative, the file type is unknown, or the
            target cannot be written.
    """
    if file_type not in _FORMATS:
        raise UserError(f"Tables are given as {' or '.join(_FORMATS)}, not as {file_type!r}.")
    chosen = resolve_columns(tuple(columns), table.columns) or table.columns
    if len(set(chosen)) < len(chosen):
        raise UserError(f"A column can be exported once only: {', '.join(columns)}.")
    if limit is not None and limit < 0:
        raise UserError(f"The limit must be 0 or more, not {limit}.")
    conditions = []
    if where:
        conditions.append(where_condition(connection.run, where, table))
    if changed_since:
        # After, not at: a row carries the time of the load that changed it, which was the table's last import date.
        # Each load of a table has a later time than the one before, to the microsecond. So an export since a last
        # import date gives exactly what later loads changed, if that date was kept with its microseconds (IM-30).
        conditions.append(f"{TIMESTAMP_COLUMN} > {sql.time(changed_since)}")
    query = (
        f"SELECT {', '.join(_field(column, file_type) for column in chosen)} FROM {sql.table(table.id)}"
        + (f" AT (VERSION => {snapshot})" if snapshot is not None else "")
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + (f" {sql.limit(limit)}" if limit is not None else "")
    )
    with written_file(target) as part:
        rows = connection.count(f"COPY ({query}) TO {sql.text(str(part))} ({_FORMATS[file_type]}, USE_TMP_FILE false)")
        size = part.stat().st_size
    return Exported(columns=chosen, rows=rows, bytes=size)


def _field(column: str, file_type: str) -> str:
    """SQL of a field: in a CSV all are texts, and NULL is the empty one (IM-36)."""
    name = sql.name(column)
    return name if file_type == "parquet" else f"coalesce({types.exported(name)}, '') AS {name}"
