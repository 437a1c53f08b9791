"""What can go wrong, sorted by who can do something about it.

::

    RunnerError
    ├── UserError                    the configuration, the data or the component's input: change it, then run again
    │   ├── ConfigurationError       a key of a file is wrong (carries the file and the key's path)
    │   ├── NotFoundError            a component, configuration, table or file that is named does not exist
    │   ├── TargetError              what was named to be written to is a folder, is not empty, or cannot be written
    │   ├── TokenError               a Storage token is unknown, has expired or was revoked
    │   ├── ForbiddenError           the Storage token does not allow it
    │   ├── OvertakenError           another run of the configuration has stored its state meanwhile
    │   └── ComponentError           the component ended with exit code 1, ran out of memory or of time
    └── ApplicationError             the machine, the engine, Storage or the component's code: try again, then look
        ├── EngineError              the Docker engine does not answer or refuses
        └── StorageError             Storage does not answer or refuses for a reason that is not the user's

A user error is never retried; an application error is, with back-off. Every error survives pickling, because Airflow
and process pools carry errors between processes.
"""

from __future__ import annotations

from pathlib import Path


class RunnerError(Exception):
    """An error with a message that is fit to be shown to a person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UserError(RunnerError):
    """Something that the user can put right; repeating the run unchanged cannot help."""


class ConfigurationError(UserError):
    """A file of the project, a manifest or a state file that is not what it should be.

    Args:
        problem: what is wrong and what would be right.
        file: the file it stands in, if it stands in one.
        key: dotted path of the key inside the file, e.g. ``storage.input.tables[0].source``.
        line: the line of the file, from 1, when it is known.
    """

    def __init__(self, problem: str, *, file: Path | str | None = None, key: str = "", line: int | None = None) -> None:
        self.problem = problem
        self.file = str(file) if file is not None else None
        self.key = key
        self.line = line
        where = f"{self.file}:{line}" if self.file and line else self.file
        place = ": ".join(part for part in (where, key) if part)
        super().__init__(f"{place}: {problem}" if place else problem)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_configuration_error, (self.problem, self.file, self.key, self.line)


def _rebuild_configuration_error(problem: str, file: str | None, key: str, line: int | None) -> ConfigurationError:
    return ConfigurationError(problem, file=file, key=key, line=line)


class NotFoundError(UserError):
    """A component, configuration, table, file or image that is named does not exist."""


class TargetError(UserError):
    """A file or folder that was named to be written to cannot be: it has to be another one."""


class TokenError(UserError):
    """A Storage token is unknown, has expired or was revoked; the message never shows its secret."""


class ForbiddenError(UserError):
    """The Storage token is good, but does not allow this; the message names the permission that is needed."""


class OvertakenError(UserError):
    """The state that the run began with is not the stored one any more; only a new run can build on that one."""


class ComponentError(UserError):
    """The component itself said that it cannot go on, or outgrew its limits; the message is the component's own."""


class ApplicationError(RunnerError):
    """A failure that is not the user's: worth a retry, and worth a look when it stays."""


class EngineError(ApplicationError):
    """The Docker engine cannot be reached or refuses a call."""


class StorageError(ApplicationError):
    """Storage cannot be reached or fails for a reason that lies on its side."""
