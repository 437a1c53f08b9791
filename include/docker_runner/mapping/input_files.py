"""Input mapping of files: from Storage into ``in/files`` (section 7)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.errors import ApplicationError, ConfigurationError, RunnerError, UserError
from docker_runner.interface.manifests import LONGEST_NAME, input_file_manifest, write_manifest
from docker_runner.mapping.branch_sources import branch_query
from docker_runner.mapping.branches import branch_tags
from docker_runner.mapping.input_file_options import InputFiles, input_files
from docker_runner.storage.base import FileQuery, Storage, StoredFile


@dataclass(frozen=True)
class FileReader:
    """Reads files for one row of a job.

    Attributes:
        storage: where the files are.
        folder: ``in/files`` of the data folder; must be empty.
        state: the stored state document, for adaptive loads (IF-22).
        log: is told what was fetched.
        extension: format of the manifests.
        branch: id of the development branch; empty in the default branch (BR-6).
    """

    storage: Storage
    folder: Path
    state: Mapping[str, Any]
    log: logging.Logger
    extension: str = "json"
    branch: str = ""

    def find(self, items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[InputFiles, Sequence[StoredFile]]]:
        """Understand all items, then find the files of each, newest first.

        Args:
            items: ``storage.input.files`` with defaults filled in.

        Raises:
            UserError: a mapping is wrong (IF-9..IF-15), or Storage refuses it (IF-32).
        """
        for item in _understood(items, branch=self.branch):
            query = replace(item.query, since_id=_last_id(item, self.state) if item.adaptive else None)
            found = _found(item, query, storage=self.storage, branch=self.branch, log=self.log)
            missing = sorted(set(query.ids) - {file.id for file in found})
            if missing:
                self.log.warning("There is no file %s in Storage.", ", ".join(str(file_id) for file_id in missing))
            yield item, found

    def load(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write the mapped files and their manifests into the folder (IF-20..IF-28).

        Args:
            items: ``storage.input.files`` with defaults filled in.

        Returns:
            For each item ``{tags, files: [{id, destination, bytes}], last_id}``.

        Raises:
            UserError: as of :meth:`find`.
            ApplicationError: a file cannot be downloaded (IF-27).
        """
        loaded = []
        for item, found in self.find(items):
            files = [self._load(file) for file in found]
            last_id = str(max((file["id"] for file in files), default=""))
            loaded.append({"tags": [dict(tag) for tag in item.identifier], "files": files, "last_id": last_id})
        if loaded:
            self.log.info("All files were fetched.")
        return loaded

    def _load(self, file: StoredFile) -> dict[str, Any]:
        target = self.folder / file_name(file)
        try:
            if file.is_sliced and target.is_dir():
                # An earlier item of the mapping had the same file.
                shutil.rmtree(target)
            self.storage.download_file(file.id, target)
            write_manifest(target, input_file_manifest(file), extension=self.extension)
        except (RunnerError, OSError) as error:
            # It was there a moment ago: whatever happened is nothing that the mapping's author could change.
            raise ApplicationError(f"The file {file.name} ({file.id}) could not be downloaded: {error}") from error
        self.log.info("Fetched file %s: %s bytes.", target.name, file.size_bytes)
        return {"id": file.id, "destination": f"in/files/{target.name}", "bytes": file.size_bytes}


def _understood(items: Sequence[Mapping[str, Any]], *, branch: str) -> list[InputFiles]:
    now = datetime.now(UTC)
    return [
        input_files(item, key=f"storage.input.files[{index}]", now=now, branch=branch)
        for index, item in enumerate(items)
    ]


def _found(
    item: InputFiles, query: FileQuery, *, storage: Storage, branch: str, log: logging.Logger
) -> Sequence[StoredFile]:
    """The files of an item, newest first; what Storage refuses is told with the item's key (IF-32)."""
    try:
        query = branch_query(query, processed_tags=item.processed_tags, branch=branch, storage=storage, log=log)
        return storage.files(query)
    except UserError as error:
        key = f"{item.key}.query" if item.query.query else item.key
        raise ConfigurationError(f"This cannot be imported from Storage: {error}", key=key) from error


def file_name(file: StoredFile) -> str:
    """``<id>_<name>`` (IF-25); a name so long that its manifest could not be written loses characters in its middle."""
    name = f"{file.id}_{Path(file.name).name}"
    while len(name.encode()) > LONGEST_NAME:
        middle = len(name) // 2
        name = name[:middle] + name[middle + 1 :]
    return name


def _last_id(item: InputFiles, state: Mapping[str, Any]) -> int | None:
    known = _known(state, [dict(tag) for tag in item.identifier])
    if known is None:
        return None
    last_id = str(known["lastImportId"])
    if not last_id.isdecimal():
        raise ConfigurationError(f"Must be the id of a file, not {last_id!r}.", key="lastImportId in the state")
    return int(last_id)


def _known(state: Mapping[str, Any], tags: list[dict[str, str]]) -> Mapping[str, Any] | None:
    """What the state remembers of an item with exactly these tags in this order (IF-23, BR-7)."""
    entries = state.get("storage", {}).get("input", {}).get("files", [])
    return next((entry for entry in entries if entry["tags"] == tags), None)


def file_states(loaded: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the state remembers of every item; an item that found nothing keeps its former entry (IF-24)."""
    states = []
    for item in loaded:
        known = _known(state, item["tags"])
        if item["last_id"]:
            states.append({"tags": item["tags"], "lastImportId": item["last_id"]})
        elif known:
            states.append(dict(known))
    return states


def tags_to_add(
    items: Sequence[Mapping[str, Any]],
    loaded: Sequence[Mapping[str, Any]],
    *,
    storage: Storage,
    branch: str = "",
    log: logging.Logger,
) -> dict[int, tuple[str, ...]]:
    """Tags that mark files as processed, by file id (IF-7, IF-29).

    They go to every file that was read, and to those that the same options find now, without what the state
    remembers: files that were created meanwhile too.

    Args:
        items: ``storage.input.files`` with defaults filled in.
        loaded: what :meth:`FileReader.load` returned for them.
        storage: where the files are.
        branch: id of the development branch, which prefixes the tags (BR-8); empty in the default branch.
        log: is told which tags a branch looks for.
    """
    tags: dict[int, dict[str, None]] = {}
    for item, done in zip(_understood(items, branch=branch), loaded, strict=True):
        if not item.processed_tags:
            continue
        ids = tuple(int(file["id"]) for file in done["files"])
        read = storage.files(FileQuery(ids=ids, limit=len(ids))) if ids else ()
        for file in (*read, *_found(item, item.query, storage=storage, branch=branch, log=log)):
            tags.setdefault(file.id, {}).update(dict.fromkeys(branch_tags(item.processed_tags, branch)))
    return {file_id: tuple(names) for file_id, names in tags.items()}
