"""The verdict on a container that ended (CT-30..CT-41)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ApplicationError, ComponentError

if TYPE_CHECKING:
    from docker_runner.engine.containers import ContainerOutcome

MESSAGE_CHARACTERS = 4000
NO_MESSAGE = "The component ended without an error message."

_GAP = " ... "
# 137 is a process killed by SIGKILL, 125 an engine that could not start it.
_KILLED = (137, 125)


@dataclass(frozen=True)
class FailedContainer:
    """What is known about the container of an error (CT-37).

    Attributes:
        container_id: its id.
        image: printable name of its image (CT-39).
        exit_code: of its main process.
        stdout_tail, stderr_tail: the last 1 000 000 characters, redacted.
    """

    container_id: str
    image: str
    exit_code: int
    stdout_tail: str = field(repr=False, default="")
    stderr_tail: str = field(repr=False, default="")


class FailedComponentError(ComponentError):
    """A component that ended with an error of its user's; ``container`` tells which and how.

    ``usage`` is what it reported of its consumption all the same (US-2), None when it reported nothing.
    """

    usage: Sequence[Mapping[str, Any]] | None = None

    def __init__(self, message: str, container: FailedContainer | None = None) -> None:
        super().__init__(message)
        self.container = container


class OutOfMemoryError(FailedComponentError):
    """A component that needed more memory than it may have (CT-38)."""


class TimeLimitError(FailedComponentError):
    """A component that ran longer than it may."""


class CrashedComponentError(ApplicationError):
    """A component that ended in a way that its user can do nothing about; ``container`` tells which and how.

    ``usage`` is what it reported of its consumption all the same (US-2), None when it reported nothing.
    """

    usage: Sequence[Mapping[str, Any]] | None = None

    def __init__(self, message: str, container: FailedContainer | None = None) -> None:
        super().__init__(message)
        self.container = container


FAILURES = (FailedComponentError, CrashedComponentError)


def judge(
    outcome: ContainerOutcome,
    *,
    image: str,
    timeout_seconds: int,
    memory_text: str,
    component: str = "",
    whose: str = "",
    no_application_errors: bool = False,
    last_gelf_message: str = "",
    time_remedy: str = "",
    memory_remedy: str = "",
) -> None:
    """Return if the component did its work, raise what it deserves if not.

    Args:
        outcome: how its container ended.
        image: full name of its image.
        timeout_seconds: its time limit; 0 is none.
        memory_text: its memory limit as people read it, e.g. ``256M``.
        component: its id, which people know better than the name of its image.
        whose: what it ran for: component, configuration and row.
        no_application_errors: the component's definition makes every failure its user's (CT-33).
        last_gelf_message: short message of its last GELF event of level warning or worse, redacted (CT-35).
        time_remedy: what its user can do about its time limit, a sentence.
        memory_remedy: likewise about its memory.

    Raises:
        OutOfMemoryError: memory ran out, whatever the exit code (CT-30).
        TimeLimitError: it was killed at its time limit (CT-31).
        FailedComponentError: it was killed, or ended with exit code 1 (CT-31, CT-32).
        CrashedComponentError: any other exit code but 0 (CT-33, CT-41).
    """
    name = printable_image(image)
    container = FailedContainer(outcome.container_id, name, outcome.exit_code, outcome.stdout_tail, outcome.stderr_tail)
    subject = f"Component {component} ({name})" if component else f"Component {name}"
    if outcome.oom_killed:
        raise OutOfMemoryError(
            f"{subject} is out of memory: it needs more than its limit of {memory_text}. {memory_remedy}".rstrip(),
            container,
        )
    if outcome.exit_code == 0:
        return
    if outcome.exit_code in _KILLED:
        if outcome.timed_out or 0 < timeout_seconds <= outcome.seconds:
            raise TimeLimitError(
                f"{subject} exceeded the timeout of {timeout_seconds} seconds and was stopped. {time_remedy}".rstrip(),
                container,
            )
        raise FailedComponentError(
            f"{subject} was terminated (exit code {outcome.exit_code}). It possibly ran out of memory; "
            f"its limit is {memory_text}. {memory_remedy}".rstrip(),
            container,
        )
    message = error_message(outcome, last_gelf_message=last_gelf_message)
    if outcome.exit_code == 1:
        raise FailedComponentError(message, container)
    text = f"{name} container '{outcome.container_id[:12]}' failed: ({outcome.exit_code}) {message}"
    if whose:
        text += f" [{whose}]"
    raise (FailedComponentError if no_application_errors else CrashedComponentError)(text, container)


def error_message(outcome: ContainerOutcome, *, last_gelf_message: str = "") -> str:
    """The component's own words: stderr, else stdout, else GELF, else a fixed text (CT-35), shortened (CT-36)."""
    for text in (outcome.stderr_tail, outcome.stdout_tail, last_gelf_message):
        if text.strip():
            return shorten(text.strip())
    return NO_MESSAGE


def shorten(text: str) -> str:
    """``text`` of at most 4000 characters; what is too much goes from the middle (CT-36)."""
    if len(text) <= MESSAGE_CHARACTERS:
        return text
    kept = MESSAGE_CHARACTERS - len(_GAP)
    start = (kept + 1) // 2
    return text[:start] + _GAP + text[len(text) - (kept - start) :]


def printable_image(image: str) -> str:
    """The name of an image without what stands before the first slash (CT-39)."""
    return image.partition("/")[2] or image
