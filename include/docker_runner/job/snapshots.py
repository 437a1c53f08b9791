"""Debug mode: snapshots of the data folder before each image and at the end (LC-60..LC-63)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import hide_secrets, read_output
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ConfigurationError
from docker_runner.interface.config_file import rendered
from docker_runner.interface.data_folder import EXTENSIONS
from docker_runner.job.definition import JobDefinition
from docker_runner.job.workspace import RowWorkspace
from docker_runner.storage.base import Commit, FileUpload, Storage, StoredFile

_MASKED = frozenset(f"{folder}/state.{extension}" for folder in ("in", "out") for extension in EXTENSIONS)


def store_snapshot(
    row: JobDefinition,
    folders: RowWorkspace,
    storage: Storage,
    *,
    stage: int | None,
    secret_files: Mapping[str, Mapping[str, Any]],
    redactor: Redactor,
    more: tuple[FileUpload, ...] = (),
) -> tuple[StoredFile, ...]:
    """Zip a data folder and store it as a file.

    Args:
        row: the row that runs.
        folders: its workspace.
        storage: where the snapshot goes.
        stage: position of the image that is about to run; None for the output of the last one.
        secret_files: content, by path below ``/data``, of the files that hold secrets in plain text and exist only
            while their container runs; their secrets are masked, in JSON and in YAML (D16).
        redactor: hides secrets wherever else they stand in these files and in the states.
        more: files to store in the same commit.

    Returns:
        What was stored, the snapshot first.
    """
    position = len(row.stages) - 1 if stage is None else stage
    name = f"stage_{'output' if stage is None else stage}.zip"
    component = row.main.component if stage is None else row.stages[position].component
    data = folders.data(position)
    archive = folders.folder / name
    tags = ("debug", component.id, f"jobId:{row.identity.run_id}", f"rowId:{row.row_id}")
    try:
        # Components may date their files before 1980, which a zip cannot tell.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as target:
            _add_folder(target, data.root, redactor=redactor, left_out=secret_files)
            for path, content in secret_files.items():
                target.writestr(path, redactor.redact(_masked(content, extension=path.rsplit(".", 1)[1])))
        files = (FileUpload(source=archive, name=name, tags=tags), *more)
        return storage.commit(Commit(key=f"{folders.attempt(position)}-{name}", files=files)).files
    finally:
        archive.unlink(missing_ok=True)


def _masked(content: Any, *, extension: str) -> str:
    return rendered(hide_secrets(content), extension=extension)


def _masked_file(path: Path) -> str:
    """A state with its ``#`` values hidden, known to the redactor or not; nothing of a state that is not valid."""
    try:
        content = read_output(path, shown=path.name)
    except ConfigurationError:
        return ""
    return _masked(content, extension=path.suffix[1:])


def _add_folder(
    target: zipfile.ZipFile, root: Path, *, redactor: Redactor, left_out: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add everything below a folder, empty folders included, dot-files and links left out (LC-61)."""
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_symlink() or any(part.startswith(".") for part in relative.parts) or str(relative) in left_out:
            continue
        if str(relative) in _MASKED and path.is_file():
            target.writestr(str(relative), redactor.redact(_masked_file(path)))
        elif path.is_dir() or path.is_file():
            target.write(path, str(relative))
