"""What Storage knows beside the rows of tables: buckets, tables, files, states and commits.

Each kind is a small table of (id, document) whose rows DuckLake keeps in the catalogue, so that they belong to the same
transaction as the rows of tables and cost no Parquet file each.

Documents are only ever added: the one that was committed last is the record, and an empty one means that the record is
gone. Commits that only add never get in each other's way, so writers of different tables need not wait for each other.
What was replaced is removed by :func:`remove_replaced`.
"""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from docker_runner.storage.lake import sql

Document = dict[str, Any]
Run = Callable[..., list[tuple[object, ...]]]

SCHEMA_NAME = "_docker_runner"
"""The schema of all of them."""


class Kind(StrEnum):
    """The kinds of records; the value is the table's name."""

    BUCKETS = "buckets"
    TABLES = "tables"
    FILES = "files"
    STATES = "states"
    COMMITS = "commits"

    @property
    def table(self) -> str:
        """SQL of the records as a relation with the columns ``id`` and ``document``, to read from."""
        latest = "arg_max(document, rowid)"
        return f"(SELECT id, {latest} AS document FROM {self._stored} GROUP BY id HAVING {latest} <> '')"

    @property
    def _stored(self) -> str:
        """The full name of the table, which holds replaced documents too; later ones have higher row ids."""
        return f"{sql.LAKE}.{SCHEMA_NAME}.{self.value}"

    @property
    def definition(self) -> str:
        """SQL that makes the table if it is not there."""
        id_type = "BIGINT" if self is Kind.FILES else "VARCHAR"
        return f"CREATE TABLE IF NOT EXISTS {self._stored} (id {id_type}, document VARCHAR)"


_INLINED = f"CALL {sql.LAKE}.set_option('data_inlining_row_limit', 1000000, schema => '{SCHEMA_NAME}')"


def missing_kinds(run: Run) -> list[Kind]:
    """Kinds that have no table yet: all in a new lake, some in a lake that an earlier version has made."""
    rows = run(
        f"SELECT t.table_name FROM {sql.CATALOG}.ducklake_table AS t JOIN {sql.CATALOG}.ducklake_schema AS s "
        f"USING (schema_id) WHERE s.schema_name = '{SCHEMA_NAME}' AND t.end_snapshot IS NULL"
    )
    return [kind for kind in Kind if (kind.value,) not in rows]


def create(run: Run) -> None:
    """Make the tables that are missing; the writers' lock must be held."""
    run("BEGIN TRANSACTION")
    run(f"CREATE SCHEMA IF NOT EXISTS {sql.LAKE}.{SCHEMA_NAME}")
    run("COMMIT")
    # Before there are tables: a lake whose maker is killed here is completed by the next one.
    run(_INLINED)
    run("BEGIN TRANSACTION")
    for kind in missing_kinds(run):
        run(kind.definition)
    run("COMMIT")


def find(run: Run, kind: Kind, ids: Iterable[str | int] | None = None) -> dict[Any, Document]:
    """Documents by id, in the ids' order.

    Args:
        run: runs one statement.
        kind: which records.
        ids: only these; all by default.
    """
    wanted = None if ids is None else list(ids)
    if wanted is not None and not wanted:
        return {}
    condition = "" if wanted is None else f" WHERE id IN ({', '.join('?' * len(wanted))})"
    rows = run(f"SELECT id, document FROM {kind.table}{condition} ORDER BY id", wanted)
    return {row[0]: json.loads(str(row[1])) for row in rows}


def snapshot_of(run: Run, kind: Kind, record_id: str | int) -> int:
    """Number of the snapshot in which a record, which must be there, was stored last."""
    ((number,),) = run(f"SELECT arg_max(snapshot_id, rowid) FROM {kind._stored} WHERE id = ?", [record_id])
    return int(str(number))


def written_in(run: Run, kind: Kind, snapshot: int) -> list[Document]:
    """Documents that a snapshot has stored, as far as they are kept."""
    rows = run(f"SELECT document FROM {kind._stored} WHERE snapshot_id = {snapshot} AND document <> ''")
    return [json.loads(str(document)) for (document,) in rows]


def put(run: Run, kind: Kind, documents: Mapping[Any, Document]) -> None:
    """Store documents in place of those with the same ids."""
    texts = {
        record_id: json.dumps(document, ensure_ascii=True, separators=(",", ":"))
        for record_id, document in documents.items()
    }
    _add(run, kind, texts)


def delete(run: Run, kind: Kind, ids: Iterable[Any]) -> None:
    """Remove documents."""
    _add(run, kind, dict.fromkeys(ids, ""))


def remove_replaced(run: Run, kind: Kind) -> None:
    """Remove documents that were replaced, or whose record is gone; other writers must be kept out.

    Of the highest id something stays: ids of files must only grow.
    """
    latest = f"SELECT max(rowid) FROM {kind._stored} GROUP BY id"
    highest = f"SELECT max(id) FROM {kind._stored}"
    run(f"DELETE FROM {kind._stored} WHERE rowid NOT IN ({latest}) OR (document = '' AND id <> ({highest}))")


def next_file_id(run: Run) -> int:
    """An id that no file had before; other writers of files must be kept out."""
    ((number,),) = run(f"SELECT coalesce(max(id), 0) + 1 FROM {Kind.FILES._stored}")
    return int(str(number))


def _add(run: Run, kind: Kind, texts: Mapping[Any, str]) -> None:
    if not texts:
        return
    parameters = [value for record in texts.items() for value in record]
    run(f"INSERT INTO {kind._stored} VALUES {', '.join(['(?, ?)'] * len(texts))}", parameters)
