"""Ctrl-C in a run on the command line: answered at once, since stopping a container takes some seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection, Iterator

from docker_runner.errors import RunnerError
from docker_runner.job.definition import Job, Mode
from docker_runner.job.plan import Kind, steps_of

_EXIT_CODE = 128 + signal.SIGINT


@contextlib.contextmanager
def interruption_told(job: Job, done: Collection[tuple[str, str]]) -> Iterator[None]:
    """Say on stderr that the run is stopping as soon as Ctrl-C is pressed, and in the end what it has stored.

    Where Ctrl-C does nothing, as in what a shell has started in the background, it goes on doing nothing. Pressed
    again, it ends the cleaning too.

    Args:
        job: what runs in the block.
        done: row and step of all that is done; grows while the block lasts.

    Raises:
        SystemExit: with code 130, after Ctrl-C.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def tell(number: int, frame: object) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # The interrupted line may be within a print to stderr, which takes no other one then.
        with contextlib.suppress(OSError):
            os.write(2, b"\nStopping the container ...\n")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, tell)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        has_stored = may_have_stored(job, done) or _came_after_a_failure(interrupt)
        left = "What was stored until then stays." if has_stored else "Nothing was stored."
        print(f"The run was stopped. {left}", file=sys.stderr)
        raise SystemExit(_EXIT_CODE) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def may_have_stored(job: Job, done: Collection[tuple[str, str]]) -> bool:
    """Whether a run that was stopped may have begun to store anything.

    Args:
        job: the run.
        done: row and step of all that was done.
    """
    for row in job.rows:
        # Snapshots are stored beside the containers.
        if row.mode is Mode.DEBUG:
            return True
        for step in steps_of(row):
            if step.kind is Kind.UNLOAD_OUTPUT and all((row.row_id, name) in done for name in step.after):
                return True
    return False


def _came_after_a_failure(interrupt: KeyboardInterrupt) -> bool:
    """Whether a step had failed before: tables that are stored all the same may have been under way."""
    error = interrupt.__context__
    while error is not None and not isinstance(error, RunnerError | OSError):
        error = error.__context__
    return error is not None
