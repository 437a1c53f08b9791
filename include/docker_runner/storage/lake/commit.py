"""One Commit: everything is staged first, then made visible in one transaction (D6)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime

from docker_runner.errors import NotFoundError, UserError
from docker_runner.storage.base import Commit, Committed, LoadedTable, StoredFile, Table, TableLoad
from docker_runner.storage.lake import blobs, documents, lock_names, lost_commit, sql, states
from docker_runner.storage.lake.attempts import attempts
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.csv_source import open_source
from docker_runner.storage.lake.load import TableWriter
from docker_runner.storage.lake.lost_commit import LostCommitError
from docker_runner.storage.lake.records import Kind, find, next_file_id, put, snapshot_of
from docker_runner.storage.lake.staging import StagedTable
from docker_runner.storage.lake.structure import expected_conversion
from docker_runner.storage.names import split_table_id


def commit(connection: Connection, wanted: Commit) -> Committed:
    """Store everything that ``wanted`` describes, or nothing.

    Raises:
        UserError: names every table and file that is wrong, and why.
        OvertakenError: the state that the data was made from is not the stored one any more.
    """
    try:
        return _commit_new(connection, wanted)
    except UserError:
        # The data of a commit that was done before may be gone since.
        with suppress(LostCommitError), connection.transaction():
            done = _done_before(connection, wanted.key)
            if done is not None:
                return done
        raise


def _done_before(connection: Connection, key: str) -> Committed | None:
    """What a commit of the same key has done, in a transaction.

    Raises:
        LostCommitError: it is known, but its files are gone.
    """
    found = find(connection.run, Kind.COMMITS, [key])
    if not found:
        return None
    snapshot = snapshot_of(connection.run, Kind.COMMITS, key)
    lost_commit.refuse_if_lost(connection.run, connection.location, snapshot)
    return documents.read_committed(found[key], snapshot)


def _commit_new(connection: Connection, wanted: Commit) -> Committed:
    with ExitStack() as undo:
        undo.callback(connection.scratch.clear)
        present = _present_tables(connection, wanted.tables) if wanted.tables else {}
        staged = _stage(connection, wanted.tables, present)
        on_failure = undo.enter_context(ExitStack())
        contents = []
        for upload in wanted.files:
            try:
                contents.append(blobs.store(connection.location.files, upload))
            except UserError as error:
                raise UserError(f"File {upload.name}: {error}") from error
            on_failure.callback(contents[-1].remove)
        for attempt in attempts():
            with attempt, connection.locked(lock_names.commit(connection.run, wanted, present)) as confirm:
                try:
                    with connection.transaction(before_commit=confirm):
                        done = _done_before(connection, wanted.key)
                        if done is not None:
                            return done
                        committed = _write(connection, wanted, staged, contents)
                        # A connection that breaks while the catalogue commits leaves open whether it did: contents
                        # that turn out to belong to nothing are removed by housekeeping.
                        on_failure.pop_all()
                except LostCommitError as lost:
                    connection.take_back_if_lost(lost.snapshot)
                    raise  # to be made again
    # The catalogue numbers a commit while it makes it. Others may have committed since: this is our own one.
    return replace(committed, snapshot=connection.count(f"FROM {sql.LAKE}.last_committed_snapshot()"))


def _stage(connection: Connection, loads: tuple[TableLoad, ...], present: Mapping[str, Table]) -> list[StagedTable]:
    """Read all CSVs; the errors of all tables come as one (OM-75).

    Texts are converted to what the tables hold now. A load whose table is another one when it is its turn does that
    again, while the other writers wait.
    """
    staged, problems = [], []
    for load in loads:
        try:
            split_table_id(load.table_id)
            rows = StagedTable(connection, open_source(load))
            rows.convert(expected_conversion(load, present.get(load.table_id), rows.columns))
            staged.append(rows)
        except UserError as error:
            problems.append(f"Table {load.table_id}: {error}")
    if problems:
        raise UserError("\n".join(problems))
    return staged


def _write(
    connection: Connection, wanted: Commit, staged: list[StagedTable], contents: list[blobs.StoredContent]
) -> Committed:
    now = datetime.now(UTC)
    new_states = states.new_states(connection.run, wanted.state)
    with ExitStack() as on_failure:
        loaded = _write_tables(connection, wanted.tables, staged, now, on_failure)
        files = _write_files(connection, wanted.add_file_tags, contents, now)
        put(connection.run, Kind.STATES, new_states)
        committed = Committed(tuple(loaded), tuple(files))
        done = {"committed": now.isoformat(), "run": wanted.run, **documents.committed_document(committed)}
        put(connection.run, Kind.COMMITS, {wanted.key: done})
        on_failure.pop_all()
    return committed


def _write_tables(
    connection: Connection,
    loads: tuple[TableLoad, ...],
    staged: list[StagedTable],
    now: datetime,
    on_failure: ExitStack,
) -> list[LoadedTable]:
    if not loads:
        return []
    tables = _present_tables(connection, loads)
    present = set(tables)
    loaded, problems = [], []
    for load, rows in zip(loads, staged, strict=True):
        is_only = sum(other.table_id == load.table_id for other in loads) == 1
        writer = TableWriter(connection, load, tables.get(load.table_id), is_only=is_only)
        on_failure.callback(writer.withdraw)
        try:
            table, result = writer.write(rows)
        except UserError as error:
            problems.append(f"Table {load.table_id}: {error}")
        else:
            tables[table.id] = table
            loaded.append(result)
    if problems:
        raise UserError("\n".join(problems))
    changed = {table_id: documents.table_document(table) for table_id, table in tables.items()}
    put(connection.run, Kind.TABLES, changed)
    add_buckets(connection, [load for load in loads if load.table_id not in present], now)
    return loaded


def _present_tables(connection: Connection, loads: tuple[TableLoad, ...]) -> dict[str, Table]:
    """The tables to load, as far as they exist.

    Raises:
        UserError: ids differ only in case; names in the lake ignore it, so these would be one table.
    """
    ids = list(dict.fromkeys(load.table_id for load in loads))
    lower = sql.texts(table_id.lower() for table_id in ids)
    rows = connection.run(f"SELECT id, document FROM {Kind.TABLES.table} WHERE lower(id) IN ({lower})")
    present = {str(row[0]): json.loads(str(row[1])) for row in rows}
    spelled = {table_id.lower(): table_id for table_id in present}
    for table_id in ids:
        other = spelled.setdefault(table_id.lower(), table_id)
        if other != table_id:
            raise UserError(f"Table {table_id}: there is {other} already, which differs only in upper and lower case.")
    return {table_id: documents.read_table(table_id, document) for table_id, document in present.items()}


def add_buckets(connection: Connection, loads: list[TableLoad], now: datetime) -> None:
    """Record the buckets that loads have made, with who made them (OM-51, OM-80).

    Raises:
        UserError: ids differ only in case; names in the lake ignore it, so these would be one bucket.
    """
    makers = {split_table_id(load.table_id)[0]: load for load in reversed(loads)}
    lower = sql.texts(bucket.lower() for bucket in makers)
    rows = connection.run(f"SELECT id FROM {Kind.BUCKETS.table} WHERE lower(id) IN ({lower})") if makers else []
    present = {str(row[0]) for row in rows}
    spelled = {bucket.lower(): bucket for bucket in present}
    for bucket, load in makers.items():
        other = spelled.setdefault(bucket.lower(), bucket)
        if other != bucket:
            raise UserError(
                f"Table {load.table_id}: there is the bucket {other} already, which differs only in upper and "
                "lower case."
            )
    created = {
        bucket: documents.bucket_document(now, documents.merge_metadata((), load.created_metadata, now=now, last_id=0))
        for bucket, load in sorted(makers.items())
        if bucket not in present
    }
    put(connection.run, Kind.BUCKETS, created)


def _write_files(
    connection: Connection,
    add_tags: Mapping[int, tuple[str, ...]],
    contents: list[blobs.StoredContent],
    now: datetime,
) -> list[StoredFile]:
    known = find(connection.run, Kind.FILES, add_tags)
    missing = [str(file_id) for file_id in add_tags if file_id not in known]
    if missing:
        raise NotFoundError(f"There is no file {', '.join(missing)} in Storage to add tags to.")
    changed = {}
    for file_id, document in known.items():
        changed[file_id] = {**document, "tags": list(dict.fromkeys([*document["tags"], *add_tags[file_id]]))}
    put(connection.run, Kind.FILES, changed)
    if not contents:
        return []
    first = next_file_id(connection.run)
    files = [content.record(file_id, now) for file_id, content in enumerate(contents, start=first)]
    stored = zip(files, contents, strict=True)
    put(
        connection.run,
        Kind.FILES,
        {file.id: documents.file_document(file, content.path) for file, content in stored},
    )
    return files
