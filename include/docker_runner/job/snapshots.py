"""Debug mode: snapshots of the data folder before each image and at the end (LC-60..LC-63)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import hide_secrets, read_output
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ConfigurationError
from docker_runner.job.definition import JobDefinition
from docker_runner.job.workspace import RowWorkspace
from docker_runner.storage.base import Commit, FileUpload

_MASKED = frozenset({"in/state.json", "in/state.yml", "out/state.json", "out/state.yml"})


def snapshot_commit(
    row: JobDefinition,
    folders: RowWorkspace,
    *,
    stage: int | None,
    config: Mapping[str, Any] | None,
    redactor: Redactor,
) -> Commit:
    """Zip a data folder and describe its upload.

    Args:
        row: the row that runs.
        folders: its workspace.
        stage: position of the image that is about to run; None for the output of the last one.
        config: content of the config file that the image will see; its secrets are masked (D16).
        redactor: hides secrets in the state files.
    """
    position = len(row.stages) - 1 if stage is None else stage
    name = f"stage_{'output' if stage is None else stage}.zip"
    component = row.main.component if stage is None else row.stages[position].component
    data = folders.data(position)
    archive = folders.folder / name
    # Components may date their files before 1980, which a zip cannot tell.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as target:
        _add_folder(target, data.root, redactor=redactor)
        if config is not None:
            target.writestr("config.json", json.dumps(hide_secrets(config), indent=4))
    tags = ("debug", component.id, f"jobId:{row.identity.run_id}", f"rowId:{row.row_id}")
    return Commit(key=f"{folders.attempt(position)}-{name}", files=(FileUpload(source=archive, name=name, tags=tags),))


def _masked(path: Path) -> str:
    """A state with its ``#`` values hidden, known to the redactor or not; nothing of a state that is not valid."""
    try:
        content = read_output(path, shown=path.name)
    except ConfigurationError:
        return ""
    return json.dumps(hide_secrets(content), indent=4)


def _add_folder(target: zipfile.ZipFile, root: Path, *, redactor: Redactor) -> None:
    """Add everything below a folder, empty folders included, dot-files and links left out (LC-61)."""
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_symlink() or any(part.startswith(".") for part in relative.parts):
            continue
        if str(relative) in _MASKED and path.is_file():
            target.writestr(str(relative), redactor.redact(_masked(path)))
        elif path.is_dir() or path.is_file():
            target.write(path, str(relative))
