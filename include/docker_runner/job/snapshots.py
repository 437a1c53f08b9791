"""Debug mode: snapshots of the data folder before each image and at the end (LC-60..LC-63)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import read_output
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ConfigurationError
from docker_runner.interface.config_file import rendered
from docker_runner.job.definition import JobDefinition
from docker_runner.job.workspace import RowWorkspace
from docker_runner.job.zipping import STATE_FILES, zip_folder
from docker_runner.secret_keys import hide_secrets
from docker_runner.storage.base import Commit, FileUpload, Storage, StoredFile


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
    tags = ("debug", component.id, f"jobId:{row.identity.job_id}", f"rowId:{row.row_id}")
    texts = {
        path: redactor.redact(_masked(content, extension=path.rsplit(".", 1)[1]))
        for path, content in secret_files.items()
    }
    states = dict.fromkeys(STATE_FILES, lambda file: redactor.redact(_masked_file(file)))
    try:
        zip_folder(data.root, archive, texts=texts, rewritten=states)
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
