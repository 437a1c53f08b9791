"""What a lake needs now and then: fewer and larger files, and nothing of the past beyond what is wanted.

Everything is done in short steps, and between them writers take their turns. Readers are never in the way: files go
only when nobody can be reading them any more.
"""

# ruff: noqa: S608 - names and texts are quoted by sql.py
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from docker_runner.storage.lake import sql
from docker_runner.storage.lake.compaction import compact, let_others_write
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.records import Document, Kind, delete, find, remove_replaced

KEEP_DAYS = 7
"""Days for which earlier states of tables are kept when nothing else is said."""

EVENT_DAYS = 90
"""Days for which the events of jobs are kept."""

GRACE = timedelta(days=1)
"""Age at which a file goes that is not needed: no reader is at work for a day, and no writer's new file is unknown for
a day."""

_SNAPSHOTS_AT_ONCE = 500


@dataclass(frozen=True)
class Maintained:
    """What was done.

    Attributes:
        merged: by how many files tables have fewer.
        snapshots: earlier states that were forgotten.
        table_files: files of tables that were removed.
        contents: contents of stored files that were removed: expired, or of nothing.
        events: events of jobs that were forgotten.
        problems: tables whose files could not be merged, and why.
    """

    merged: int
    snapshots: int
    table_files: int
    contents: int
    events: int = 0
    problems: tuple[str, ...] = ()


def maintain(connection: Connection, *, keep: timedelta, grace: timedelta = GRACE) -> Maintained:
    """Merge small files, forget the lake's states from before ``keep``, remove what nothing refers to.

    Args:
        connection: the lake.
        keep: how long earlier states of tables and keys of commits are kept.
        grace: how long readers may be at work: states of the lake that they may see, and files that they may read, are
            kept so long in any case. Less than the default only when nobody else is at work.
    """
    merged, problems = _compact_tables(connection)
    now = datetime.now(UTC)
    _forget_records(connection, now, keep)
    snapshots = _expire_snapshots(connection, now - max(keep, grace))
    with connection.writing():
        for kind in Kind:
            remove_replaced(connection.run, kind)
    let_others_write()
    with connection.locked():
        _remove_earlier_records(connection)
    let_others_write()
    with connection.locked():
        # With SQLite, DuckLake compares days only: a day more, so that none goes too early.
        table_files = _call(connection, "ducklake_cleanup_old_files", now - grace - timedelta(days=1 if grace else 0))
    # These change nothing in the catalogue: writers go on.
    table_files += _call(connection, "ducklake_delete_orphaned_files", now - GRACE)
    contents = _remove_unknown_contents(connection)
    return Maintained(merged, snapshots, table_files, contents, problems=tuple(problems))


def _compact_tables(connection: Connection) -> tuple[int, list[str]]:
    """Compact each table; one that cannot be does not keep the others from it."""
    import duckdb

    merged, problems = 0, []
    for table in find(connection.run, Kind.TABLES):
        try:
            merged += compact(connection, table)
        except duckdb.CatalogException:
            continue  # dropped meanwhile
        except duckdb.Error as error:
            problems.append(f"{table}: {error}")
    return merged, problems


def _forget_records(connection: Connection, now: datetime, keep: timedelta) -> None:
    """Forget stored files past their age (OF-5), and keys of commits that are too old to be tried again."""
    with connection.writing():
        _remove_expired_files(connection, now)
        rows = connection.run(
            f"SELECT id FROM {Kind.COMMITS.table} WHERE (document->>'committed')::TIMESTAMPTZ < {sql.time(now - keep)}"
        )
        delete(connection.run, Kind.COMMITS, [row[0] for row in rows])
    let_others_write()


def _expire_snapshots(connection: Connection, before: datetime) -> int:
    """Forget the states that were over before a time.

    The newest snapshot from before that time stays: until the next one it shows how the lake was then.
    """
    rows = connection.run(
        f"SELECT snapshot_id FROM {sql.CATALOG}.ducklake_snapshot WHERE snapshot_id < (SELECT max(snapshot_id) "
        f"FROM {sql.CATALOG}.ducklake_snapshot WHERE snapshot_time::TIMESTAMPTZ <= {sql.time(before)}) ORDER BY 1"
    )
    expired = [str(snapshot) for (snapshot,) in rows]
    for start in range(0, len(expired), _SNAPSHOTS_AT_ONCE):
        versions = ", ".join(expired[start : start + _SNAPSHOTS_AT_ONCE])
        with connection.locked():
            connection.run(f"SELECT count(*) FROM ducklake_expire_snapshots('{sql.LAKE}', versions => [{versions}])")
        let_others_write()
    return len(expired)


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
    unknown = [path for path in contents.older_than(datetime.now(UTC) - GRACE) if path not in known]
    for path in unknown:
        contents.remove(path)
    return len(unknown)


def as_text(done: Maintained) -> str:
    """What people read of it."""
    lines: Sequence[str] = (
        f"Tables have {done.merged} files less. Removed {done.snapshots} earlier states, {done.table_files} files of "
        f"tables, {done.contents} contents of stored files and {done.events} events.",
        *(f"Could not merge the files of {problem}" for problem in done.problems),
    )
    return "\n".join(lines)
