# ruff: noqa: S608 - names and texts are quoted by sql.py
"""What a lake needs now and then: fewer and larger files, and nothing of the past beyond what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from docker_runner.storage.lake import sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.records import Document, Kind, delete, find, remove_replaced

# A reader that started before may still read files that are not needed any more, and the new files of a writer at work
# are not known yet. Neither takes a day.
_GRACE = timedelta(days=1)


@dataclass(frozen=True)
class Tidied:
    """How many files were removed: of tables, and contents of stored files that had expired or belonged to nothing."""

    table_files: int
    contents: int


def tidy(connection: Connection, *, keep: timedelta) -> Tidied:
    """Merge small files, forget the lake's states from before ``keep``, remove what nothing refers to.

    Args:
        connection: the lake; writers wait meanwhile.
        keep: how long earlier states of tables and keys of commits are kept.
    """
    now = datetime.now(UTC)
    with connection.locked():
        connection.run(f"CALL ducklake_merge_adjacent_files({sql.text(sql.LAKE)})")
        with connection.transaction():
            _remove_expired_files(connection, now)
            _forget_commits(connection, now - keep)
            for kind in Kind:
                remove_replaced(connection.run, kind)
        _call(connection, "ducklake_expire_snapshots", now - keep)
        _remove_earlier_records(connection)
        table_files = _call(connection, "ducklake_cleanup_old_files", now - min(keep, _GRACE))
        table_files += _call(connection, "ducklake_delete_orphaned_files", now - _GRACE)
        return Tidied(table_files, contents=_remove_unknown_contents(connection))


def _call(connection: Connection, function: str, before: datetime) -> int:
    return connection.count(f"SELECT count(*) FROM {function}({sql.text(sql.LAKE)}, older_than => {sql.time(before)})")


def _remove_expired_files(connection: Connection, now: datetime) -> None:
    """Forget stored files past their age (OF-5), but never the newest: ids must only grow."""
    known: dict[int, Document] = find(connection.run, Kind.FILES)
    expired = [
        file_id
        for file_id, document in list(known.items())[:-1]
        if document["max_age_days"] is not None
        and datetime.fromisoformat(document["created"]) < now - timedelta(days=document["max_age_days"])
    ]
    if expired:
        delete(connection.run, Kind.FILES, expired)


def _forget_commits(connection: Connection, before: datetime) -> None:
    rows = connection.run(
        f"SELECT id FROM {Kind.COMMITS.table} WHERE (document->>'committed')::TIMESTAMPTZ < {sql.time(before)}"
    )
    delete(connection.run, Kind.COMMITS, [row[0] for row in rows])


def _remove_earlier_records(connection: Connection) -> None:
    """Remove records that no kept state of the lake shows; DuckLake itself never removes such rows."""
    ((oldest,),) = connection.run(f"SELECT min(snapshot_id) FROM {sql.CATALOG}.ducklake_snapshot")
    tables = connection.run(f"SELECT table_name FROM {sql.CATALOG}.ducklake_inlined_data_tables")
    for (table,) in tables:
        connection.run(f"DELETE FROM {sql.CATALOG}.{sql.name(str(table))} WHERE end_snapshot <= {oldest}")


def _remove_unknown_contents(connection: Connection) -> int:
    """Remove contents that no stored file refers to and that no writer at work can have put there."""
    known = {document["content"] for document in find(connection.run, Kind.FILES).values()}
    contents = connection.location.files
    unknown = [path for path in contents.older_than(datetime.now(UTC) - _GRACE) if path not in known]
    for path in unknown:
        contents.remove(path)
    return len(unknown)
