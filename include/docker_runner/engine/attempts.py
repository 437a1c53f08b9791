"""Trying again what may go well next time: pulls, logins, clones (IG-5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from docker_runner.errors import ApplicationError

Log = Callable[[str], None]


@dataclass(frozen=True)
class PullLimits:
    """How long a pull, a clone or a build is tried.

    The defaults give a registry 13 minutes of pauses to come back, and 15 s where a mistyped name is as likely: there a
    person waits for the answer. The pauses grow by factor 2 (IG-5).

    Attributes:
        attempts: how many times at most.
        doubtful_attempts: how many times at most after a :class:`DoubtfulError`.
        first_pause_seconds: pause after the first attempt.
        longest_pause_seconds: no pause is longer.
        attempt_seconds: limit of one attempt (IG-5, IG-29).
        progress_seconds: between two lines about the progress.
    """

    attempts: int = 20
    doubtful_attempts: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 60.0
    attempt_seconds: float = 3600.0
    progress_seconds: float = 10.0


class PassingError(ApplicationError):
    """A failure that may be gone at the next attempt."""


class DoubtfulError(PassingError):
    """A failure that may be gone at the next attempt, but looks as much like a mistake in a name or a setting."""


def with_attempts(work: Callable[[], None], log: Log, limits: PullLimits) -> None:
    """Do something until it goes well; after a :class:`PassingError` it is tried again, after growing pauses (IG-5)."""
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

    def is_enough(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        most = limits.doubtful_attempts if isinstance(error, DoubtfulError) else limits.attempts
        return state.attempt_number >= min(most, limits.attempts)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        log(f"{error} Trying again in {pause:g} s.")

    Retrying(
        stop=is_enough,
        wait=wait_exponential(multiplier=limits.first_pause_seconds, max=limits.longest_pause_seconds),
        retry=retry_if_exception_type(PassingError),
        before_sleep=tell,
        reraise=True,
    )(work)
