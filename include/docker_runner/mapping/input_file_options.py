"""Files of the input mapping: what the options of one item ask for (section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docker_runner.documents import falsy, scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import FileQuery

DEFAULT_LIMIT = 100


@dataclass(frozen=True)
class InputFiles:
    """One item of ``storage.input.files``, understood.

    Attributes:
        key: path of the item in the configuration.
        query: which files, without what a state remembers.
        adaptive: only files that are newer than the one that the state remembers (IF-22).
        identifier: the item's tags as written, in order: they find its state (IF-23).
        processed_tags: what the files get once the run succeeded (IF-7).
    """

    key: str
    query: FileQuery
    adaptive: bool
    identifier: tuple[Mapping[str, str], ...]
    processed_tags: tuple[str, ...]


def input_files(item: Mapping[str, Any], *, key: str, now: datetime, branch: str = "") -> InputFiles:
    """Understand one item (IF-1..IF-15).

    Args:
        item: the item with defaults filled in.
        key: its path in the configuration.
        now: what relative moments refer to.
        branch: id of the development branch; empty in the default branch.

    Raises:
        ConfigurationError: options contradict each other, or nothing says which files are meant; names the key.
    """
    tags = tuple(scalar_text(tag) for tag in item.get("tags") or [])
    source_tags = (item.get("source") or {}).get("tags") or []
    query = "" if falsy(item.get("query")) else scalar_text(item["query"])
    ids = _ids(item, key=f"{key}.file_ids")
    since, limit = item.get("changed_since"), item.get("limit")
    if not (tags or source_tags or query or ids):
        raise ConfigurationError("Say which files: give tags, source.tags, query or file_ids.", key=key)
    if tags and source_tags:
        raise ConfigurationError("Give tags or source.tags, not both.", key=f"{key}.tags")
    if query and branch:
        raise ConfigurationError(
            "Files cannot be found by a query in a development branch: their tags could not be told from those of the "
            "default branch. Give tags or source.tags.",
            key=f"{key}.query",
        )
    if query and since is not None:
        raise ConfigurationError("Give query or changed_since, not both.", key=f"{key}.changed_since")
    if ids and (tags or source_tags or query or since is not None or limit is not None):
        raise ConfigurationError("file_ids may be combined only with processed_tags.", key=f"{key}.file_ids")
    if not item.get("overwrite", True):
        raise ConfigurationError("Must be true: files are written into an empty folder.", key=f"{key}.overwrite")
    adaptive = since == "adaptive"
    return InputFiles(
        key=key,
        query=FileQuery(
            tags=tags or tuple(scalar_text(tag["name"]) for tag in source_tags if tag["match"] == "include"),
            without_tags=tuple(scalar_text(tag["name"]) for tag in source_tags if tag["match"] == "exclude"),
            ids=ids,
            created_since=None if since is None or adaptive else moment(since, now=now, key=f"{key}.changed_since"),
            query=query,
            limit=len(ids) or (DEFAULT_LIMIT if limit is None else int(limit)),
        ),
        adaptive=adaptive,
        identifier=tuple({"name": tag} for tag in tags)
        or tuple({**tag, "name": scalar_text(tag["name"])} for tag in source_tags),
        processed_tags=tuple(scalar_text(tag) for tag in item.get("processed_tags") or []),
    )


def _ids(item: Mapping[str, Any], *, key: str) -> tuple[int, ...]:
    ids = [scalar_text(file_id) for file_id in item.get("file_ids") or []]
    wrong = [file_id for file_id in ids if not (file_id.isdecimal() and len(file_id) < 19)]
    if wrong:
        raise ConfigurationError(f"File ids are numbers, not {wrong[0]!r}.", key=key)
    return tuple(dict.fromkeys(int(file_id) for file_id in ids))
