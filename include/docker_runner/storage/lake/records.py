"""What Storage knows beside the rows of tables: buckets, tables, files, states and commits.

Each kind is a small table of (id, document) whose rows DuckLake keeps in the catalogue, so that they belong to the same
transaction as the rows of tables and cost no Parquet file each.
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

_SCHEMA_NAME = "_docker_runner"


class Kind(StrEnum):
    """The kinds of records; the value is the table's name."""

    BUCKETS = "buckets"
    TABLES = "tables"
    FILES = "files"
    STATES = "states"
    COMMITS = "commits"

    @property
    def table(self) -> str:
        """The full name of the table."""
        return f"{sql.LAKE}.{_SCHEMA_NAME}.{self.value}"


SCHEMA = (
    "BEGIN TRANSACTION",
    f"CREATE SCHEMA {sql.LAKE}.{_SCHEMA_NAME}",
    *(
        f"CREATE TABLE {kind.table} (id {'BIGINT' if kind is Kind.FILES else 'VARCHAR'}, document VARCHAR)"
        for kind in Kind
    ),
    "COMMIT",
    f"CALL {sql.LAKE}.set_option('data_inlining_row_limit', 1000000, schema => '{_SCHEMA_NAME}')",
)
"""Statements that make the tables in a new lake."""


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


def put(run: Run, kind: Kind, documents: Mapping[Any, Document], *, new: bool = False) -> None:
    """Store documents in place of those with the same ids; ``new`` says that there are none."""
    if not documents:
        return
    if not new:
        delete(run, kind, documents)
    parameters: list[object] = []
    for record_id, document in documents.items():
        parameters += [record_id, json.dumps(document, ensure_ascii=True, separators=(",", ":"))]
    run(f"INSERT INTO {kind.table} VALUES {', '.join(['(?, ?)'] * len(documents))}", parameters)


def delete(run: Run, kind: Kind, ids: Iterable[Any]) -> None:
    """Remove documents."""
    wanted = list(ids)
    run(f"DELETE FROM {kind.table} WHERE id IN ({', '.join('?' * len(wanted))})", wanted)
