"""Artifacts of a row: those of earlier jobs before its component runs, its own kept for the row's commit afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.interface.artifacts import (
    ARCHIVE,
    LARGEST_ARCHIVE_BYTES,
    SHARED_TAG,
    TAG,
    ArtifactOwner,
    job_folder,
    loose_files,
    pack,
    unpack,
)
from docker_runner.interface.data_folder import DataFolder
from docker_runner.interface.environment import RunIdentity
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace, remove_path, remove_tree
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import FileQuery, FileUpload, StoredFile

MOST = 50
_KEPT = "kept_artifacts"
_KINDS = ("runs", "custom", "shared")
_IDS = {"branch_id": "branchId", "component_id": "componentId", "config_id": "configId"}


@dataclass(frozen=True)
class Wanted:
    """Artifacts of one kind that a configuration wants."""

    kind: str
    query: FileQuery


def wanted_artifacts(configuration: Mapping[str, Any], component_id: str, identity: RunIdentity) -> list[Wanted]:
    """Which artifacts a configuration wants; its kinds can be combined (AR-2, AR-5, D22).

    Args:
        configuration: effective configuration, checked, with defaults.
        component_id: the main component.
        identity: ids of the run.

    Raises:
        ConfigurationError: a kind has no filter, or a filter cannot be understood; names the key.
    """
    artifacts = configuration.get("artifacts") or {}
    enabled = [kind for kind in _KINDS if (artifacts.get(kind) or {}).get("enabled")]
    owner = _owner(component_id, identity)
    found = []
    for kind in enabled:
        if kind == SHARED_TAG:
            query = FileQuery(tags=(TAG, *owner.shared_tags()), limit=MOST) if owner.orchestration_id else None
        else:
            given = {name: value for name, value in (artifacts[kind].get("filter") or {}).items() if value}
            query = _query(kind, given, owner, main_branch=not identity.is_dev_branch)
        if query:
            found.append(Wanted(kind, query))
    return found


def refuse_wrong_artifacts(configuration: Mapping[str, Any]) -> None:
    """Refuse a configuration whose wishes for artifacts are wrong, whoever runs it (AR-2).

    Raises:
        ConfigurationError: as :func:`wanted_artifacts`.
    """
    nobody = RunIdentity(
        run_id="", project_id="", stack_id="", config_id="", config_version="", row_id="", branch_id="", mode="run"
    )
    wanted_artifacts(configuration, "", nobody)


def _query(kind: str, given: Mapping[str, Any], owner: ArtifactOwner, *, main_branch: bool) -> FileQuery:
    key = f"artifacts.{kind}.filter"
    needed = ("date_since", "limit") if kind == "runs" else tuple(_IDS)
    if not any(name in given for name in needed):
        raise ConfigurationError(f"Say which artifacts: give at least one of {', '.join(needed)}.", key=key)
    limit = given.get("limit", MOST)
    if limit < 1:
        raise ConfigurationError("Must be a number from 1 to 50.", key=f"{key}.limit")
    tags = list(owner.configuration_tags())
    for position, (name, tag) in enumerate(_IDS.items()):
        # Keboola's documentation calls the main branch by this name.
        if name in given and not (name == "branch_id" and given[name] == "default" and main_branch):
            tags[position] = f"{tag}-{given[name]}"
    since = None
    if "date_since" in given:
        day = moment(given["date_since"], now=datetime.now(UTC), key=f"{key}.date_since").astimezone(UTC)
        since = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return FileQuery(tags=(TAG, *tags), without_tags=(SHARED_TAG,), created_since=since, limit=min(limit, MOST))


def _owner(component_id: str, identity: RunIdentity) -> ArtifactOwner:
    return ArtifactOwner(
        branch_id=identity.branch_id or "default",
        component_id=component_id,
        config_id=identity.config_id,
        job_id=identity.job_id,
        orchestration_id=identity.orchestration_id,
    )


def fetch_artifacts(row: JobDefinition, data: DataFolder, folders: RowWorkspace, tools: Tools) -> list[int]:
    """Write the artifacts that a row wants into ``artifacts/in/<kind>/jobs/job-<id>`` (AR-3..AR-5).

    What is wrong with one of them is a warning, and the others are written all the same.

    Args:
        row: the row.
        data: what its main container will see.
        folders: its workspace.
        tools: Storage and the log.

    Returns:
        The ids of the files that were written.
    """
    wanted = wanted_artifacts(row.configuration, row.component.id, row.identity)
    if not wanted or not _usable(row, tools):
        return []
    # Whatever an earlier image made there, links for example, must not lead anywhere.
    remove_path(data.artifacts / "in")
    fetched: list[int] = []
    for kind, query in ((item.kind, item.query) for item in wanted):
        before = len(fetched)
        # Of two with the same name the newest stays.
        for file in reversed(tools.storage.files(query)):
            try:
                _fetch(file, data.artifacts / "in" / kind / "jobs", folders, tools, unpacked=_zipped(row))
                fetched.append(file.id)
            except UserError as error:
                tools.log.warning("The artifact %s (file %s) is left out: %s", file.name, file.id, error)
        tools.log.info("Fetched artifacts of kind %s: %s", kind, len(fetched) - before)
    return fetched


def _fetch(file: StoredFile, jobs: Path, folders: RowWorkspace, tools: Tools, *, unpacked: bool) -> None:
    if file.name in ("", ".", "..") or "/" in file.name:
        raise UserError("its name cannot be the name of a file.")
    target = jobs / job_folder(file.tags)
    scratch = _scratch(folders, "fetched")
    downloaded = scratch / file.name
    tools.storage.download_file(file.id, downloaded)
    content = scratch / ".content"
    content.mkdir()
    if unpacked:
        _warn_left_out(unpack(downloaded, content), tools)
    else:
        downloaded.rename(content / file.name)
    try:
        shutil.copytree(content, target, dirs_exist_ok=True, copy_function=_move)
    except (shutil.Error, FileExistsError, NotADirectoryError):
        raise UserError("another one of the same job has a folder where this one has a file.") from None
    remove_tree(scratch)


def _move(source: str, target: str) -> None:
    Path(source).replace(target)


def keep_artifacts(row: JobDefinition, data: DataFolder, folders: RowWorkspace, tools: Tools) -> None:
    """Put aside what the component left as artifacts, for the row's commit (AR-6, AR-7).

    Later images see the same files and may change them; what counts is what the component itself left.
    """
    folders.begin(_KEPT)
    left = data.artifacts / "out"
    kinds = {"current": False, **({"shared": True} if row.identity.orchestration_id else {})}
    filled = [kind for kind in kinds if (left / kind).is_dir() and any((left / kind).iterdir())]
    if not filled or not _usable(row, tools):
        return
    owner = _owner(row.component.id, row.identity)
    scratch = _scratch(folders, "kept")
    kept = []
    for kind in filled:
        collect = _packed if _zipped(row) else _loose
        (scratch / kind).mkdir()
        for path in collect(left / kind, scratch / kind, tools):
            if path.stat().st_size > LARGEST_ARCHIVE_BYTES:
                tools.log.warning("The artifact %s is not stored: it is larger than 1 GiB.", path.name)
                path.unlink()
            else:
                kept.append({"path": str(path), "tags": owner.tags(shared=kinds[kind])})
    folders.finish(_KEPT, {"files": kept})


def kept_uploads(folders: RowWorkspace) -> tuple[FileUpload, ...]:
    """The uploads of what :func:`keep_artifacts` put aside."""
    kept = (folders.done(_KEPT) or {}).get("files", [])
    return tuple(FileUpload(Path(item["path"]), Path(item["path"]).name, tuple(item["tags"])) for item in kept)


def _packed(folder: Path, target: Path, tools: Tools) -> Iterator[Path]:
    _warn_left_out(pack(folder, target / ARCHIVE), tools)
    yield target / ARCHIVE


def _loose(folder: Path, target: Path, tools: Tools) -> Iterator[Path]:
    files, left_out = loose_files(folder)
    _warn_left_out(left_out, tools)
    for number, path in enumerate(files):
        if not path.name.isprintable():
            tools.log.warning("The artifact %r is not stored: its name has characters that Storage refuses.", path.name)
            continue
        (target / str(number)).mkdir()
        yield Path(shutil.copyfile(path, target / str(number) / path.name))


def _warn_left_out(names: list[str], tools: Tools) -> None:
    if names:
        # A name may be bytes that are no text.
        shown = ", ".join(names[:5]).encode("utf-8", "replace").decode() + (" …" if len(names) > 5 else "")
        tools.log.warning("Only files and folders with names of their own can be artifacts; left out: %s", shown)


def _zipped(row: JobDefinition) -> bool:
    options = (row.configuration.get("artifacts") or {}).get("options") or {}
    return bool(options.get("zip", True))


def _usable(row: JobDefinition, tools: Tools) -> bool:
    """Whether artifacts are fetched and stored at all (AR-1, AR-7)."""
    if "artifacts" not in row.identity.features:
        tools.log.warning("Artifacts are left out: the project does not have the feature artifacts.")
        return False
    if not row.stores_state:
        tools.log.warning("Artifacts are left out: they belong to a configuration, and this run has none.")
        return False
    return True


def _scratch(folders: RowWorkspace, name: str) -> Path:
    """An empty folder outside of what containers see."""
    folder = folders.folder / f"artifacts-{name}"
    remove_tree(folder)
    folder.mkdir()
    return folder
