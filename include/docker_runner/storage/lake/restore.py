"""An earlier state of a table, put back as a new commit."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from docker_runner.errors import UserError
from docker_runner.storage.base import Commit, Committed, LoadedTable, Table, TableLoad
from docker_runner.storage.lake import documents, lock_names, sql
from docker_runner.storage.lake.commit import add_buckets
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.history import snapshot_at, table_at
from docker_runner.storage.lake.import_dates import next_import_date
from docker_runner.storage.lake.records import Kind, put
from docker_runner.storage.lake.structure import create_empty
from docker_runner.storage.names import TIMESTAMP_COLUMN, split_table_id


def restore(connection: Connection, table_id: str, at: datetime | int, *, new_id: str = "") -> Table:
    """Put the rows, columns, types, key and metadata of an earlier state back.

    For those who read what has changed, all rows have: as after a load that replaces them.

    Args:
        connection: the lake.
        table_id: the table; it may have been dropped.
        at: a time, or the number of a snapshot.
        new_id: a table that is not there yet, to put the state there instead.

    Returns:
        The table as it is now.

    Raises:
        UserError: the state is not kept any more, or ``new_id`` is there already.
        NotFoundError: the table was not there then.
    """
    target = new_id or table_id
    split_table_id(target)
    with ExitStack() as undo:
        undo.callback(connection.scratch.clear)
        rows = sql.text(str(connection.scratch.new_file(".parquet")))
        # Rows are copied before the lock is taken: other writers need not wait for it.
        with connection.transaction():
            snapshot = snapshot_at(connection.run, at)
            then = table_at(connection, table_id, snapshot)
            columns = sql.names(then.columns)
            connection.run(
                f"COPY (SELECT {columns} FROM {sql.table(table_id)} AT (VERSION => {snapshot})) TO {rows} "
                "(FORMAT parquet, ROW_GROUP_SIZE_BYTES 33554432)"
            )
        key = f"restore-{uuid.uuid4().hex}"
        wanted = Commit(key, (TableLoad(target, connection.scratch.folder),))
        names = lock_names.commit(connection.run, wanted, set())
        back = replace(then, id=target)
        return connection.change(
            names, lambda: _put_back(connection, back, rows, snapshot, wanted, is_new=bool(new_id))
        )


def _put_back(connection: Connection, then: Table, rows: str, snapshot: int, wanted: Commit, *, is_new: bool) -> Table:
    run, name = connection.run, sql.table(then.id)
    same = run(f"SELECT id, document FROM {Kind.TABLES.table} WHERE lower(id) = lower(?)", [then.id])
    if same and (is_new or same[0][0] != then.id):
        raise UserError(f"There is a table {same[0][0]} already; choose another id.")
    present = documents.read_table(then.id, json.loads(str(same[0][1]))) if same else None
    now = next_import_date(run, then.id, present)
    if present:
        run(f"DROP TABLE {name}")
    run(f"CREATE SCHEMA IF NOT EXISTS {name.rpartition('.')[0]}")
    create_empty(run, then)
    columns = sql.names(then.columns)
    restored = f"SELECT {columns}, {sql.time(now)} FROM read_parquet({rows})"
    run(f"INSERT INTO {name} ({columns}, {TIMESTAMP_COLUMN}) {restored}")
    count = connection.count(f"SELECT count(*) FROM {name}")
    created = now if is_new else then.created
    table = replace(then, created=created, last_import_date=now, last_change_date=now, rows=count)
    put(run, Kind.TABLES, {table.id: documents.table_document(table)})
    if not same:
        add_buckets(connection, list(wanted.tables), now)
    loaded = LoadedTable(table.id, count, count, table.columns, created=not same)
    done = documents.committed_document(Committed((loaded,), ()))
    put(run, Kind.COMMITS, {wanted.key: {"committed": now.isoformat(), **done, "restored": snapshot}})
    return table
