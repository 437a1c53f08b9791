"""What a run in a development branch reads: the branch's own tables and files where there are any (section 18)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.mapping.branches import BRANCH_KEYS, branch_table, branch_tags
from docker_runner.storage.base import FileQuery, Storage
from docker_runner.storage.names import split_table_id


def refuse_branch_buckets(sources: Mapping[str, str], *, storage: Storage) -> None:
    """Refuse to read from a bucket that belongs to a development branch, as its name says so outright (BR-9).

    Args:
        sources: ids of tables by the key that names them; buckets that do not exist are no branch's.
        storage: where the buckets are.

    Raises:
        ConfigurationError: names all such buckets, and the first key.
    """
    found: dict[str, str] = {}
    for key, table_id in sources.items():
        bucket = storage.bucket(split_table_id(table_id)[0])
        if bucket and any(item.key in BRANCH_KEYS for item in bucket.metadata):
            found.setdefault(bucket.id, key)
    if found:
        raise ConfigurationError(
            f"Buckets of development branches must not be read: {', '.join(found)}. Name the bucket of the default "
            "branch; in its branch a run finds the branch's own tables by itself.",
            key=next(iter(found.values())),
        )


def branch_source(table_id: str, *, branch: str, storage: Storage, log: logging.Logger | None = None) -> str:
    """The table to read instead of a mapped one: the branch's, if it exists (BR-3).

    Args:
        table_id: as mapped, or as remembered in a state.
        branch: id of the development branch; in the default branch nothing is looked for.
        storage: where the tables are.
        log: is told when the branch's table is taken.
    """
    own = branch_table(table_id, branch)
    if own == table_id:
        return table_id
    try:
        storage.table(own)
    except NotFoundError:
        return table_id
    if log:
        log.info("Using the branch's table %s instead of %s.", own, table_id)
    return own


def branch_query(
    query: FileQuery, *, processed_tags: tuple[str, ...], branch: str, storage: Storage, log: logging.Logger
) -> FileQuery:
    """The query that finds the branch's own files, if there are any with all the included tags (BR-6).

    Excluded tags that mark files as processed are the branch's in any case: what production has processed is new here.

    Args:
        query: as mapped.
        processed_tags: the item's tags for processed files.
        branch: id of the development branch; in the default branch the query stays as it is.
        storage: where the files are.
        log: is told when the branch's files are taken.
    """
    if not branch:
        return query
    without = tuple(branch_tags([tag], branch)[0] if tag in processed_tags else tag for tag in query.without_tags)
    own = branch_tags(query.tags, branch)
    if not own or not storage.files(FileQuery(tags=own, limit=1)):
        return replace(query, without_tags=without)
    log.info("Using files with the branch's tags %s instead of %s.", ", ".join(own), ", ".join(query.tags))
    return replace(query, tags=own, without_tags=without)
