"""What is checked of a configuration before a job runs: each file on its own, then what becomes of them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from docker_runner.documents import Files, located, problems
from docker_runner.encryption import refuse_plain_secrets
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.artifacts import refuse_wrong_artifacts
from docker_runner.mapping.input_checks import input_problems
from docker_runner.mapping.output_checks import output_problems
from docker_runner.project.configuration import Configuration, Row
from docker_runner.project.parsing import completed
from docker_runner.schemas import violations
from docker_runner.secret_keys import walk_secrets


def part_problems(configuration: Configuration, rows: Sequence[Row]) -> Iterator[ConfigurationError]:
    """What is wrong in the files of a configuration with rows, each on its own (RW-3, CF-33).

    Without rows there is one file, and what is wrong in it shows in what becomes of it.

    Args:
        configuration: as written.
        rows: those of its rows that are looked at.
    """
    if configuration.rows:
        yield from written_problems(configuration, rows)


def written_problems(configuration: Configuration, rows: Sequence[Row]) -> Iterator[ConfigurationError]:
    """What the schema finds in the files of a configuration as they are written.

    Args:
        configuration: as written.
        rows: those of its rows that are looked at.
    """
    for content, file in (
        (configuration.configuration, configuration.file),
        *((row.configuration, row.file) for row in rows),
    ):
        yield from problems(content, "configuration-row", file=file, placeholders=True)


def effective_problems(content: Mapping[str, Any], *, files: Files) -> Iterator[UserError]:
    """What is wrong in an effective configuration: all that the schema finds, else all that other checks find.

    Args:
        content: merged, with its placeholders replaced.
        files: the files that it comes from, the most special one first.
    """
    found = [
        located(ConfigurationError(wrong.problem, key=wrong.key), files, place=wrong.place)
        for wrong in violations(content, "configuration")
    ]
    yield from found
    if found:
        return
    parsed = completed(content)
    for problem in (*input_problems(parsed), *output_problems(parsed)):
        yield located(problem, files)
    for check in (refuse_wrong_artifacts, refuse_plain_token):
        try:
            check(parsed)
        except ConfigurationError as error:
            yield located(error, files)
    # Before anything is written: a job on disk must not hold what its author forgot to encrypt.
    yield from plain_secret_problems(parsed, files=files)


def plain_secret_problems(document: Any, *, files: Files) -> Iterator[ConfigurationError]:
    """``#`` values of a document that are not encrypted (EN-10)."""
    for path, value in walk_secrets(document):
        try:
            refuse_plain_secrets({"#": value})
        except ConfigurationError as error:
            yield located(ConfigurationError(error.problem, key=path), files)


def refuse_plain_token(configuration: Mapping[str, Any]) -> None:
    """Refuse a Storage token that would be ignored, so that its job would run with other rights than was meant.

    Raises:
        ConfigurationError: it stands under a name that is not the one of a secret.
    """
    if "storage_token" in (configuration.get("runtime") or {}):
        raise ConfigurationError(
            "A Storage token is a secret: write it as #storage_token, encrypted with `docker-runner encrypt`.",
            key="runtime.storage_token",
        )


@contextmanager
def errors_of(files: Files) -> Iterator[None]:
    """Let every error that says nothing of its file name the right one of these."""
    try:
        yield
    except ConfigurationError as error:
        raise located(error, files) from None
    except UserError as error:
        raise ConfigurationError(str(error), file=files[0]) from None
