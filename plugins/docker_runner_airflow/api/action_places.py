"""How many synchronous actions run at a time, in all and of one caller."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from docker_runner_airflow.api.errors import ApiError

_COME_AGAIN_SECONDS = 5


class ActionPlaces:
    """How many actions a process runs at a time: each takes a thread for up to half a minute, and memory of the engine.

    One caller can have half of them: the others are always there for somebody else.

    Args:
        number: of them.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._of_one = (number + 1) // 2
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, who: str) -> Iterator[None]:
        """Take a place for the time of a block.

        Args:
            who: calls.

        Raises:
            ApiError: 429, all are taken, or the caller's share: whoever waits for an answer does not wait for that of
                others.
        """
        with self._lock:
            if self._taken.total() >= self._number:
                raise _later(
                    f"As many actions are running as may at a time ({self._number}, DOCKER_RUNNER_API_ACTIONS)"
                )
            if self._taken[who] >= self._of_one:
                raise _later(
                    f"As many of your actions are running as one caller may have at a time ({self._of_one}, half of "
                    "DOCKER_RUNNER_API_ACTIONS)"
                )
            self._taken[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[who] -= 1
                if not self._taken[who]:
                    del self._taken[who]


def _later(problem: str) -> ApiError:
    return ApiError(429, f"{problem}: try again in a moment.", headers={"Retry-After": str(_COME_AGAIN_SECONDS)})
