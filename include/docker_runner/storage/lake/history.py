"""Earlier states of tables: which there are, and what changed from one to the next."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from docker_runner.errors import NotFoundError, UserError
from docker_runner.storage.base import Table
from docker_runner.storage.lake import documents, sql
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.records import SCHEMA_NAME, Kind, Run


@dataclass(frozen=True)
class Change:
    """One commit that changed a table.

    Attributes:
        snapshot: number of the state that it made.
        time: when.
        what: what it did, in words.
        rows: rows of the table after it; None when the table was dropped.
        more: by how many rows the table had more than before; None when that is not known.
        by: the run that wrote, as its log and its events name it, else the key of the commit, e.g. of a command.
    """

    snapshot: int
    time: datetime
    what: tuple[str, ...]
    rows: int | None
    more: int | None
    by: str


def history(run: Run, table_id: str) -> list[Change]:
    """What changed a table since earlier states are kept, newest first.

    Args:
        run: runs one statement, in a transaction.
        table_id: the table, which may have been dropped.

    Raises:
        NotFoundError: there was no such table in that time.
    """
    times = _snapshots(run)
    first, last = min(times), max(times)
    written = _written(run, Kind.TABLES, first, last, f"id = {sql.text(table_id)}")
    commits = _written(run, Kind.COMMITS, first, last, f"contains(document, {sql.text(json.dumps(table_id))})")
    before = _document_at(run, table_id, first)
    if before is None and not written:
        since = moment(times[first])
        raise NotFoundError(f"There is no table {table_id} in Storage, and there was none since {since}.")
    changes = []
    for snapshot in sorted(written):
        after = written[snapshot][-1][1]
        if snapshot == first:
            before = None
        made = commits.get(snapshot, [])
        rows = int(after["rows"]) if after else None
        known = before is not None or snapshot > first
        more = rows - int(before["rows"] if before else 0) if rows is not None and known else None
        what = tuple(_differences(table_id, before, after, [document for _, document in made]))
        by = ", ".join(dict.fromkeys(document.get("run") or key for key, document in made))
        changes.append(Change(snapshot, times[snapshot], what, rows, more, by))
        before = after
    return changes[::-1]


def snapshot_at(run: Run, at: datetime | int) -> int:
    """The state that held at a time, or the one of a number.

    Raises:
        UserError: it lies in the future, or is not kept any more; the message says since when states are kept.
    """
    times = _snapshots(run)
    first = min(times)
    since = f"Earlier states are kept since {moment(times[first])}, snapshot {first}."
    if isinstance(at, int):
        if at not in times:
            raise UserError(f"There is no snapshot {at}. {since}")
        return at
    if at > datetime.now(UTC):
        raise UserError(f"{moment(at)} lies in the future.")
    found = [snapshot for snapshot, time in times.items() if time <= at]
    if not found:
        raise UserError(f"What was there at {moment(at)} is not kept any more. {since}")
    return max(found)


def table_at(connection: Connection, table_id: str, snapshot: int) -> Table:
    """What was known of a table in an earlier state; in a transaction.

    Raises:
        NotFoundError: the table was not there.
    """
    document = _document_at(connection.run, table_id, snapshot)
    if document is None:
        raise NotFoundError(f"There was no table {table_id} in Storage then (snapshot {snapshot}).")
    return documents.read_table(table_id, document)


def moment(time: datetime) -> str:
    """A time as people read it."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _snapshots(run: Run) -> dict[int, datetime]:
    rows = run(f"SELECT snapshot_id, snapshot_time::TIMESTAMPTZ::VARCHAR FROM {sql.CATALOG}.ducklake_snapshot")
    return {int(str(number)): datetime.fromisoformat(f"{time}:00") for number, time in rows}


def _document_at(run: Run, table_id: str, snapshot: int) -> dict[str, Any] | None:
    ((made,),) = run(
        f"SELECT min(t.begin_snapshot) FROM {sql.CATALOG}.ducklake_table AS t JOIN {sql.CATALOG}.ducklake_schema AS s "
        f"USING (schema_id) WHERE s.schema_name = '{SCHEMA_NAME}' AND t.table_name = '{Kind.TABLES.value}'"
    )
    if snapshot < int(str(made)):
        return None  # the lake was being made
    ((text,),) = run(
        f"SELECT arg_max(document, rowid) FROM {sql.LAKE}.{SCHEMA_NAME}.{Kind.TABLES.value} AT (VERSION => {snapshot}) "
        "WHERE id = ?",
        [table_id],
    )
    return json.loads(str(text)) if text else None


def _written(
    run: Run, kind: Kind, first: int, last: int, condition: str
) -> dict[int, list[tuple[str, dict[str, Any]]]]:
    """Records that were written in some snapshots, by snapshot and in order; those that were removed are empty."""
    rows = run(
        f"SELECT snapshot_id, id, document FROM ducklake_table_insertions('{sql.LAKE}', '{SCHEMA_NAME}', "
        f"'{kind.value}', {first}, {last}) WHERE {condition} ORDER BY rowid"
    )
    found: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for snapshot, record, document in rows:
        found.setdefault(int(str(snapshot)), []).append((str(record), json.loads(str(document)) if document else {}))
    return found


def _differences(
    table_id: str, before: Mapping[str, Any] | None, after: Mapping[str, Any], commits: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What a commit did to a table, in words."""
    if not after:
        return ["dropped"]
    words = [f"restored from snapshot {commit['restored']}" for commit in commits if "restored" in commit]
    loads = [load for commit in commits for load in commit["tables"] if load["table_id"] == table_id]
    if any(load["created"] for load in loads):
        words.append("created")
    if not words:
        words += [f"{load['rows']} rows loaded" for load in loads]
    if not before:
        return words or ["changed"]
    for name, label in (("columns", "columns"), ("primary_key", "primary key")):
        if list(before[name]) != list(after[name]):
            words.append(f"{label}: {', '.join(before[name]) or 'none'} -> {', '.join(after[name]) or 'none'}")
    kept = [name for name in after["columns"] if name in before["columns"]]
    if any(before["types"].get(name) != after["types"].get(name) for name in kept):
        words.append("types changed")
    if _told(before) != _told(after):
        words.append("metadata changed")
    return words or ["changed"]


def _told(table: Mapping[str, Any]) -> dict[str, set[tuple[str, str, str]]]:
    """What the metadata of a table and of its columns say, whenever that was said."""
    items = {"": table["metadata"], **table["column_metadata"]}
    return {
        where: {(item["provider"], item["key"], item["value"]) for item in said}
        for where, said in items.items()
        if said
    }
