"""The Storage protocol on a lake."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import difflib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from docker_runner.errors import NotFoundError
from docker_runner.storage.base import (
    Bucket,
    Commit,
    Committed,
    Exported,
    FileQuery,
    StateKey,
    StoredFile,
    Table,
    Where,
)
from docker_runner.storage.lake import documents, lock_names, sql
from docker_runner.storage.lake.commit import commit
from docker_runner.storage.lake.connection import Connection, storage_errors
from docker_runner.storage.lake.export import export
from docker_runner.storage.lake.file_search import file_search
from docker_runner.storage.lake.history import Change, history, snapshot_at, table_at
from docker_runner.storage.lake.import_dates import remember_dropped
from docker_runner.storage.lake.ledger import LakeLedger
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.maintenance import EVENT_DAYS, GRACE, Maintained, maintain
from docker_runner.storage.lake.records import Kind, delete, find, put
from docker_runner.storage.lake.restore import restore
from docker_runner.storage.lake.turns import LakeTurns
from docker_runner.storage.names import split_table_id


class Lake(LakeLedger):
    """An open lake; see :class:`docker_runner.storage.base.Storage` for what the methods do.

    Methods may be called from several threads, one runs at a time. Close it when done, or use it as a context manager.
    """

    def __init__(self, location: Location) -> None:
        """Open the lake, and make it when there is none.

        Raises:
            StorageError: it cannot be opened.
        """
        super().__init__(location)
        self._connection = Connection(location)
        self._turns = LakeTurns(location)
        self._one_at_a_time = threading.RLock()

    def buckets(self) -> Sequence[Bucket]:
        """All buckets, by id."""
        with self._reading() as run:
            found = find(run, Kind.BUCKETS)
            counts = Counter(split_table_id(str(row[0]))[0] for row in run(f"SELECT id FROM {Kind.TABLES.table}"))
        return [documents.read_bucket(bucket, document, counts[bucket]) for bucket, document in found.items()]

    def bucket(self, bucket_id: str) -> Bucket | None:
        """One bucket with its metadata; None when there is none."""
        with self._reading() as run:
            found = find(run, Kind.BUCKETS, [bucket_id])
            if not found:
                return None
            ((tables,),) = run(f"SELECT count(*) FROM {Kind.TABLES.table} WHERE starts_with(id, ?)", [f"{bucket_id}."])
        return documents.read_bucket(bucket_id, found[bucket_id], tables)

    def tables(self, bucket: str | None = None) -> Sequence[Table]:
        """All tables, or those of one bucket, by id."""
        with self._reading() as run:
            found = find(run, Kind.TABLES)
            sizes = self._sizes()
        chosen = (item for item in found.items() if bucket in (None, split_table_id(item[0])[0]))
        return [documents.read_table(table_id, document, sizes.get(table_id, 0)) for table_id, document in chosen]

    def table(self, table_id: str) -> Table:
        """One table with its metadata."""
        with self._reading():
            return self._table(table_id, size_bytes=self._sizes().get(table_id, 0))

    def export_table(
        self,
        table_id: str,
        target: Path,
        *,
        columns: Sequence[str] = (),
        where: Where | None = None,
        changed_since: datetime | None = None,
        limit: int | None = None,
        file_type: str = "csv",
        at: datetime | int | None = None,
    ) -> Exported:
        """Write a table as CSV or Parquet. ``changed_since`` gives what changed after, not at, that time (IM-30).

        ``at`` gives the table as it was at a time or in a snapshot, see :meth:`history`.
        """
        with self._reading() as run:
            snapshot = None if at is None else snapshot_at(run, at)
            return export(
                self._connection,
                self._table(table_id) if snapshot is None else table_at(self._connection, table_id, snapshot),
                target,
                columns=columns,
                where=where,
                changed_since=changed_since,
                limit=limit,
                file_type=file_type,
                snapshot=snapshot,
            )

    def files(self, query: FileQuery) -> Sequence[StoredFile]:
        """Files that match, newest id first."""
        with self._reading() as run:
            return file_search(run, query)

    def download_file(self, file_id: int, target: Path) -> StoredFile:
        """Write a stored file's content to ``target``; a sliced file becomes a folder, which must be new or empty."""
        with self._reading() as run:
            found = find(run, Kind.FILES, [file_id])
            if not found:
                raise NotFoundError(f"There is no file {file_id} in Storage.")
            file = documents.read_file(file_id, found[file_id])
            self._connection.location.files.fetch(found[file_id]["content"], target, sliced=file.is_sliced)
            return file

    def state(self, key: StateKey) -> dict[str, Any]:
        """The stored state document; an empty one when there is none."""
        with self._reading() as run:
            record = documents.state_id(key)
            return find(run, Kind.STATES, [record]).get(record, {})

    def commit(self, commit: Commit) -> Committed:
        """Store everything that ``commit`` describes in one visible step."""
        with self._one_at_a_time, storage_errors():
            return _commit(self._connection, commit)

    def drop_table(self, table_id: str) -> None:
        """Remove a table and its rows."""
        run = self._connection.run

        def drop() -> None:
            remember_dropped(run, self._table(table_id))
            run(f"DROP TABLE {sql.table(table_id)}")
            delete(run, Kind.TABLES, [table_id])

        with self._one_at_a_time, storage_errors():
            names = [*lock_names.table(table_id), lock_names.bucket(split_table_id(table_id)[0])]
            self._connection.change(names, drop)

    def change_states(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
        """Change all states in one commit; gives how many of them became another one.

        Args:
            change: gives what a state document is to be.
        """

        def change_all() -> int:
            states = find(self._connection.run, Kind.STATES)
            changed = {record: new for record, state in states.items() if (new := change(state)) != state}
            put(self._connection.run, Kind.STATES, changed)
            return len(changed)

        with self._one_at_a_time, storage_errors():
            return self._connection.change(None, change_all)

    def history(self, table_id: str) -> Sequence[Change]:
        """What changed a table since earlier states are kept, newest first; also of a table that was dropped."""
        with self._reading() as run:
            return history(run, table_id)

    def restore(self, table_id: str, at: datetime | int, *, new_id: str = "") -> Table:
        """Put an earlier state of a table back as a new commit, or into a new table."""
        with self._one_at_a_time, storage_errors():
            return restore(self._connection, table_id, at, new_id=new_id)

    def delete_file(self, file_id: int) -> StoredFile:
        """Remove a stored file; its content goes with the next maintenance, when nobody reads it any more."""

        def remove() -> StoredFile:
            found = find(self._connection.run, Kind.FILES, [file_id])
            if not found:
                raise NotFoundError(f"There is no file {file_id} in Storage.")
            delete(self._connection.run, Kind.FILES, [file_id])
            return documents.read_file(file_id, found[file_id])

        with self._one_at_a_time, storage_errors():
            return self._connection.change(["files"], remove)

    def maintain(self, keep: timedelta, *, grace: timedelta = GRACE) -> Maintained:
        """Merge small files and remove what is not needed any more, while others read and write.

        Args:
            keep: how long earlier states of tables and keys of commits are kept.
            grace: how long readers may be at work: what they may need is kept so long in any case.
        """
        with self._one_at_a_time, storage_errors():
            done = maintain(self._connection, keep=keep, grace=grace)
        long_ago = datetime.now(UTC) - timedelta(days=EVENT_DAYS)
        self._turns.forget(long_ago)
        return replace(done, events=self.remove_events(long_ago))

    def close(self) -> None:
        """Close the lake."""
        with self._one_at_a_time:
            self._connection.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._one_at_a_time, storage_errors(), self._connection.transaction():
            yield self._connection.run

    def _table(self, table_id: str, size_bytes: int = 0) -> Table:
        """A table's record; inside a transaction."""
        split_table_id(table_id)
        run = self._connection.run
        found = find(run, Kind.TABLES, [table_id])
        if found:
            return documents.read_table(table_id, found[table_id], size_bytes)
        ids = [str(row[0]) for row in run(f"SELECT id FROM {Kind.TABLES.table}")]
        similar = difflib.get_close_matches(table_id, ids, n=3)
        hint = f" Similar: {', '.join(similar)}." if similar else ""
        raise NotFoundError(f"There is no table {table_id} in Storage.{hint}")

    def _sizes(self) -> dict[str, int]:
        """Bytes of the Parquet files of each table."""
        rows = self._connection.run(
            "SELECT s.schema_name || '.' || t.table_name, sum(f.file_size_bytes)::BIGINT "
            f"FROM {sql.CATALOG}.ducklake_data_file AS f "
            f"JOIN {sql.CATALOG}.ducklake_table AS t USING (table_id) "
            f"JOIN {sql.CATALOG}.ducklake_schema AS s USING (schema_id) "
            "WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL GROUP BY ALL"
        )
        return {str(table_id): int(str(size)) for table_id, size in rows}


_commit = commit  # the method of the same name hides it inside the class
