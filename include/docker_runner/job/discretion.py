"""Keeps secrets out of what a step says of what a component left: names, manifests, usage, errors that repeat them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ApplicationError, RunnerError


@contextmanager
def discreet(redactor: Redactor, log: logging.Logger) -> Iterator[None]:
    """Hide secrets in messages to a log, and in the errors that end a block (LG-22).

    Args:
        redactor: knows the secrets.
        log: the runner's log.

    Raises:
        RunnerError: the block's own, with its secrets hidden.
        ApplicationError: in place of a system error that repeats a secret, e.g. as the name of a file.
    """
    hide = _Hide(redactor)
    log.addFilter(hide)
    try:
        yield
    except RunnerError as error:
        _hide_in(error, redactor)
        raise
    except OSError as error:
        text = redactor.redact(str(error))
        if text == str(error):
            raise
        raise ApplicationError(text) from None
    finally:
        log.removeFilter(hide)


def _hide_in(error: RunnerError, redactor: Redactor) -> None:
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, redactor.redact(value))
    error.args = tuple(redactor.redact(value) if isinstance(value, str) else value for value in error.args)
    # What it was made from holds the same texts.
    error.__cause__, error.__context__ = None, None


class _Hide(logging.Filter):
    """Hides secrets in the records of a log."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide; every record is shown."""
        if self._redactor:
            record.msg, record.args = self._redactor.redact(record.getMessage()), ()
        return True
