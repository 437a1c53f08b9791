"""Fewer and larger files for a table, a little at a time while others read and write.

Every load leaves a file or more, and every update marks rows of older files as gone. The rows of small files move to a
new one in the way any load would do it, and DuckLake writes files anew of which much is gone. The new files are there
from one snapshot on, the old ones until then: earlier snapshots go on showing what they showed, and readers see all
rows once, whenever they began.

DuckLake's merging of files would leave no trace of the old ones in the catalogue, but is not safe beside readers when
the catalogue is SQLite: they read it in several steps, and miss rows whose file was exchanged in between.
"""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from docker_runner.storage.lake import lock_names, sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.names import split_table_id

# What one step reads at most: a second or two of work, for which other writers of the table wait.
_BYTES_AT_ONCE = 64_000_000
_FILES_AT_ONCE = 200
_ROWS_AT_ONCE = 1_000_000

# A file is not read again and again only to add little to it: the others must have a third of its size together. So a
# table has few files, and each row moves a few times in its life.
_GROWTH = 3
_MANY_DELETED = 0.3

# Longer than writers take to see that the lock is free.
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class _DataFile:
    """A data file: its path, and how much is in it; ``deleted`` of its ``rows`` are gone."""

    path: str
    size_bytes: int
    rows: int
    deleted: int

    @property
    def live_bytes(self) -> float:
        """Size of what is left."""
        return self.size_bytes * (1 - self.deleted / self.rows)


def compact(connection: Connection, table_id: str) -> int:
    """Move the rows of small files to larger ones, and write files anew of which much is gone.

    A table with a column ``filename`` is compacted only while it is small: the column hides in which file a row is.

    Returns:
        By how many the table has fewer files.
    """
    before = len(_data_files(connection, table_id))
    for _ in range(before):  # writers may add files as fast as this; the next time is soon enough for those
        if not (_worth_moving(connection, table_id) or _emptied(connection, table_id)):
            break
        with connection.locked(lock_names.table(table_id)) as confirm:
            if files := _worth_moving(connection, table_id):
                with connection.transaction(before_commit=confirm):
                    _move(connection, table_id, files)
            elif files := _emptied(connection, table_id):
                with connection.transaction(before_commit=confirm):
                    _rewrite(connection, table_id, files)
        connection.scratch.clear()
        let_others_write()
    return before - len(_data_files(connection, table_id))


def let_others_write() -> None:
    """Let writers who wait have the lock, before it is taken again."""
    time.sleep(_PAUSE_SECONDS)


def _move(connection: Connection, table_id: str, files: Sequence[_DataFile]) -> None:
    """Move the rows of some files to a new one, in the transaction at hand."""
    name = sql.table(table_id)
    condition = f"filename IN ({sql.texts(file.path for file in files)})" if _shows_files(connection, name) else "true"
    rows = sql.text(str(connection.scratch.new_file(".parquet")))
    connection.run(
        f"COPY (SELECT * FROM {name} WHERE {condition}) TO {rows} (FORMAT parquet, ROW_GROUP_SIZE_BYTES 33554432)"
    )
    connection.run(f"DELETE FROM {name} WHERE {condition}")
    connection.run(f"INSERT INTO {name} SELECT * FROM read_parquet({rows})")


def _rewrite(connection: Connection, table_id: str, files: Sequence[_DataFile]) -> None:
    """Write files anew without their deleted rows, and all others of which as much is gone."""
    least = min(file.deleted / file.rows for file in files)
    connection.run(f"CALL ducklake_rewrite_data_files({_arguments(table_id)}, delete_threshold => {least * 0.999:.9f})")


def _worth_moving(connection: Connection, table_id: str) -> list[_DataFile]:
    """The smallest files that make one better file."""
    files = _data_files(connection, table_id)
    chosen = _batch([file for file in files if file.live_bytes < _BYTES_AT_ONCE])
    small = _small(chosen)
    if len(small) > 1 and not _shows_files(connection, sql.table(table_id)):
        return chosen if len(chosen) == len(files) else []
    return small if len(small) > 1 else []


def _emptied(connection: Connection, table_id: str) -> list[_DataFile]:
    """Files of which much is gone, those first of which most is gone."""
    files = [file for file in _data_files(connection, table_id) if file.deleted >= _MANY_DELETED * file.rows]
    return _batch(sorted(files, key=lambda file: file.live_bytes / file.size_bytes))


def _small(files: Sequence[_DataFile]) -> list[_DataFile]:
    """Files without those that are much larger than the others together."""
    chosen = list(files)
    total = sum(file.live_bytes for file in chosen)
    while chosen and chosen[-1].live_bytes > _GROWTH * (total - chosen[-1].live_bytes):
        total -= chosen.pop().live_bytes
    return chosen


def _batch(files: Sequence[_DataFile]) -> list[_DataFile]:
    """The first files, as many as one step may read; one, if there is one."""
    chosen: list[_DataFile] = []
    size, rows = 0.0, 0
    for file in files:
        size, rows = size + file.live_bytes, rows + file.rows - file.deleted
        if chosen and (size > _BYTES_AT_ONCE or rows > _ROWS_AT_ONCE or len(chosen) == _FILES_AT_ONCE):
            break
        chosen.append(file)
    return chosen


def _shows_files(connection: Connection, name: str) -> bool:
    return ("filename",) not in connection.run(f"SELECT lower(column_name) FROM (DESCRIBE {name})")


def _arguments(table_id: str) -> str:
    """The first arguments of DuckLake's functions for a table."""
    bucket, name = split_table_id(table_id)
    return f"{sql.text(sql.LAKE)}, {sql.text(name)}, schema => {sql.text(bucket)}"


def _data_files(connection: Connection, table_id: str) -> list[_DataFile]:
    """The files of a table as it is now, by size."""
    rows = connection.run(
        f"SELECT l.data_file, f.file_size_bytes::BIGINT, f.record_count::BIGINT, coalesce(d.delete_count, 0)::BIGINT "
        f"FROM ducklake_list_files({_arguments(table_id)}) AS l "
        f"JOIN {sql.CATALOG}.ducklake_data_file AS f ON parse_filename(l.data_file) = parse_filename(f.path) "
        f"LEFT JOIN {sql.CATALOG}.ducklake_delete_file AS d "
        "ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL WHERE f.end_snapshot IS NULL"
    )
    files = (_DataFile(str(path), int(str(size)), int(str(count)), int(str(gone))) for path, size, count, gone in rows)
    return sorted(files, key=lambda file: (file.live_bytes, file.path))
