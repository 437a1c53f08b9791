"""Trying again what may go well next time: pulls, logins, clones (IG-5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from docker_runner.errors import ApplicationError

Log = Callable[[str], None]


@dataclass(frozen=True)
class PullLimits:
    """How long a pull, a clone or a build is tried.

    The defaults give a registry about 15 s of pauses to come back: a person waits for the answer, and the scheduler
    tries the task again later anyway. The pauses grow by factor 2 (IG-5).

    Attributes:
        attempts: how many times at most.
        first_pause_seconds: pause after the first attempt.
        longest_pause_seconds: no pause is longer.
        attempt_seconds: limit of one attempt (IG-5, IG-29).
        progress_seconds: between two lines about the progress.
    """

    attempts: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 60.0
    attempt_seconds: float = 3600.0
    progress_seconds: float = 10.0


class PassingError(ApplicationError):
    """A failure that may be gone at the next attempt."""


def with_attempts(work: Callable[[], None], log: Log, limits: PullLimits) -> None:
    """Do something until it goes well; after a :class:`PassingError` it is tried again, after growing pauses (IG-5)."""
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        log(f"{error} Trying again in {pause:g} s.")

    Retrying(
        stop=stop_after_attempt(limits.attempts),
        wait=wait_exponential(multiplier=limits.first_pause_seconds, max=limits.longest_pause_seconds),
        retry=retry_if_exception_type(PassingError),
        before_sleep=tell,
        reraise=True,
    )(work)
