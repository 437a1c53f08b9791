"""Which stored files match a query (IF-1..IF-3, IF-21, IF-22)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

import json
from datetime import UTC, datetime

from docker_runner.storage.base import FileQuery, StoredFile
from docker_runner.storage.lake import documents, sql
from docker_runner.storage.lake.file_fields import CREATED, TAGS
from docker_runner.storage.lake.file_query import query_condition
from docker_runner.storage.lake.records import Kind, Run


def file_search(run: Run, query: FileQuery) -> list[StoredFile]:
    """Files that match, newest id first.

    Raises:
        UserError: the full-text query cannot be understood.
    """
    conditions = []
    if query.tags:
        conditions.append(f"list_has_all({TAGS}, [{sql.texts(query.tags)}])")
    if query.without_tags:
        conditions.append(f"NOT list_has_any({TAGS}, [{sql.texts(query.without_tags)}])")
    if query.ids:
        conditions.append(f"id IN ({', '.join(str(int(file_id)) for file_id in query.ids)})")
    if query.since_id is not None:
        conditions.append(f"id > {int(query.since_id)}")
    if query.created_since:
        conditions.append(f"{CREATED} >= {sql.time(query.created_since)}")
    if query.owner is not None:
        # Documents of files that were stored without a token have no owner, or none in them.
        conditions.append(f"(document->>'owner')::BIGINT = {int(query.owner)}")
    if query.query:
        conditions.append(query_condition(query.query, now=datetime.now(UTC)))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = run(f"SELECT id, document FROM {Kind.FILES.table}{where} ORDER BY id DESC {sql.limit(query.limit)}")
    return [documents.read_file(int(str(row[0])), json.loads(str(row[1]))) for row in rows]
