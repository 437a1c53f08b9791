"""Events: what a job tells of itself, kept in Storage beside the tables."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

DETAIL_BYTES = 16_384
"""Longest JSON of an event's parameters and results together; longer ones are left out."""


class EventType(StrEnum):
    """How much an event matters (LG-13)."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    SUCCESS = "success"


@dataclass(frozen=True)
class EventSource:
    """What an event is about.

    Attributes:
        job_id: identity of the run, unlike any other's.
        run_id: what components see as ``KBC_RUNID``.
        row_id: empty for what concerns the whole job.
        token_id: the token that the job works with; None when it works with full rights.
    """

    job_id: str
    run_id: str
    component_id: str = ""
    config_id: str = ""
    row_id: str = ""
    token_id: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened in a job.

    Attributes:
        id: begins with the time, so ids sort as events happened; an event is stored once, however often it is sent.
        seconds: how long it took, if it took time.
        params: what it began with.
        results: what it led to.
    """

    id: str
    created: datetime
    source: EventSource
    type: EventType
    message: str
    seconds: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As a JSON document for programs, and for the file that an event waits in."""
        return {
            "id": self.id,
            "created": self.created.isoformat(timespec="microseconds"),
            **vars(self.source),
            "type": self.type.value,
            "message": self.message,
            "seconds": self.seconds,
            "params": self.params,
            "results": self.results,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Event:
        """Read back what :meth:`document` wrote."""
        source = EventSource(**{name: document[name] for name in EventSource.__dataclass_fields__})
        return cls(
            id=document["id"],
            created=datetime.fromisoformat(document["created"]),
            source=source,
            type=EventType(document["type"]),
            message=document["message"],
            seconds=document["seconds"],
            params=document["params"],
            results=document["results"],
        )


@dataclass(frozen=True)
class EventQuery:
    """Which events: all given conditions hold; the newest ``limit`` of them, oldest first.

    Attributes:
        run: a job id, or a run id.
        job: a job id; found faster than by ``run``.
        since: created at that time or later.
        token_id: only of jobs that work with this token.
    """

    run: str = ""
    job: str = ""
    component_id: str = ""
    config_id: str = ""
    types: tuple[EventType, ...] = ()
    since: datetime | None = None
    token_id: int | None = None
    limit: int = 1000


def new_event(
    source: EventSource,
    kind: EventType,
    message: str,
    *,
    seconds: float | None = None,
    params: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
) -> Event:
    """An event that happens now; parameters and results that are too long are left out."""
    nanoseconds = time.time_ns()
    details = {"params": dict(params or {}), "results": dict(results or {})}
    size = len(json.dumps(details, default=str))
    if size > DETAIL_BYTES:
        details = {"params": {}, "results": {"left_out": f"{size} bytes of details"}}
    return Event(
        id=f"{nanoseconds:019d}-{os.urandom(4).hex()}",
        created=datetime.fromtimestamp(nanoseconds / 1e9, UTC),
        source=source,
        type=kind,
        message=message,
        seconds=None if seconds is None else round(seconds, 3),
        **details,
    )
