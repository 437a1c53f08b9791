"""Input mapping of files: from Storage into ``in/files`` (section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.interface.manifests import input_file_manifest, write_manifest
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import FileQuery, Storage, StoredFile

DEFAULT_LIMIT = 100


def load_files(
    items: Sequence[Mapping[str, Any]],
    *,
    storage: Storage,
    folder: Path,
    state: Mapping[str, Any],
    extension: str = "json",
) -> list[dict[str, Any]]:
    """Write the mapped files and their manifests into a folder (IF-20..IF-28).

    Args:
        items: ``storage.input.files`` with defaults filled in.
        storage: where the files are.
        folder: ``in/files`` of the data folder; must be empty.
        state: the stored state document, for adaptive loads.
        extension: format of the manifests.

    Returns:
        For each item ``{tags, files: [{id, destination, bytes}], last_id, processed_tags}``.

    Raises:
        UserError: a mapping is wrong (IF-9..IF-13).
    """
    now = datetime.now(UTC)
    queries = [
        file_query(item, key=f"storage.input.files[{index}]", state=state, now=now) for index, item in enumerate(items)
    ]
    loaded = []
    for item, query in zip(items, queries, strict=True):
        found = storage.files(query)
        _refuse_missing(query, found)
        files = [_load(file, storage=storage, folder=folder, extension=extension) for file in found]
        loaded.append(
            {
                "tags": tags_identifier(item),
                "files": files,
                "last_id": str(max((file["id"] for file in files), default="")),
                "processed_tags": [str(tag) for tag in item.get("processed_tags") or []],
            }
        )
    return loaded


def _refuse_missing(query: FileQuery, found: Sequence[StoredFile]) -> None:
    """Files that are named by id must be there (IF-4)."""
    missing = sorted(set(query.ids) - {file.id for file in found})
    if missing:
        raise NotFoundError(f"There is no file {', '.join(str(file_id) for file_id in missing)} in Storage.")


def _load(file: StoredFile, *, storage: Storage, folder: Path, extension: str) -> dict[str, Any]:
    target = folder / f"{file.id}_{Path(file.name).name}"
    storage.download_file(file.id, target)
    write_manifest(target, input_file_manifest(file), extension=extension)
    return {"id": file.id, "destination": f"in/files/{target.name}", "bytes": file.size_bytes}


def file_query(item: Mapping[str, Any], *, key: str, state: Mapping[str, Any], now: datetime) -> FileQuery:
    """Understand one item of ``storage.input.files`` (IF-1..IF-13).

    Raises:
        ConfigurationError: options contradict each other, or nothing says which files are meant.
    """
    tags = [str(tag) for tag in item.get("tags") or []]
    source_tags = (item.get("source") or {}).get("tags") or []
    ids = [str(file_id) for file_id in item.get("file_ids") or []]
    since = item.get("changed_since")
    if item.get("query"):
        raise ConfigurationError("Full-text queries are not offered; select files by tags.", key=f"{key}.query")
    if not (tags or source_tags or ids):
        raise ConfigurationError("Say which files: give tags, source.tags or file_ids.", key=key)
    if tags and source_tags:
        raise ConfigurationError("Give tags or source.tags, not both.", key=f"{key}.tags")
    if ids and (tags or source_tags or since or item.get("limit")):
        raise ConfigurationError("file_ids may be combined only with processed_tags.", key=f"{key}.file_ids")
    if not item.get("overwrite", True):
        raise ConfigurationError("Must be true: files are written into an empty folder.", key=f"{key}.overwrite")
    wrong = [file_id for file_id in ids if not file_id.isdigit()]
    if wrong:
        raise ConfigurationError(f"File ids are numbers, not {wrong[0]!r}.", key=f"{key}.file_ids")
    adaptive = since == "adaptive"
    return FileQuery(
        tags=tuple(tags or [tag["name"] for tag in source_tags if tag["match"] == "include"]),
        without_tags=tuple(tag["name"] for tag in source_tags if tag["match"] == "exclude"),
        ids=tuple(int(file_id) for file_id in ids),
        since_id=_last_id(item, state) if adaptive else None,
        created_since=moment(since, now=now, key=f"{key}.changed_since") if since and not adaptive else None,
        limit=int(item.get("limit") or len(ids) or DEFAULT_LIMIT),
    )


def tags_identifier(item: Mapping[str, Any]) -> list[dict[str, str]]:
    """What identifies an item in the state: its list of tags, in order (IF-23)."""
    if item.get("tags"):
        return [{"name": str(tag)} for tag in item["tags"]]
    return [dict(tag) for tag in (item.get("source") or {}).get("tags") or []]


def _last_id(item: Mapping[str, Any], state: Mapping[str, Any]) -> int | None:
    known = state.get("storage", {}).get("input", {}).get("files", [])
    ids = [str(entry["lastImportId"]) for entry in known if entry["tags"] == tags_identifier(item)]
    if ids and not ids[0].isdecimal():
        raise ConfigurationError(f"Must be the id of a file, not {ids[0]!r}.", key="lastImportId in the state")
    return int(ids[0]) if ids else None


def file_states(loaded: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the state remembers of every item; an item that found nothing keeps its former entry (IF-24)."""
    known = state.get("storage", {}).get("input", {}).get("files", [])
    states = []
    for item in loaded:
        if item["last_id"]:
            states.append({"tags": item["tags"], "lastImportId": item["last_id"]})
        else:
            states.extend([entry for entry in known if entry["tags"] == item["tags"]][:1])
    return states


def tags_to_add(loaded: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, ...]]:
    """Tags that mark files as processed, by file id (IF-29)."""
    return {
        int(file["id"]): tuple(item["processed_tags"])
        for item in loaded
        if item["processed_tags"]
        for file in item["files"]
    }
