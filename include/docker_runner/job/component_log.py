"""What people see of a component's lines and GELF messages, by the verbosity of their levels (LG-12)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from docker_runner.engine.container_logs import LINE_CHARACTERS, LINE_MARKER
from docker_runner.engine.container_spec import ContainerOutcome
from docker_runner.engine.frames import Stream
from docker_runner.engine.gelf_messages import ERROR_LEVEL, GelfMessage
from docker_runner.job.event_log import NO_EVENTS, EventLog, event_type
from docker_runner.project.component import Component

_STREAM_LEVELS = {Stream.STDOUT: 200, Stream.STDERR: ERROR_LEVEL}
# Levels of what is shown (LG-13): whoever wants to see debug messages finds them among the others.
_SHOWN_AS = {
    100: logging.INFO, 200: logging.INFO, 250: logging.WARNING, 300: logging.WARNING, 400: logging.ERROR,
    500: logging.CRITICAL, 550: logging.CRITICAL, 600: logging.CRITICAL,
}  # fmt: skip
_DEFAULT = {
    100: "none", 200: "normal", 250: "normal", 300: "normal", 400: "normal",
    500: "camouflage", 550: "camouflage", 600: "camouflage",
}  # fmt: skip
# When more lines than this come at once nobody reads along, and an entry for each would cost Airflow minutes: then some
# share an entry, each still a line of its own in it.
_FLOOD_LINES = 250
_LINES_OF_AN_ENTRY = 100
# A component that sends nothing but rubbish is told so, but not for ever.
_MOST_NOTICES = 50


class ComponentLog:
    """The log of one container.

    Args:
        log: where lines and messages go, each with its level.
        component: the row's main component, whose verbosity counts for all of its images (LG-16).
        events: is told each message, and the end of each output when the container has ended.
    """

    def __init__(self, log: logging.Logger, component: Component, *, events: EventLog = NO_EVENTS) -> None:
        self._log = log
        self._events = events
        self._component_id = component.id
        given = dict(component.data["logging"]["verbosity"])
        self._verbosity = _DEFAULT | {int(level): value for level, value in given.items() if level.isdecimal()}
        self._notices = 0
        self.last_warning = ""

    def lines(self, stream: Stream, texts: Sequence[str]) -> None:
        """Show lines of an output, each for itself (LG-1, D14) unless there are very many at once."""
        level = _STREAM_LEVELS[stream]
        verbosity = self._verbosity.get(level, "normal")
        if verbosity == "camouflage":
            texts = [self._camouflage] * len(texts)
        if verbosity != "none":
            self._tell(level, texts if len(texts) <= _FLOOD_LINES else _entries(texts))

    def message(self, message: GelfMessage) -> None:
        """Show a GELF message; one without a text is none (LG-14)."""
        text = message.text.strip()
        if not text:
            return
        if message.is_warning:
            self.last_warning = text
        self._show(message.level, text, message.context)
        self._add_event(message.level, text, message.context)

    def tell_outputs(self, outcome: ContainerOutcome) -> None:
        """Tell the end of each output as one event; its lines are in the log only (LG-6, CT-34)."""
        self._add_event(_STREAM_LEVELS[Stream.STDOUT], outcome.stdout_tail, {})
        self._add_event(_STREAM_LEVELS[Stream.STDERR], outcome.stderr_tail, {})

    def _add_event(self, level: int, text: str, context: Mapping[str, Any]) -> None:
        """Tell an event of the type that its level gives it (LG-12, LG-13)."""
        verbosity = self._verbosity.get(level, "normal")
        if verbosity == "none" or not text.strip():
            return
        shown = self._camouflage if verbosity == "camouflage" else text
        kind = event_type(_SHOWN_AS.get(level, logging.ERROR))
        self._events.add(kind, shown, results=context if verbosity == "verbose" else {})

    def notice(self, text: str) -> None:
        """Tell of a message that was dropped (LG-7, LG-8)."""
        self._notices += 1
        if self._notices <= _MOST_NOTICES:
            self._log.warning("%s", text)
        if self._notices == _MOST_NOTICES:
            self._log.warning("More messages like that are dropped without a word.")

    def _show(self, level: int, text: str, context: Mapping[str, Any]) -> None:
        verbosity = self._verbosity.get(level, "normal")
        if verbosity == "none":
            return
        if verbosity == "camouflage":
            text = self._camouflage
        elif verbosity == "verbose" and context:
            text = f"{_trimmed(text)} {json.dumps(context, ensure_ascii=False)}"
        self._tell(level, [_trimmed(text)])

    @property
    def _camouflage(self) -> str:
        return f"Application error: ask whoever maintains the component {self._component_id} for help."

    def _tell(self, level: int, texts: Iterable[str]) -> None:
        """Log each text as the logger's own methods would, but for the caller, who is not looked for.

        Of millions of lines even that takes longer than all the rest, and so does making a record: lines that came at
        once have everything but their texts in common.
        """
        shown_as = _SHOWN_AS.get(level, logging.ERROR)
        if not self._log.isEnabledFor(shown_as):
            return
        pattern = self._log.makeRecord(self._log.name, shown_as, "", 0, "", (), None)
        kind, common, handle = type(pattern), pattern.__dict__, self._log.handle
        for text in texts:
            record = kind.__new__(kind)
            record.__dict__.update(common)
            record.msg = text
            handle(record)


def _entries(lines: Sequence[str]) -> Iterator[str]:
    """Lines put together; no entry is longer than the longest line may be."""
    entry: list[str] = []
    size = 0
    for line in lines:
        if len(entry) == _LINES_OF_AN_ENTRY or (entry and size + len(line) >= LINE_CHARACTERS):
            yield "\n".join(entry)
            entry, size = [], 0
        entry.append(line)
        size += len(line) + 1
    if entry:
        yield "\n".join(entry)


def _trimmed(text: str) -> str:
    return text if len(text) <= LINE_CHARACTERS + len(LINE_MARKER) else text[:LINE_CHARACTERS] + LINE_MARKER
