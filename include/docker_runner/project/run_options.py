"""What a configuration says of its runs as a whole: how they become tasks, and what starts them.

Both stand in ``runtime`` of the root, because they are about all rows together::

    {"runtime": {"granularity": "merged", "trigger": "any_input"}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from docker_runner.documents import located
from docker_runner.errors import ConfigurationError
from docker_runner.project.component import Component
from docker_runner.project.configuration import Configuration
from docker_runner.project.named_tables import input_tables
from docker_runner.project.rows import effective_configurations


class Granularity(StrEnum):
    """How a run becomes tasks: one for each step, or all steps merged into one, for many small jobs."""

    STEPS = "steps"
    MERGED = "merged"


class Trigger(StrEnum):
    """Which changes of its input tables start a configuration."""

    ANY_INPUT = "any_input"
    ALL_INPUTS = "all_inputs"


@dataclass(frozen=True)
class RunOptions:
    """What was asked for.

    Attributes:
        granularity: the configuration's, else the component's.
        trigger: None for a configuration that is not started by changes.
        input_tables: tables that are read by rows which are not disabled, in order, each once; with placeholders as
            written.
    """

    granularity: Granularity
    trigger: Trigger | None
    input_tables: tuple[str, ...]


def run_options(configuration: Configuration, component: Component) -> RunOptions:
    """Read how a configuration runs.

    Raises:
        ConfigurationError: an option has a value that the schema does not know, or the first of
            :func:`run_option_problems`.
    """
    runtime = _runtime(configuration.configuration)
    for name, known in (("granularity", list(Granularity)), ("trigger", list(Trigger))):
        value = runtime.get(name)
        if value is not None and value not in known:
            wrong = f"Must be {' or '.join(known)}, not {value!r}."
            raise _wrong(wrong, file=configuration.file, key=f"runtime.{name}")
    for problem in run_option_problems(configuration):
        raise problem
    trigger = runtime.get("trigger")
    return RunOptions(
        granularity=Granularity(runtime.get("granularity") or component.granularity),
        trigger=Trigger(trigger) if trigger else None,
        input_tables=tuple(_input_tables(configuration)),
    )


def parallelism(configuration: Mapping[str, Any], rows: int) -> int:
    """How many rows run at once: one after the other unless the configuration says more (D7, LC-81)."""
    wanted = str(_runtime(configuration).get("parallelism") or 1)
    if wanted == "infinity":
        return max(rows, 1)
    return max(int(wanted), 1) if wanted.isdigit() else 1


def run_option_problems(configuration: Configuration) -> Iterator[ConfigurationError]:
    """What is wrong with the options of a configuration besides what its schema tells."""
    for row in configuration.rows:
        for name in ("granularity", "trigger"):
            if _runtime(row.configuration).get(name):
                yield _wrong(
                    f"{name} is about the whole configuration: write it into its root, not into a row.",
                    file=row.file,
                    key=f"runtime.{name}",
                )
    if _runtime(configuration.configuration).get("trigger"):
        yield from _trigger_problems(configuration)


def _trigger_problems(configuration: Configuration) -> Iterator[ConfigurationError]:
    if any(schedule.enabled for schedule in configuration.schedules):
        yield _wrong(
            "A configuration is started by changes of its input tables or by schedules, not by both: "
            "disable the schedules, or remove the trigger.",
            file=configuration.file,
            key="runtime.trigger",
        )
    if not any(_input_tables(configuration)):
        yield _wrong(
            "There is no input table whose change could start a run: name one in storage.input.tables.",
            file=configuration.file,
            key="runtime.trigger",
        )


def _input_tables(configuration: Configuration) -> list[str]:
    """Sources of input tables in a configuration that may not be checked yet."""
    found: dict[str, None] = {}
    for row, content in effective_configurations(configuration):
        if not (row and row.is_disabled):
            found |= dict.fromkeys(input_tables(content))
    return list(found)


def _wrong(problem: str, *, file: Path | str, key: str) -> ConfigurationError:
    return located(ConfigurationError(problem, key=key), [file])


def _runtime(content: Mapping[str, Any]) -> Mapping[str, Any]:
    runtime = content.get("runtime")
    return runtime if isinstance(runtime, Mapping) else {}
