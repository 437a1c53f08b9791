"""The configuration that a job would use, for people: all put together, and nothing told that is a secret (API-42)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from docker_runner.documents import lines_shown
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.checks import effective_problems, part_problems
from docker_runner.job.request import JobRequest
from docker_runner.job.resolution import replaced
from docker_runner.job.source import Source
from docker_runner.project.component import ComponentRegistry, StackRegistry
from docker_runner.project.configuration import Configuration, Project, Row
from docker_runner.project.parsing import completed
from docker_runner.project.rows import effective_configurations
from docker_runner.project.variables import VariableValues
from docker_runner.project.vault import ClosedVault, Vault


@dataclass(frozen=True)
class EffectiveConfiguration:
    """A stored configuration, and what becomes of it.

    Attributes:
        stored: as written.
        root: without rows the effective configuration, with rows the root as written.
        rows: each row with its effective configuration.
    """

    stored: Configuration
    root: dict[str, Any] = field(repr=False)
    rows: tuple[tuple[Row, dict[str, Any]], ...] = field(repr=False)


@lines_shown()
def effective_configuration(
    project: Project,
    registry: ComponentRegistry,
    stored: Configuration,
    *,
    values: VariableValues,
    vault: Path | None = None,
) -> EffectiveConfiguration:
    """Merge rows, put in shared code, variables and defaults, as a job does; ciphers stay ciphers (D17).

    Placeholders of the vault stay too: what they stand for is not told, only that there is a value.

    Args:
        project: the project directory, with the branch of the configuration.
        registry: the registered components.
        stored: one of the project's configurations; it may be disabled, and so may its rows.
        values: values of variables, as given with a run.
        vault: file with the values of ``{{ vault.… }}``.

    Raises:
        UserError: the configuration cannot be run as it is; names file and key.
    """
    for error in part_problems(stored, stored.rows):
        raise error
    opened, closed = Vault(vault, project.branch.path), ClosedVault(vault, project.branch.path)
    source = Source(stored)
    parts = []
    for row, merged in effective_configurations(stored):
        files = source.files(row)
        put_in = partial(
            replaced,
            merged,
            source=source,
            request=JobRequest(variables=values),
            project=project,
            registry=StackRegistry(registry, project.api_host),
            files=files,
        )
        shown, _ = put_in(vault=closed)
        with _values_hidden(closed):
            # What a job would find is found with what a job would use.
            content, _ = put_in(vault=opened)
            for problem in effective_problems(content, files=files):
                raise problem
        parts.append((row, completed(closed.reopened(shown))))
    rows = tuple((row, content) for row, content in parts if row)
    return EffectiveConfiguration(stored, stored.configuration if rows else parts[0][1], rows)


@contextmanager
def _values_hidden(vault: ClosedVault) -> Iterator[None]:
    """Let errors show the vault's placeholders in place of what they stand for."""
    try:
        yield
    except ConfigurationError as error:
        problem = vault.hidden(error.problem)
        raise ConfigurationError(problem, file=error.file, key=vault.hidden(error.key), line=error.line) from None
    except UserError as error:
        raise UserError(vault.hidden(str(error))) from None
