"""The events of one attempt at a step: gathered while it works, stored when it ends.

Each is written to a file in the run's folder at once, so that a worker that is killed loses nothing: whoever ends the
run stores what it left. Storing them never makes a job fail.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.errors import RunnerError
from docker_runner.interface.result import shorten
from docker_runner.storage.events import Event, EventSource, EventType, new_event

if TYPE_CHECKING:
    from docker_runner.storage.base import Ledger

FOLDER = "events"
MOST = 1_000
"""Events that one attempt may tell; what a component sends beyond that is in the log of its task only."""


SHORT_SECONDS = 1.0


class EventLog:
    """What one attempt at a step tells.

    Args:
        source: what its events are about.
        folder: the run's folder for events; None when there is none (yet).
    """

    def __init__(self, source: EventSource, folder: Path | None) -> None:
        self.source = source
        self._file = folder / f"{uuid.uuid4().hex}.jsonl" if folder else None
        self._began = time.monotonic()
        self._events: list[Event] = []
        self._unwritten: list[Event] = []
        self._left_out = 0

    def add(
        self,
        kind: EventType,
        message: str,
        *,
        seconds: float | None = None,
        params: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
        is_verdict: bool = False,
    ) -> None:
        """Tell something; an empty message is nothing (LG-14), a long one loses its middle (LG-13, CT-36).

        Args:
            kind: how much it matters.
            message: for people, with secrets hidden.
            seconds: how long it took.
            params: what it began with.
            results: what it led to.
            is_verdict: it is told however many events there are already.
        """
        text = message.strip()
        if not text:
            return
        if len(self._events) >= MOST and not is_verdict:
            self._left_out += 1
            return
        event = new_event(self.source, kind, shorten(text), seconds=seconds, params=params, results=results)
        self._events.append(event)
        self._unwritten.append(event)
        self._write()

    def _write(self) -> None:
        """Write to the file what is not in it; there may be no folder for it yet, or no room on the disk."""
        if self._file:
            lines = "".join(json.dumps(event.document(), default=str) + "\n" for event in self._unwritten)
            with suppress(OSError), self._file.open("a", encoding="utf-8", errors="replace") as stream:
                stream.write(lines)
                self._unwritten.clear()

    def store(self, ledger: Ledger, log: logging.Logger) -> None:
        """Hand everything over to Storage; on failure it waits in its file for the end of the run.

        So do the events of a short step: its run ends soon, and storing them for each would cost more than the step.
        """
        if self._left_out:
            text = f"{self._left_out} more events are only in the log of the task."
            self._left_out = 0
            self.add(EventType.WARN, text, is_verdict=True)
        is_short = time.monotonic() - self._began < SHORT_SECONDS
        if is_short and self._file and self._file.exists() and not self._unwritten:
            return
        try:
            ledger.add_events(self._events)
        except RunnerError as error:
            log.warning("Events cannot be stored now: %s", error)
            return
        self._events.clear()
        if self._file:
            self._file.unlink(missing_ok=True)

    @contextmanager
    def listening(self, log: logging.Logger) -> Iterator[None]:
        """Take over what the runner itself tells people through a log for the time of a block (LG-15)."""
        listener = _Listener(self)
        log.addFilter(listener)
        try:
            yield
        finally:
            log.removeFilter(listener)


class _Listener(logging.Filter):
    """Makes an event of each record of a log, but not of those of its children: a filter never sees them."""

    def __init__(self, events: EventLog) -> None:
        super().__init__()
        self._events = events

    def filter(self, record: logging.LogRecord) -> bool:
        """Take it over; every record is shown."""
        if record.levelno >= logging.INFO:
            self._events.add(event_type(record.levelno), record.getMessage())
        return True


def event_type(level: int) -> EventType:
    """The type of an event by the level of a log record (LG-13)."""
    if level >= logging.ERROR:
        return EventType.ERROR
    return EventType.WARN if level >= logging.WARNING else EventType.INFO


class _NoEvents(EventLog):
    def __init__(self) -> None:
        super().__init__(EventSource("", ""), None)

    def add(self, *_: Any, **__: Any) -> None:
        """Nobody wants to know."""


NO_EVENTS: EventLog = _NoEvents()
"""For work that is no job's, such as synchronous actions."""


def store_left_events(folder: Path, ledger: Ledger, log: logging.Logger, *, more: Sequence[Event] = ()) -> None:
    """Store what short steps and killed attempts have left in a run's folder, before the folder goes.

    Args:
        folder: the run's folder.
        ledger: where events go.
        log: is told of what cannot be read or stored.
        more: events to store with them: all of a run at once cost little more than one.
    """
    files = sorted((folder / FOLDER).glob("*.jsonl"))
    events = [*(event for file in files for event in _read(file)), *more]
    try:
        ledger.add_events(events)
    except (RunnerError, OSError) as error:
        log.warning("Events of the run cannot be stored: %s", error)
        return
    for file in files:
        file.unlink(missing_ok=True)


def _read(file: Path) -> Iterator[Event]:
    """The events in a file; the last line of a killed process may be cut off, and a live one may just remove it."""
    with suppress(OSError), file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            with suppress(ValueError, KeyError, TypeError):
                yield Event.from_document(json.loads(line))
