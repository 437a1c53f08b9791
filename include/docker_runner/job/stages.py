"""One image of a row: everything that happens around its container (LC-32 step 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker_runner.engine.images import PreparedImage
from docker_runner.engine.redaction import Redactor
from docker_runner.interface.config_file import rendered
from docker_runner.interface.data_folder import DataFolder, write_secret
from docker_runner.interface.environment import container_environment
from docker_runner.interface.state import read_out_state, rendered_state
from docker_runner.job.artifacts import fetch_artifacts, keep_artifacts
from docker_runner.job.config import secrets_of, stage_config
from docker_runner.job.containers import StageRun, run_stage, stop_stage
from docker_runner.job.definition import Job, JobDefinition, Mode, Stage
from docker_runner.job.snapshots import store_snapshot
from docker_runner.job.state import decrypted_state, keep_new_state, state_secrets
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.storage.base import FileUpload, StoredFile


def run_stage_of_row(
    position: int, *, job: Job, row: JobDefinition, folders: RowWorkspace, image: PreparedImage, tools: Tools
) -> dict[str, Any]:
    """Run one image of a row: a processor, or the component itself with its state.

    Args:
        position: which of the row's images.
        job: the job.
        row: the row.
        folders: its workspace.
        image: the image, as prepared.
        tools: Storage, engine, keys, log.

    Returns:
        What :func:`run_stage` returns.

    Raises:
        RunnerError: as :func:`run_stage`; a new state that is not valid is the user's to mend (D25).
    """
    stage = row.stages[position]
    # What a killed attempt left running must not write into the folders that are made now.
    stop_stage(stage, job=job, row=row, tools=tools)
    data = folders.make_stage(position, extension=stage.component.extension)
    run = StageRun(stage, job, row, data, folders.tmp(position), image)
    try:
        return _run(run, folders=folders, tools=tools)
    finally:
        # However it went: config file and states hold secrets in plain text and are not needed any more.
        data.remove_secrets()


def _run(run: StageRun, *, folders: RowWorkspace, tools: Tools) -> dict[str, Any]:
    stage, row, data = run.stage, run.row, run.data
    content, _ = stage_config(stage, row, tools)
    redactor = redactor_of(run.job, row, folders, tools)
    fetched: list[int] = []
    if stage.is_main:
        state = decrypted_state(row, folders, tools)
        write_secret(data.in_state, rendered_state(state, extension=data.extension))
        fetched = fetch_artifacts(row, data, folders, tools)
    if row.mode is Mode.DEBUG:
        config_file = {data.config_file.name: content}
        position = row.stages.index(stage)
        store_snapshot(row, folders, tools.storage, stage=position, secret_files=config_file, redactor=redactor)
    manifest = run_stage(
        run,
        config=rendered(content, extension=data.extension),
        environment=environment_of(stage, row, tools, config=content),
        redactor=redactor,
        tools=tools,
    )
    if stage.is_main:
        keep_new_state(row, folders, tools, state=read_out_state(data.out_state))
        keep_artifacts(row, data, folders, tools)
    return manifest | ({"artifacts": {"downloaded": fetched}} if fetched else {})


def environment_of(stage: Stage, row: JobDefinition, tools: Tools, *, config: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of a stage's container; ``config`` is the content of its config file."""
    return container_environment(
        stage.component,
        row.identity,
        parameters=config["parameters"],
        data_type_support=row.data_type_support,
        token=tools.settings.forwarded_token,
    )


def redactor_of(job: Job, row: JobDefinition, folders: RowWorkspace, tools: Tools) -> Redactor:
    """Knows every secret that a container of the row could show (LG-20, LG-23)."""
    redactor = Redactor(secrets_of(job, tools))
    redactor.add(state_secrets(row, folders, tools))
    redactor.add([tools.settings.forwarded_token.token])
    return redactor


def store_last_snapshot(
    job: Job, row: JobDefinition, folders: RowWorkspace, tools: Tools, *, more: tuple[FileUpload, ...] = ()
) -> tuple[StoredFile, ...]:
    """Store what the last image left, with its config file and state as they were (LC-60); ``more`` are other files."""
    stage = row.stages[-1]
    data: DataFolder = folders.data(len(row.stages) - 1, extension=stage.component.extension)
    content, _ = stage_config(stage, row, tools)
    secret_files = {data.config_file.name: content}
    if stage.is_main:
        secret_files[str(data.in_state.relative_to(data.root))] = decrypted_state(row, folders, tools)
    redactor = redactor_of(job, row, folders, tools)
    return store_snapshot(
        row, folders, tools.storage, stage=None, secret_files=secret_files, redactor=redactor, more=more
    )
