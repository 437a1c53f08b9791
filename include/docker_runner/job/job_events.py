"""What the steps of a job tell as events: beginnings and ends, results, warnings and errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from docker_runner.errors import ApplicationError, RunnerError, UserError
from docker_runner.interface.result import shorten
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.job.event_log import FOLDER, NO_EVENTS, EventLog, store_left_events
from docker_runner.job.plan import Kind, Step, steps_of
from docker_runner.job.supervision import StillRunningError
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace
from docker_runner.storage.events import Event, EventSource, EventType, new_event
from docker_runner.storage.tokens import Token

FINISHED = "Component processing finished."
NOTHING = "No configurations executed."
"""The end of a job that went well, and of one whose rows are all disabled (LC-7)."""
_WORDS = {
    Kind.PULL_IMAGES: "Images are ready.",
    Kind.LOAD_TABLES: "Input tables were loaded.",
    Kind.LOAD_FILES: "Input files were loaded.",
    Kind.WRITE_CONFIG: "The configuration was checked.",
    Kind.RUN_PROCESSOR: "The processor has finished.",
    Kind.RUN_COMPONENT: "The component has finished.",
    Kind.UNLOAD_OUTPUT: "The output was stored.",
    Kind.UNLOAD_ALWAYS: "What is stored in every outcome was stored.",
}


@contextmanager
def told(job: Job, row: JobDefinition | None, workspace: Workspace, tools: Tools) -> Iterator[EventLog]:
    """Gather the events of a step for the time of a block, its error among them, and store them at its end.

    Args:
        job: the job.
        row: the row at work; None for what concerns all of them.
        workspace: the run's folders.
        tools: Storage and log; ``tools.events`` is what the block tells to.
    """
    events = EventLog(source_of(job, row), workspace.folder / FOLDER)
    tools.events = events
    try:
        yield events
    except StillRunningError:
        raise
    except (RunnerError, OSError) as error:
        tell_error(events, error)
        raise
    except BaseException:
        events.add(EventType.WARN, "The step was stopped.", is_verdict=True)
        raise
    finally:
        tools.events = NO_EVENTS
        events.store(tools.ledger, tools.log)


def tell_error(events: EventLog, error: Exception) -> None:
    """Tell of an error, and whose it is (LC-6)."""
    kind = "user" if isinstance(error, UserError) else "application"
    events.add(EventType.ERROR, str(error), results={"error": kind}, is_verdict=True)


def tell_begin_of_job(events: EventLog, job: Job, tokens: Mapping[str, Token | None]) -> None:
    """Tell what is about to run, and with which tokens."""
    used = {token.id: token.description for token in tokens.values() if token}
    params = {
        "configuration": job.title,
        "rows": [row.row_id for row in job.rows if row.row_id],
        "mode": job.rows[0].mode.value if job.rows else "run",
        "version": job.rows[0].config_version if job.rows else "",
        "storage_tokens": [{"id": token_id, "description": text} for token_id, text in used.items()],
    }
    events.add(EventType.INFO, f"Running {job.title}.", params=params)


def tell_begin_of_step(events: EventLog, step: Step, job: Job, row: JobDefinition) -> None:
    """Tell that a row begins, with the first of its steps (LC-23)."""
    if steps_of(row)[0].name == step.name:
        events.add(EventType.INFO, f"Running component {row.component.id}, {_position(job, row)}.")


def tell_end_of_step(
    events: EventLog, step: Step, job: Job, row: JobDefinition | None, *, manifest: Mapping[str, Any], seconds: float
) -> None:
    """Tell what a step did; with the last one the row has ended (LC-23)."""
    if step.kind is Kind.PULL_IMAGES and job.rows and not job.images():
        return
    stores_folder = row and row.mode.stores_archive and step.kind is Kind.UNLOAD_OUTPUT
    words = "The data folder was stored." if stores_folder else _WORDS[step.kind]
    events.add(EventType.SUCCESS, words, seconds=seconds, results={"step": step.name, **manifest})
    if row and step.kind is Kind.UNLOAD_OUTPUT:
        events.add(EventType.INFO, f"Finished component {row.component.id}, {_position(job, row)}.")


def _position(job: Job, row: JobDefinition) -> str:
    return f"row {job.rows.index(row) + 1} of {len(job.rows)}"


def end_events(workspace: Workspace, tools: Tools, *, problem: str | None) -> None:
    """Store what killed attempts left, then tell how the job ended (LC-7).

    Args:
        workspace: the run's folders, which are about to be removed.
        tools: Storage and log.
        problem: why it failed; empty when it did not; None when this is no end, or nobody knows.
    """
    end = [] if problem is None else list(_end_of_job(workspace, problem))
    store_left_events(workspace.folder, tools.ledger, tools.log, more=end)


def _end_of_job(workspace: Workspace, problem: str) -> Iterator[Event]:
    try:
        job = workspace.job()
        began = (workspace.folder / "job.json").stat().st_mtime
    except (ApplicationError, OSError):
        return  # It is not known any more what ran.
    kind, message = (EventType.ERROR, problem) if problem else (EventType.SUCCESS, FINISHED if job.rows else NOTHING)
    yield new_event(source_of(job, None), kind, shorten(message), seconds=max(0.0, time.time() - began))


@contextmanager
def resolving(tools: Tools, *, job_id: str, run_id: str, component_id: str, config_id: str) -> Iterator[None]:
    """Tell of what goes wrong, or is left out, while it is found out what a job is to run (LC-6, LC-24, RW-7, SC-8).

    Args:
        tools: Storage and log.
        job_id: identity of the job.
        run_id: with that of the run it is a part of in front; see :func:`docker_runner.job.request.full_run_id`.
        component_id: its component.
        config_id: its configuration; may be empty.
    """
    events = EventLog(EventSource(job_id, run_id, component_id, config_id), None)
    project = logging.getLogger("docker_runner.project")
    listener = _Listener(events)
    project.addHandler(listener)
    try:
        yield
    except (RunnerError, OSError) as error:
        tell_error(events, error)
        raise
    finally:
        project.removeHandler(listener)
        events.store(tools.ledger, tools.log)


class _Listener(logging.Handler):
    """Makes an event of each record that gets to a logger from those below it."""

    def __init__(self, events: EventLog) -> None:
        super().__init__(logging.INFO)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Take it over."""
        kind = EventType.WARN if record.levelno >= logging.WARNING else EventType.INFO
        self._events.add(kind, record.getMessage())


def source_of(job: Job, row: JobDefinition | None) -> EventSource:
    """What the events of a row are about; without one those of the whole job."""
    first = row or (job.rows[0] if job.rows else None)
    component, _, config = job.title.partition("/")
    return EventSource(
        job_id=job.id,
        run_id=first.identity.run_id if first else "",
        component_id=first.component.id if first else component,
        config_id=first.config_id if first else config,
        row_id=row.row_id if row else "",
        token_id=job.token_ids.get(row.row_id if row else (first.row_id if first else "")),
    )
