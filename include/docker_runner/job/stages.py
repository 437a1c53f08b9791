"""One image of a row: everything that happens around its container (LC-32 step 4)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.container_spec import ContainerOutcome
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.containers import Started, remove_container
from docker_runner.engine.images import PreparedImage
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.signals import ToldToEndError
from docker_runner.engine.watching import watch
from docker_runner.errors import EngineError, RunnerError, UserError
from docker_runner.interface.config_file import rendered
from docker_runner.interface.data_folder import DataFolder, write_secret
from docker_runner.interface.environment import container_environment
from docker_runner.interface.result import CrashedComponentError
from docker_runner.interface.state import read_out_state, rendered_state
from docker_runner.job.artifacts import fetch_artifacts, keep_artifacts
from docker_runner.job.component_log import ComponentLog
from docker_runner.job.config import secrets_of, stage_config
from docker_runner.job.containers import (
    StageRun,
    announce,
    container_name,
    finish_stage,
    job_labels,
    start_stage,
    stop_stage,
)
from docker_runner.job.definition import Job, JobDefinition, Mode, Stage
from docker_runner.job.gelf import GELF_PORT, gelf_of
from docker_runner.job.snapshots import store_snapshot
from docker_runner.job.state import decrypted_state, keep_new_state, state_secrets
from docker_runner.job.storage_token import token_secrets
from docker_runner.job.supervision import TO_THE_END, Following, RunRecord, StillRunningError, running_or_ended
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.storage.base import FileUpload, StoredFile


def run_stage_of_row(
    position: int,
    *,
    job: Job,
    row: JobDefinition,
    folders: RowWorkspace,
    image: PreparedImage,
    tools: Tools,
    following: Following,
) -> dict[str, Any]:
    """Run one image of a row, or go on with the container that an earlier attempt has started.

    When it has done its work, its container stays until :func:`release_stage`: a worker that dies before it could
    report loses nothing.

    Args:
        position: which of the row's images.
        job: the job.
        row: the row.
        folders: its workspace.
        image: the image, as prepared.
        tools: Storage, engine, keys, log.
        following: how to deal with containers that outlive their attempt.

    Returns:
        What :func:`finish_stage` returns.

    Raises:
        RunnerError: as :func:`finish_stage`; a new state that is not valid is the user's to mend (D25).
        StillRunningError: the container is left to somebody else.
    """
    stage = row.stages[position]
    data = folders.data(position, extension=stage.component.extension)
    run = StageRun(stage, job, row, data, folders.tmp(position), image)
    redactor = redactor_of(job, row, folders, tools)
    lines = ComponentLog(tools.log.getChild("component"), row.component, events=tools.events)
    state = running_or_ended(run, folders, following, tools)
    if state is None:
        announce(run, tools)
    try:
        with _gelf(run, state, lines=lines, redactor=redactor, folders=folders, tools=tools) as gelf:
            if state is None:
                log = ContainerLog(lines.lines, redactor)
                started = _start(
                    run, log, gelf=gelf, folders=folders, redactor=redactor, tools=tools, following=following
                )
            else:
                log = ContainerLog(lines.lines, redactor, position=_record(run, folders, following).position)
                started = Started(state.id)
            if gelf:
                # Its messages come to this process.
                following = replace(following, leave_after=None)
            outcome = started.failure or _watch(run, started, log, folders=folders, tools=tools, following=following)
    except EngineError:
        raise  # It may run on, and needs its files.
    except RunnerError:
        data.remove_secrets()
        raise
    data.remove_secrets(also_new_state=False)
    try:
        return _results(run, outcome, lines=lines, redactor=redactor, folders=folders, tools=tools)
    except (UserError, CrashedComponentError):
        # It is judged, so nobody is to find it again.
        release_stage(position, job=job, row=row, folders=folders, tools=tools)
        raise


def release_stage(position: int, *, job: Job, row: JobDefinition, folders: RowWorkspace, tools: Tools) -> None:
    """A container's outcome is known for good: remove it, and what is left of its secrets (CT-9)."""
    stage = row.stages[position]
    folders.data(position, extension=stage.component.extension).remove_secrets()
    installation = tools.settings.installation
    name = container_name(stage, job, row, installation=installation)
    labels = job_labels(job, row, container=name, installation=installation)
    remove_container(tools.engine, name, labels=labels)


