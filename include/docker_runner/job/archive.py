"""One file with a whole data folder: what the modes sandbox, input and dry-run store instead of results (LC-65).

Whoever may read files may read it, so its secrets are ciphers, as they are wherever they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker_runner.engine.redaction import Redactor
from docker_runner.interface.config_file import rendered
from docker_runner.interface.data_folder import DataFolder
from docker_runner.interface.state import rendered_state
from docker_runner.job.artifacts import fetch_artifacts
from docker_runner.job.config import sealed_config
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.job.stages import redactor_of
from docker_runner.job.state import kept_new_state, sealed_state
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.job.zipping import CONFIG_FILES, STATE_FILES, zip_folder
from docker_runner.secret_keys import HIDDEN, replace_secrets, walk_secrets
from docker_runner.storage.base import Commit, FileUpload, StoredFile

NAME = "data.zip"
_FIRST = 0


def make_archived_folder(row: JobDefinition, folders: RowWorkspace, tools: Tools) -> None:
    """Make the data folder that the component would get, with ciphers in place of secrets; nothing runs in it.

    Raises:
        ConfigurationError: a secret of the configuration, the component or the state is plain text (EN-10).
    """
    config, state = sealed_config(row.main, row), sealed_state(row, folders, tools)
    data = folders.make_stage(_FIRST, extension=row.extension)
    data.config_file.write_text(rendered(config, extension=data.extension), encoding="utf-8")
    data.in_state.write_text(rendered_state(state, extension=data.extension), encoding="utf-8")
    fetch_artifacts(row, data, folders, tools)


def archive_tags(row: JobDefinition) -> tuple[str, ...]:
    """The tags by which the file is found (LC-65)."""
    return tuple(dict.fromkeys((row.mode.value, "docker", row.component.id)))


def store_archive(job: Job, row: JobDefinition, folders: RowWorkspace, tools: Tools) -> StoredFile:
    """Store the data folder as a file, tagged with mode and component (LC-65).

    It is the folder that :func:`make_archived_folder` has made or, when images have run, what the last one left, with
    the config file and the states that were in it.

    Args:
        job: the job.
        row: its only row.
        folders: the row's workspace.
        tools: Storage, keys, log.
    """
    position = len(row.images) - 1 if row.images else _FIRST
    archive = folders.folder / NAME
    try:
        if row.images:
            data = folders.data(position, extension=row.images[position].component.extension)
            texts = _sealed_files(row, data, folders, tools, redactor=redactor_of(job, row, folders, tools))
            # What lies there now may be in plain text.
            zip_folder(data.root, archive, texts=texts, left_out=CONFIG_FILES | STATE_FILES)
        else:
            zip_folder(folders.data(position).root, archive, texts={})
        upload = FileUpload(archive, NAME, archive_tags(row))
        commit = Commit(f"{folders.attempt(position)}-{NAME}", files=(upload,))
        (stored,) = tools.storage.commit(commit).files
    finally:
        archive.unlink(missing_ok=True)
    tools.log.info("Stored the data folder, %s, as file %s.", stored.name, stored.id)
    return stored


def _sealed_files(
    row: JobDefinition, data: DataFolder, folders: RowWorkspace, tools: Tools, *, redactor: Redactor
) -> dict[str, str]:
    """The files of the last image that had secrets in plain text, by their paths in the data folder."""
    stage = row.images[-1]
    texts = {data.config_file: rendered(sealed_config(stage, row), extension=data.extension)}
    if stage.is_main:
        texts[data.in_state] = rendered_state(sealed_state(row, folders, tools), extension=data.extension)
        if new := kept_new_state(folders):
            texts[data.out_state] = rendered_state(_redacted(new, redactor), extension=data.extension)
    return {str(file.relative_to(data.root)): text for file, text in texts.items()}


def _redacted(document: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """What a component wrote, with its ciphers, and without secrets that it wrote in plain text beside them."""
    ciphers = dict(walk_secrets(document))
    redacted: dict[str, Any] = replace_secrets(
        redactor.redact_document(document), lambda path, _: ciphers.get(path, HIDDEN)
    )
    return redacted
