"""The steps of a job, one function each: what runs in every Airflow task and in ``docker-runner run`` alike.

A step takes the job, the row, the workspace, its tools and the manifests of the steps it builds on; it returns a small
JSON-serialisable manifest of what it did. It may be repeated at any time: it first restores its own starting point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from docker_runner.engine.containers import stop_containers as engine_stop_containers
from docker_runner.engine.images import PreparedImage
from docker_runner.errors import ApplicationError, EngineError
from docker_runner.interface.config_file import rendered
from docker_runner.interface.environment import refuse_missing_token
from docker_runner.job.archive import make_archived_folder
from docker_runner.job.config import sealed_config, secrets_of, stage_config
from docker_runner.job.containers import LABEL_INSTALLATION, LABEL_JOB, LABEL_ROW, SIZES, unknown_size
from docker_runner.job.credentials import with_credentials
from docker_runner.job.definition import Job, JobDefinition, Mode
from docker_runner.job.discretion import discreet
from docker_runner.job.event_log import EventLog
from docker_runner.job.images import pull_images
from docker_runner.job.job_events import (
    end_events,
    source_of,
    tell_begin_of_job,
    tell_begin_of_step,
    tell_end_of_step,
    told,
)
from docker_runner.job.plan import Kind, Step, steps_of
from docker_runner.job.readers import file_reader, table_reader
from docker_runner.job.stages import redactor_of, release_stage, run_stage_of_row
from docker_runner.job.state import decrypted_state, stored_state
from docker_runner.job.storage_token import refuse_forbidden, token_of
from docker_runner.job.supervision import TO_THE_END, Following, finished_before, follow
from docker_runner.job.tools import Tools
from docker_runner.job.unload import Unloading
from docker_runner.job.workspace import RowWorkspace, Workspace
from docker_runner.secret_keys import hide_secrets
from docker_runner.storage.rights import StateOwner

Manifest = dict[str, Any]
_SHOWN_CHARACTERS = 20_000
_READ_WHAT_A_COMPONENT_LEFT = (Kind.RUN_PROCESSOR, Kind.RUN_COMPONENT, Kind.UNLOAD_OUTPUT, Kind.UNLOAD_ALWAYS)


@dataclass(frozen=True)
class RowWork:
    """What a step of a row works on and with."""

    step: Step
    job: Job
    row: JobDefinition
    folders: RowWorkspace
    tools: Tools
    manifests: Mapping[str, Manifest]
    following: Following = TO_THE_END


def perform(
    step: Step,
    *,
    workspace: Workspace,
    row_id: str,
    tools: Tools,
    manifests: Mapping[str, Manifest],
    following: Following = TO_THE_END,
) -> Manifest:
    """Do one step of a row.

    Args:
        step: which one.
        workspace: the run's folders, made by ``create_workspace``.
        row_id: the row, empty for a configuration without rows.
        tools: Storage, engine, keys, log.
        manifests: what the steps in ``step.takes`` returned.
        following: how to deal with a container that outlives its attempt.

    Returns:
        What the step did: small, serialisable, no data, no secrets.

    Raises:
        UserError: the configuration or the data must be changed.
        ApplicationError: it may work when tried again.
        StillRunningError: the step's container is left to somebody else; call again when it has ended.
    """
    job = workspace.job()
    row = None
    if step.kind is not Kind.PULL_IMAGES:
        row = job.row(row_id)
        if row is None:
            raise ApplicationError(f"The row {row_id!r} is not part of this run.")
        # Tasks are made from the configuration as stored; what is run may have come with the run. A step that has no
        # task of its own is done by the next one that builds on it.
        planned = next((item for item in steps_of(row) if item.name == step.name), None)
        if planned is None:
            told_mode = "" if row.mode is Mode.RUN else f" in mode {row.mode}"
            tools.log.info("There is nothing to do: the configuration that is run has no %s%s.", step.name, told_mode)
            return {}
        step = planned
    with told(job, row, workspace, tools) as events:
        begin = time.monotonic()
        if row is None:
            with events.listening(tools.log):
                manifest = pull_images(job, tools)
        else:
            if not following.resumed:
                tell_begin_of_step(events, step, job, row)
            work = RowWork(step, job, row, workspace.row(row_id), tools, manifests, following)
            follow(work.folders, following)
            with tools.acting(partial(token_of, job, row, tools), StateOwner(row.component.id, row.config_id)):
                manifest = _perform_of_row(work, events)
        seconds = time.monotonic() - begin
        tell_end_of_step(events, step, job, row, manifest=manifest, seconds=seconds)
        return manifest


def _perform_of_row(work: RowWork, events: EventLog) -> Manifest:
    job, row, tools = work.job, work.row, work.tools
    steps = {item.name: item for item in steps_of(row)}
    if work.step.kind not in _READ_WHAT_A_COMPONENT_LEFT:
        with events.listening(tools.log):
            return _perform(work, steps)
    redactor = redactor_of(job, row, work.folders, tools)
    # Who listens comes after who hides.
    with discreet(redactor, tools.log), events.listening(tools.log):
        done: Manifest = redactor.redact_document(_perform(work, steps))
        return done


def _perform(work: RowWork, steps: Mapping[str, Step]) -> Manifest:
    """Do a step; what it builds on and is not in the workspace (any more) is done first.

    In a run from beginning to end nothing is ever missing. When somebody repeats a single step of a run whose folders
    have been cleaned up, the steps before it are repeated inside the same task.
    """
    stage = work.step.stage
    if stage is not None and (reported := finished_before(work.step.name, stage, work.folders, work.following)):
        work.tools.log.info("An earlier attempt has finished this step, and was killed before it could tell.")
        _release(work)
        return reported
    made: dict[str, Manifest] = {}
    for name in () if work.step.on_failure else work.step.after:
        done = work.folders.done(name)
        if done is None:
            work.tools.log.info("The result of %s is not in the workspace; it is made again first.", name)
            following = replace(work.following, leave_after=None, resumed=False)
            done = _perform(replace(work, step=steps[name], following=following), steps)
        made[name] = done
    for name in work.step.takes:
        # A result that was made again is newer than what its own task once reported.
        made[name] = work.folders.done(name) or work.manifests.get(name) or pull_images(work.job, work.tools)
    work.folders.begin(work.step.name)
    manifest = _ROW_STEPS[work.step.kind](replace(work, manifests=made))
    work.folders.finish(work.step.name, manifest)
    if stage is not None:
        _release(work)
    return manifest


def _release(work: RowWork) -> None:
    position = work.step.stage or 0
    release_stage(position, job=work.job, row=work.row, folders=work.folders, tools=work.tools)


def create_workspace(job: Job, workspace: Workspace, tools: Tools) -> None:
    """Start a run: remove what an earlier attempt of the same run left, make the folders anew.

    Raises:
        UserError: a component needs a token that is not configured (EV-13), a secret cannot be decrypted, or the
            Storage token is not good or does not allow what is mapped; nothing has begun then (LC-5).
        ApplicationError: OAuth credentials cannot be asked for (AU-3).
    """
    with told(job, None, workspace, tools) as events, events.listening(tools.log):
        _create_workspace(job, workspace, tools, events)


def _create_workspace(job: Job, workspace: Workspace, tools: Tools, events: EventLog) -> None:
    for stage in (stage for row in job.rows for stage in row.images):
        refuse_missing_token(stage.component, tools.settings.forwarded_token)
    job = replace(job, rows=tuple(with_credentials(row, tools) for row in job.rows))
    for _ in secrets_of(job, tools):
        pass
    tokens = refuse_forbidden(job, tools)
    job = replace(job, token_ids={row_id: token.id for row_id, token in tokens.items() if token})
    events.source = source_of(job, None)
    tell_begin_of_job(events, job, tokens)
    # Without a folder nothing was ever started, so the engine need not even be there.
    if workspace.folder.exists():
        clean_up(workspace, tools)
    workspace.create(job)
    for row in job.rows:
        names = ", ".join(stage.component.id for stage in row.stages)
        tools.log.info("%s%s: %s", job.title, f" row {row.row_id}" if row.row_id else "", names)
        if size := unknown_size(row):
            tools.log.warning("There is no size %r: it runs as small with one CPU. Sizes: %s.", size, ", ".join(SIZES))
        if not row.component.reads_storage and row.configuration.get("processors"):
            tools.log.info("Processors are left out: %s works without Storage.", row.component.id)


def _load_tables(work: RowWork) -> Manifest:
    row, folders, tools = work.row, work.folders, work.tools
    folder = folders.clear_staged("tables")
    reader = table_reader(row, tools, folder=folder, state=stored_state(row, folders, tools))
    return {"tables": reader.load(row.mapping("input", "tables"))}


def _load_files(work: RowWork) -> Manifest:
    row, folders, tools = work.row, work.folders, work.tools
    folder = folders.clear_staged("files")
    reader = file_reader(row, tools, folder=folder, state=stored_state(row, folders, tools))
    return {"files": reader.load(row.mapping("input", "files"))}


def _write_config(work: RowWork) -> Manifest:
    """Make sure that every config file can be written: secrets decrypt, state is sound (DF-19, DF-20, EN-9).

    The files themselves, with secrets in plain text, exist only while their container runs. What is shown here is the
    same with the secrets hidden. Where no container runs, the data folder is made here.
    """
    row, tools = work.row, work.tools
    if row.images:
        decrypted_state(row, work.folders, tools)
        contents = [(stage, stage_config(stage, row, tools)[0]) for stage in row.images]
    else:
        make_archived_folder(row, work.folders, tools)
        contents = [(row.main, sealed_config(row.main, row))]
    shown = {}
    for stage, content in contents:
        text = rendered(hide_secrets(content), extension="json").replace("\\/", "/")
        more = f"\n… {len(text) - _SHOWN_CHARACTERS} more characters" if len(text) > _SHOWN_CHARACTERS else ""
        tools.log.info("config.json of %s:\n%s%s", stage.component.id, text[:_SHOWN_CHARACTERS], more)
        shown[stage.name] = {"component": stage.component.id, "bytes": len(text)}
    return {"configs": shown}


def _run_container(work: RowWork) -> Manifest:
    """Run one image: a processor, or the component itself with its state (LC-32 step 4)."""
    position = work.step.stage or 0
    images = work.manifests["pull_images"]["images"]
    return run_stage_of_row(
        position,
        job=work.job,
        row=work.row,
        folders=work.folders,
        image=PreparedImage.from_manifest(images[work.row.stages[position].image_reference]),
        tools=work.tools,
        following=work.following,
    )


def _unload_output(work: RowWork) -> Manifest:
    """Store what the row made."""
    tables = work.manifests.get("load_tables", {}).get("tables", [])
    files = work.manifests.get("load_files", {}).get("files", [])
    return Unloading(work.job, work.row, work.folders, work.tools).unload(tables=tables, files=files)


def _unload_always(work: RowWork) -> Manifest:
    """Store what a row that failed is to leave all the same."""
    try:
        # A person may have stopped the container's task a moment ago: nothing may write any more what is read now.
        stop_containers(work.job.id, work.tools, row_id=work.row.row_id)
    except EngineError as error:
        work.tools.log.warning("%s", error)
    loaded = work.folders.done("load_files") or {}
    return Unloading(work.job, work.row, work.folders, work.tools).unload_after_failure(files=loaded.get("files", []))


def clean_up(workspace: Workspace, tools: Tools, *, problem: str | None = None) -> Manifest:
    """Remove the run's containers, then its folders with everything in them (CT-9, LC-39).

    Args:
        workspace: the run's folders.
        tools: the engine, Storage, the log.
        problem: as of :func:`end_events`.

    Raises:
        EngineError: the engine does not answer, so containers may be left; the folders are removed all the same.
    """
    try:
        return {"containers": stop_containers(workspace.job_id, tools) if _may_have_containers(workspace) else 0}
    finally:
        end_events(workspace, tools, problem=problem)
        workspace.remove()


def _may_have_containers(workspace: Workspace) -> bool:
    """Whether the engine must be asked: not after a run of which it is known that it starts none."""
    try:
        job = workspace.job()
    except (ApplicationError, OSError, LookupError, TypeError, ValueError):
        return True  # It is gone, or another version has written it.
    return not job.rows or bool(job.images())


def stop_containers(job_id: str, tools: Tools, *, row_id: str | None = None) -> int:
    """Stop the containers of a run with some grace, found by their labels, and remove them; give their number.

    Args:
        job_id: the run.
        tools: the engine.
        row_id: only those of this row; of all rows by default.
    """
    row = {} if row_id is None else {LABEL_ROW: row_id}
    labels = {LABEL_JOB: job_id, LABEL_INSTALLATION: tools.settings.installation, **row}
    return engine_stop_containers(tools.engine, labels)


_ROW_STEPS: Mapping[Kind, Callable[[RowWork], Manifest]] = {
    Kind.LOAD_TABLES: _load_tables,
    Kind.LOAD_FILES: _load_files,
    Kind.WRITE_CONFIG: _write_config,
    Kind.RUN_PROCESSOR: _run_container,
    Kind.RUN_COMPONENT: _run_container,
    Kind.UNLOAD_OUTPUT: _unload_output,
    Kind.UNLOAD_ALWAYS: _unload_always,
}
