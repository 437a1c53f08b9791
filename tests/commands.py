"""Commands as people type them, run in this process."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import CliRunner, Result

from docker_runner.cli import app
from docker_runner.errors import UserError

Command = Callable[..., Result]


def invoked(*arguments: str, input: str = "") -> Result:
    """What a command gives; its error is kept."""
    return CliRunner().invoke(app, list(arguments), input=input, catch_exceptions=True)


def refused(result: Result) -> str:
    """The message of the error that a command ended with."""
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)
