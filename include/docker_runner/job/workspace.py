"""The folders of one run, made so that any step can be repeated from its own clean starting point.

::

    <root>/<job>/
        job.json                    the resolved job; secrets are ciphers
        rows/<row>/
            staged/{tables,files}   what the load steps wrote
            stages/<n>/data         what the n-th container sees as /data, made anew for each attempt
            stages/<n>/tmp          its /tmp
            stages/<n>/run.json     how far its container has come, see :mod:`docker_runner.job.supervision`
            manifests/<step>.json   what each finished step reported

A step removes its manifest when it begins and writes it when it is done, so a later step sees whether what it builds
on is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.errors import ApplicationError, UserError
from docker_runner.interface.data_folder import DataFolder
from docker_runner.job.definition import Job

_NOT_CARRIED_ON = frozenset({"in", "out", "config.json", "config.yml"})
_NAME_CHARACTERS = 200
_GONE = "The folders of this run are gone: it was stopped and cleaned up while this step was still at work."
# What the runner makes or writes itself in the next `/data`: whatever else the container left there must not stay.
_MADE_ANEW = ("user", "state.json", "state.yml")


class MissingWorkspaceError(ApplicationError):
    """The folders of a run are not there."""


@dataclass(frozen=True)
class Workspace:
    """The folders of one run.

    Args:
        root: folder of all runs.
        job_id: the run's identity.
    """

    root: Path
    job_id: str

    @property
    def folder(self) -> Path:
        """This run's folder."""
        return self.root / folder_name(self.job_id)

    def create(self, job: Job) -> None:
        """Make the run's folders anew; whatever an earlier attempt left is removed first."""
        self.remove()
        self.folder.mkdir(parents=True, mode=0o700)
        (self.folder / "events").mkdir()
        for row in job.rows:
            self.row(row.row_id).create()
        write_whole(self.folder / "job.json", job.to_json())

    def job(self) -> Job:
        """The resolved job.

        Raises:
            MissingWorkspaceError: the workspace is gone; tells how to go on.
        """
        try:
            return Job.from_json((self.folder / "job.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingWorkspaceError(
                f"The workspace {self.folder} does not exist (any more): clear create_workspace and all tasks after it."
            ) from None

    def row(self, row_id: str) -> RowWorkspace:
        """The folders of one row; the empty id is a configuration without rows."""
        return RowWorkspace(self.folder / "rows" / (folder_name(row_id) if row_id else "_"))

    def remove(self) -> None:
        """Remove everything of this run."""
        remove_tree(self.folder)


@dataclass(frozen=True)
class RowWorkspace:
    """The folders of one row of a run."""

    folder: Path

    def create(self) -> None:
        """Make the empty folders."""
        for name in ("staged/tables", "staged/files", "stages", "manifests"):
            (self.folder / name).mkdir(parents=True)

    def staged(self, kind: str) -> Path:
        """The folder of ``tables`` or ``files`` as loaded from Storage."""
        return self.folder / "staged" / kind

    def clear_staged(self, kind: str) -> Path:
        """Empty a staging folder and give it."""
        (self.folder / "manifests" / _source_record(0)).unlink(missing_ok=True)
        remove_tree(self.staged(kind))
        self._make(self.staged(kind))
        return self.staged(kind)

    def data(self, stage: int, *, extension: str = "json") -> DataFolder:
        """``/data`` of the n-th container."""
        return DataFolder(self.folder / "stages" / str(stage) / "data", extension)

    def stage(self, stage: int) -> Path:
        """The folder of the n-th container; it is made anew for each container, and the container sees parts of it."""
        return self.folder / "stages" / str(stage)

    def tmp(self, stage: int) -> Path:
        """``/tmp`` of the n-th container."""
        return self.folder / "stages" / str(stage) / "tmp"

    def make_stage(self, stage: int, *, extension: str = "json") -> DataFolder:
        """Make ``/data`` and ``/tmp`` of the n-th container anew (DF-1, DF-4).

        ``in`` holds what the previous stage produced, as hard links: the container may move and delete its files
        without touching the originals.

        Raises:
            UserError: an earlier attempt changed its input files in place; says what to clear.
            ApplicationError: the run's folders are gone.
            ConfigurationError: the previous container left links in place of its folders.
        """
        if not self.folder.exists():
            raise ApplicationError(_GONE)
        if stage > 0:
            self.data(stage - 1).refuse_replaced()
        source = self.source_of(stage)
        self._refuse_changed(stage, source)
        data = self.data(stage, extension=extension)
        remove_tree(data.root.parent)
        (self.folder / "manifests" / _source_record(stage + 1)).unlink(missing_ok=True)
        self._make(data.root.parent, data.root, self.tmp(stage))
        write_whole(data.root.parent / "attempt", uuid.uuid4().hex)
        _link_tree(source, data.inputs)
        if stage > 0:
            self._carry_on(stage, data)
        data.make()
        return data

    def _make(self, *folders: Path) -> None:
        """Make folders, but never the run's own again: those that were removed meanwhile must stay away."""
        try:
            for folder in folders:
                folder.mkdir()
        except FileNotFoundError:
            raise ApplicationError(_GONE) from None

    def attempt(self, stage: int) -> str:
        """Identity of what the n-th stage produced: another one whenever the stage is made anew."""
        return (self.data(stage).root.parent / "attempt").read_text()

    def last_made(self) -> int | None:
        """The stage that was made last, whether or not its container did its work; None when none was made."""
        made = {path.stat().st_mtime_ns: int(path.parent.name) for path in self.folder.glob("stages/*/attempt")}
        return made[max(made)] if made else None

    def source_of(self, stage: int) -> Path:
        """The folder whose files the n-th container gets as its input."""
        return self.folder / "staged" if stage == 0 else self.data(stage - 1).outputs

    def _carry_on(self, stage: int, data: DataFolder) -> None:
        """What else lay in the previous ``/data`` stays for the following images, its states do not (DF-4, DF-5)."""
        for name in _MADE_ANEW:
            remove_path(data.inputs / name)
        for entry in sorted(self.data(stage - 1).root.iterdir()):
            if entry.name not in _NOT_CARRIED_ON:
                _link_tree(entry, data.root / entry.name)

    def _refuse_changed(self, stage: int, source: Path) -> None:
        """Hard links share content: a component that rewrites an input file in place spoils it for the next attempt."""
        record = self.folder / "manifests" / _source_record(stage)
        present = fingerprint(source)
        if not record.exists():
            write_whole(record, json.dumps(present))
        elif json.loads(record.read_text()) != present:
            before = "load_tables and load_files" if stage == 0 else "the container's step before this one"
            raise UserError(
                "An earlier attempt changed its input files in place, so this step cannot start from a clean input: "
                f"clear {before} and all tasks after it."
            )

    def begin(self, step: str) -> None:
        """A step begins: whatever it reported before does not count any more."""
        (self.folder / "manifests" / f"{step}.json").unlink(missing_ok=True)

    def finish(self, step: str, manifest: Mapping[str, Any]) -> None:
        """A step is done."""
        write_whole(self.folder / "manifests" / f"{step}.json", json.dumps(manifest))

    def finish_first(self, step: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """As :meth:`finish`, unless somebody has done it already; gives what is there then."""
        path = self.folder / "manifests" / f"{step}.json"
        own = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            own.write_text(json.dumps(manifest), encoding="utf-8")
            with suppress(FileExistsError):
                os.link(own, path)
        finally:
            own.unlink(missing_ok=True)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def done(self, step: str) -> dict[str, Any] | None:
        """What a finished step reported; None when it is not done in this workspace."""
        try:
            content: dict[str, Any] = json.loads((self.folder / "manifests" / f"{step}.json").read_text())
        except FileNotFoundError:
            return None
        return content


def _source_record(stage: int) -> str:
    return f".source_{stage}.json"


def folder_name(text: str) -> str:
    """A text as the name of a folder: readable, safe, and another one for every other text."""
    name = re.sub(r"^\.|[^A-Za-z0-9_.-]", lambda match: f"~{ord(match[0]):x}", text)
    if len(name) <= _NAME_CHARACTERS:
        return name
    # What tells two runs of one configuration apart stands at the end, which would be cut off.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: _NAME_CHARACTERS - len(digest) - 2]}~~{digest}"


def fingerprint(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of every file below a folder, by relative path."""
    found = {}
    for path in _files(folder):
        status = path.lstat()
        found[str(path.relative_to(folder))] = [status.st_size, status.st_mtime_ns]
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir() or path.is_symlink())


def _link_tree(source: Path, target: Path) -> None:
    """Rebuild a folder from hard links; links are kept as links, special files are left behind."""
    mode = source.lstat().st_mode
    if stat.S_ISDIR(mode):
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            _link_tree(entry, target / entry.name)
    elif stat.S_ISREG(mode):
        os.link(source, target)
    elif stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())


def remove_tree(folder: Path) -> None:
    """Remove a folder, also one with folders that its owner may not enter; a missing one is fine."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except PermissionError:
        folder.chmod(0o700)
        for parent, folders, _ in os.walk(folder):
            for path in (Path(parent) / name for name in folders):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(folder)


def remove_path(path: Path) -> None:
    """Remove whatever is there; links are removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there completely or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
