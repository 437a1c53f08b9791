"""Writes that are worth another attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_runner.storage.lake.lost_commit import LostCommitError

if TYPE_CHECKING:
    from tenacity import Retrying


def attempts() -> Retrying:
    """Repeats a write that met one of a writer that does not take our locks, or whose answer was lost."""
    import duckdb
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return Retrying(
        retry=retry_if_exception_type((duckdb.TransactionException, LostCommitError)),
        stop=stop_after_attempt(5),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        reraise=True,
    )
