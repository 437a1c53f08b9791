"""Staged Parquet files become a table's files as they are: many rows are written once, not twice.

They lack the time of the load, which is known only when it is the writer's turn. It stands in the name of their folder,
as in a Hive partition, from where DuckLake reads it for all of their rows.
"""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from docker_runner.storage.base import Table
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.names import TIMESTAMP_COLUMN


def adopt(connection: Connection, table: Table, files: Sequence[Path], now: datetime) -> list[Path]:
    """Add files to a table, inside the write transaction.

    Args:
        connection: the lake.
        table: a table with exactly the columns of the files; case does not matter.
        files: Parquet files. They stay where they are too: a transaction that was undone can be tried again.
        now: time of the load.

    Returns:
        The new files, to be removed if the transaction is undone; none if the table's files are not in a local folder,
        or if a column hides which folder that is. Nothing has happened then.
    """
    if not isinstance(connection.location.data, Path) or "filename" in map(str.lower, table.columns):
        return []
    moment = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    folder = _folder(connection, sql.table(table.id)) / f"{TIMESTAMP_COLUMN}={quote(moment, safe=' +')}"
    folder.mkdir(parents=True, exist_ok=True)
    # Where the clock is behind, a load that was killed may have left files in the folder of the same time.
    load = f"load-{uuid.uuid4()}"
    adopted = [folder / f"{load}-{number}.parquet" for number in range(len(files))]
    try:
        for file, target in zip(files, adopted, strict=True):
            _give(file, target)
        connection.run(
            f"CALL ducklake_add_data_files({sql.text(sql.LAKE)}, {sql.text(table.name)}, "
            f"{sql.text(f'{folder}/{load}-*.parquet')}, schema => {sql.text(table.bucket)}, hive_partitioning => true)"
        )
    except BaseException:
        remove(adopted)
        raise
    return adopted


def remove(files: Sequence[Path]) -> None:
    """Remove files that were not adopted after all, and their folder."""
    for file in files:
        file.unlink(missing_ok=True)
    with suppress(OSError):
        files[0].parent.rmdir()


def _folder(connection: Connection, table: str) -> Path:
    """The folder of a table's files; DuckLake tells only that of a file, also before the table is committed."""
    connection.run(f"INSERT INTO {table} ({TIMESTAMP_COLUMN}) VALUES (NULL)")  # as no row has it
    ((file,),) = connection.run(f"SELECT filename FROM {table} WHERE {TIMESTAMP_COLUMN} IS NULL")
    connection.run(f"DELETE FROM {table} WHERE {TIMESTAMP_COLUMN} IS NULL")
    return Path(str(file)).parent


def _give(file: Path, target: Path) -> None:
    """Let a file stand in a second place; it is copied where that is on another disk."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
