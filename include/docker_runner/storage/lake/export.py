"""Table -> CSV (IM-29..IM-37)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.storage.base import Exported, Table, Where
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.load import resolve_columns, where_condition
from docker_runner.storage.names import TIMESTAMP_COLUMN


def export(
    connection: Connection,
    table: Table,
    target: Path,
    *,
    columns: Sequence[str],
    where: Where | None,
    changed_since: datetime | None,
    limit: int | None,
) -> Exported:
    """Write a table's rows; the target appears when it is complete.

    Raises:
        UserError: a column does not exist or is named twice, or the limit is negative.
    """
    chosen = resolve_columns(tuple(columns), table.columns) or table.columns
    if len(set(chosen)) < len(chosen):
        raise UserError(f"A column can be exported once only: {', '.join(columns)}.")
    if limit is not None and limit < 0:
        raise UserError(f"The limit must be 0 or more, not {limit}.")
    conditions = []
    if where:
        conditions.append(where_condition(where, table.columns))
    if changed_since:
        # After, not at: a row carries the time of the load that changed it, which was the table's last import date.
        # Each load of a table has a later time than the one before, to the microsecond. So an export since a last
        # import date gives exactly what later loads changed, if that date was kept with its microseconds (IM-30).
        conditions.append(f"{TIMESTAMP_COLUMN} > {sql.time(changed_since)}")
    fields = ", ".join(f"coalesce({sql.name(column)}, '') AS {sql.name(column)}" for column in chosen)
    query = (
        f"SELECT {fields} FROM {sql.table(table.id)}"
        + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        + (f" LIMIT {limit}" if limit is not None else "")
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        rows = connection.count(
            f"COPY ({query}) TO {sql.text(str(part))} (FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"', "
            "FORCE_QUOTE *, COMPRESSION none, USE_TMP_FILE false)"
        )
        size = part.stat().st_size
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Exported(columns=chosen, rows=rows, bytes=size)
