"""Which status a job has, told by its DAG run (LC-85); once for a run that was read, and once as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from docker_runner.documents import scalar_text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement

WARNING_ON_ERROR = "warning"
_LONGEST_NOTE = 1000
_UNFINISHED = ("queued", "running")


class Status(StrEnum):
    """Where a job stands; ``created`` is passed too fast to be seen."""

    CREATED = "created"
    WAITING = "waiting"
    PROCESSING = "processing"
    TERMINATING = "terminating"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens."""
        return self not in (Status.CREATED, Status.WAITING, Status.PROCESSING, Status.TERMINATING)

    @property
    def can_be_terminated(self) -> bool:
        """Whether there is something to stop (LC-85)."""
        return self in (Status.CREATED, Status.WAITING, Status.PROCESSING)


ASKED_TO_END = frozenset({Status.TERMINATING, Status.TERMINATED, Status.CANCELLED})
"""The statuses of jobs that somebody has asked to end."""


def status_of(*, state: str, start: datetime | None, conf: Mapping[str, Any], note: str, clear_number: int) -> Status:
    """The status of a job.

    Args:
        state: of its DAG run.
        start: when the DAG run began; None when it has not.
        conf: of the DAG run.
        note: of the DAG run.
        clear_number: how often a person has cleared the DAG run, which begins it anew.
    """
    asked = _mark(clear_number) in note
    if state in _UNFINISHED:
        waiting_or_not = Status.WAITING if state == "queued" else Status.PROCESSING
        return Status.TERMINATING if asked else waiting_or_not
    if asked:
        # Whatever Airflow calls the rest: the work was cut off.
        return Status.TERMINATED if start else Status.CANCELLED
    if state == "success":
        return Status.SUCCESS
    return Status.WARNING if on_error(conf) == WARNING_ON_ERROR else Status.ERROR


def on_error(conf: Mapping[str, Any]) -> str:
    """What a job becomes when it fails: ``warning`` or, by default, ``error`` (``behavior.onError``)."""
    node: Any = conf
    for key in ("api", "behavior"):
        node = node.get(key) if isinstance(node, Mapping) else None
    value = node.get("onError") if isinstance(node, Mapping) else None
    return "" if isinstance(value, Mapping | list) else scalar_text(value)


def _mark(clear_number: int) -> str:
    return f"(run {clear_number + 1} terminated through the API)"


def note_of_termination(note: str, *, who: str, clear_number: int) -> str:
    """The note of a DAG run that is terminated: for people to read, and for :func:`status_of` to find again.

    Args:
        note: the note that is there; stays as far as there is room.
        who: asked for it.
        clear_number: of the DAG run.
    """
    line = f"{who[:200]} stopped this run. {_mark(clear_number)}"
    kept = note[: _LONGEST_NOTE - len(line) - 2].rstrip()
    return f"{kept}\n\n{line}" if kept else line


def condition_of(status: Status) -> ColumnElement[bool]:
    """The condition that a DAG run, joined with its note, has a status."""
    from airflow.models.dagrun import DagRun, DagRunNote
    from sqlalchemy import String, and_, cast, false, func, literal, or_

    number = cast(DagRun.clear_number + 1, String)
    begin, _, end = _mark(-1).partition("0")
    mark = literal(begin).concat(number).concat(end)
    asked = func.coalesce(DagRunNote.content, "").contains(mark)
    state = DagRun.state
    warns = func.coalesce(DagRun.conf["api"]["behavior"]["onError"].as_string(), "") == WARNING_ON_ERROR
    conditions: dict[Status, ColumnElement[bool]] = {
        Status.WAITING: and_(state == "queued", ~asked),
        Status.PROCESSING: and_(state == "running", ~asked),
        Status.TERMINATING: and_(state.in_(_UNFINISHED), asked),
        Status.SUCCESS: and_(state == "success", ~asked),
        Status.WARNING: and_(state == "failed", ~asked, warns),
        Status.ERROR: and_(state == "failed", ~asked, ~warns),
        Status.TERMINATED: and_(state.not_in(_UNFINISHED), asked, DagRun.start_date.is_not(None)),
        Status.CANCELLED: and_(state.not_in(_UNFINISHED), asked, DagRun.start_date.is_(None)),
    }
    return conditions.get(status, or_(false()))
