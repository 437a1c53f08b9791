"""How a task ends when its step fails: with one clear message, and with or without another try."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

RETRIES = 3
"""How often a task is tried again."""
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(minutes=10)


class StepFailed(SystemExit):
    """Ends a task as failed.

    Airflow prints a traceback for every other exception; the message of a step is for the person who reads the log,
    and it has been logged already.

    Args:
        message: what went wrong and what would be right.
        can_be_repeated: another try may succeed.
    """

    def __init__(self, message: str, *, can_be_repeated: bool) -> None:
        super().__init__(message)
        self.can_be_repeated = can_be_repeated


class RetryWhatMayPass(RetryPolicy):
    """Application errors are tried again with exponential back-off, user errors never.

    Args:
        pause: between two attempts, in place of pauses that grow.
    """

    def __init__(self, *, pause: timedelta | None = None) -> None:
        self.pause = pause

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide by the kind of the failure; see :class:`StepFailed`."""
        del max_tries, context
        if isinstance(exception, StepFailed) and not exception.can_be_repeated:
            return RetryDecision.fail()
        growing = min(FIRST_DELAY * 2 ** min(max(try_number - 1, 0), 10), LONGEST_DELAY)
        return RetryDecision.retry(growing if self.pause is None else self.pause)

    def serialize(self) -> dict[str, Any]:
        """What makes the same policy again."""
        return {"pause": None if self.pause is None else self.pause.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
        """Make the policy again."""
        return cls(pause=None if data["pause"] is None else timedelta(seconds=data["pause"]))
