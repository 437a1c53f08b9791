"""When tables were loaded: later with every load, whatever the clocks of the machines say (IM-30).

Exports of what has changed since a load find the next load by its time. Who loads next may be a machine whose clock is
behind, and the table may have been dropped in between: its bucket remembers when the dropped ones were loaded.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from docker_runner.storage.base import Table
from docker_runner.storage.lake.records import Kind, Run, find, put
from docker_runner.storage.names import split_table_id

_DROPPED = "dropped_import_date"


def next_import_date(run: Run, table_id: str, present: Table | None) -> datetime:
    """The time of a load that begins now.

    Args:
        run: runs one statement, in the transaction of the load, which locks the table.
        table_id: the table.
        present: the table as it is; None when it does not exist.
    """
    before = present.last_import_date if present else _dropped(run, table_id)
    now = datetime.now(UTC)
    return max(now, before + timedelta(microseconds=1)) if before else now


def remember_dropped(run: Run, table: Table) -> None:
    """Have the bucket remember a table that is dropped; the transaction must lock the bucket."""
    bucket = split_table_id(table.id)[0]
    before = _dropped(run, table.id)
    latest = max(before, table.last_import_date) if before else table.last_import_date
    for document in find(run, Kind.BUCKETS, [bucket]).values():
        put(run, Kind.BUCKETS, {bucket: {**document, _DROPPED: latest.isoformat()}})


def _dropped(run: Run, table_id: str) -> datetime | None:
    """When the latest of the bucket's dropped tables was loaded last."""
    bucket = split_table_id(table_id)[0]
    text = find(run, Kind.BUCKETS, [bucket]).get(bucket, {}).get(_DROPPED)
    return datetime.fromisoformat(text) if text else None