def _gelf(
    run: StageRun,
    state: ContainerState | None,
    *,
    lines: ComponentLog,
    redactor: Redactor,
    folders: RowWorkspace,
    tools: Tools,
) -> AbstractContextManager[Mapping[str, str]]:
    """Take the GELF messages of a container; of one that runs already, where it sends them to."""
    if state is not None and not state.running:
        return nullcontext({})
    port = _record(run, folders).gelf_port if state else 0
    name = container_name(run.stage, run.job, run.row, installation=tools.settings.installation)
    return gelf_of(run.stage, name, log=lines, redactor=redactor, tools=tools, port=port)


def _record(run: StageRun, folders: RowWorkspace, following: Following = TO_THE_END) -> RunRecord:
    position = run.row.stages.index(run.stage)
    return RunRecord.read(folders.stage(position)) or RunRecord(following.series)


def _start(
    run: StageRun,
    log: ContainerLog,
    *,
    gelf: Mapping[str, str],
    folders: RowWorkspace,
    redactor: Redactor,
    tools: Tools,
    following: Following,
) -> Started:
    """Make everything that a container gets anew, and start it."""
    stage, row, data = run.stage, run.row, run.data
    position = row.stages.index(stage)
    # What a killed attempt left running must not write into the folders that are made now.
    stop_stage(stage, job=run.job, row=row, tools=tools)
    folders.make_stage(position, extension=stage.component.extension)
    content, _ = stage_config(stage, row, tools)
    fetched: list[int] = []
    if stage.is_main:
        state = decrypted_state(row, folders, tools)
        write_secret(data.in_state, rendered_state(state, extension=data.extension))
        fetched = fetch_artifacts(row, data, folders, tools)
    if row.mode is Mode.DEBUG:
        config_file = {data.config_file.name: content}
        store_snapshot(row, folders, tools.storage, stage=position, secret_files=config_file, redactor=redactor)
    port = int(gelf.get(GELF_PORT, 0))
    RunRecord(following.series, artifacts=tuple(fetched), gelf_port=port).write(folders.stage(position))
    return start_stage(
        run,
        config=rendered(content, extension=data.extension),
        environment={**environment_of(stage, row, tools, config=content), **gelf},
        attempt=folders.attempt(position),
        log=log,
        tools=tools,
    )


def _watch(
    run: StageRun, started: Started, log: ContainerLog, *, folders: RowWorkspace, tools: Tools, following: Following
) -> ContainerOutcome:
    """Show what a container writes until it ends, and keep in mind how much was shown."""
    position = run.row.stages.index(run.stage)
    record = _record(run, folders, following)
    try:
        outcome = watch(
            tools.engine,
            started.container_id,
            log,
            name=container_name(run.stage, run.job, run.row, installation=tools.settings.installation),
            timeout_seconds=run.time_limit,
            output=started.output,
            leaving=following.leaving,
            on_progress=lambda: replace(record, position=log.position).write(folders.stage(position)),
            shown_whole=record.whole,
        )
    except ToldToEndError:
        replace(record, position=log.position, told_to_end=True).write(folders.stage(position))
        raise
    if outcome is None:
        raise StillRunningError(started.container_id, position, run.row.row_id)
    return outcome


def _results(
    run: StageRun,
    outcome: ContainerOutcome,
    *,
    lines: ComponentLog,
    redactor: Redactor,
    folders: RowWorkspace,
    tools: Tools,
) -> dict[str, Any]:
    stage, row, data = run.stage, run.row, run.data
    lines.tell_outputs(outcome)
    manifest = finish_stage(run, outcome, redactor=redactor, tools=tools, last_gelf_message=lines.last_warning)
    if stage.is_main:
        keep_new_state(row, folders, tools, state=read_out_state(data.out_state))
        keep_artifacts(row, data, folders, tools)
    fetched = list(_record(run, folders).artifacts)
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
    redactor.add(token_secrets(job, tools))
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
