"""What starts a configuration by itself, and which of it could never work: told without Airflow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docker_runner.documents import located
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.mapping.branches import branch_table
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Configuration, Project
from docker_runner.project.default_buckets import with_default_buckets
from docker_runner.project.named_tables import input_tables, output_tables
from docker_runner.project.rows import effective_configurations
from docker_runner.project.run_options import Granularity, RunOptions, parallelism, run_options
from docker_runner.project.schedule import Schedule

_TABLE_ID = re.compile(r"(in|out)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def is_table_id(text: str) -> bool:
    """Whether a text is the id of a table, with nothing in it that is known at run time only."""
    return bool(_TABLE_ID.fullmatch(text))


def written_tables(content: Mapping[str, Any], *, branch: str) -> list[str]:
    """Ids of the tables that a row names as destinations, each once.

    Args:
        content: effective configuration, not checked yet.
        branch: id of the development branch that is written to (BR-4); empty for the default one.
    """
    return [branch_table(table, branch) for table in output_tables(content) if is_table_id(table)]


def refuse_several_zones(schedules: Sequence[Schedule]) -> None:
    """Refuse enabled schedules that have not one time zone.

    Raises:
        ConfigurationError: names the zones.
    """
    enabled = [schedule for schedule in schedules if schedule.enabled]
    zones = {schedule.timezone for schedule in enabled}
    if len(zones) > 1:
        problem = f"The schedules of one configuration must have one time zone, not {' and '.join(sorted(zones))}."
        raise located(ConfigurationError(problem, file=enabled[0].file, key="schedule.timezone"), [enabled[0].file])


def starting_tables(
    contents: Sequence[Mapping[str, Any]], *, own: Sequence[str], branch: str, file: Path | str
) -> list[tuple[str, ...]]:
    """Ids of the tables whose changes start a configuration: for each one that it reads, those that may be meant by it.

    Args:
        contents: effective configurations of the rows that run, with the ids that default buckets have got.
        own: ids of tables that the configuration writes itself; their changes do not start it again.
        branch: id of the development branch, which reads its own tables where there are any (BR-3); may be empty.
        file: for errors.

    Raises:
        ConfigurationError: a table is known at run time only, or no table is left.
    """
    wanted = []
    for table in dict.fromkeys(table for content in contents for table in input_tables(content)):
        if not is_table_id(table):
            problem = f"A change of {table!r} cannot start a run: write its id (stage.bucket.table) without variables."
            raise _wrong(problem, file)
        both = dict.fromkeys((branch_table(table, branch), table))
        if candidates := tuple(name for name in both if name not in own):
            wanted.append(candidates)
    if not wanted:
        raise _wrong(
            "The configuration reads only tables that it writes itself, so it would start itself for ever: "
            "give it a schedule instead of the trigger.",
            file,
        )
    return wanted


def refuse_parallel_rows_in_one_task(configuration: Configuration, options: RunOptions) -> None:
    """Refuse rows that are to run at once in one task.

    Raises:
        ConfigurationError: says what to change.
    """
    rows = len(configuration.rows)
    if options.granularity is Granularity.MERGED and parallelism(configuration.configuration, rows) > 1:
        problem = "Merged steps run one row after the other: remove parallelism, or set granularity to steps."
        error = ConfigurationError(problem, file=configuration.file, key="runtime.parallelism")
        raise located(error, [configuration.file])


def start_problems(
    configuration: Configuration, component: Component, *, project: Project, registry: ComponentRegistry
) -> Iterator[UserError]:
    """What would keep a configuration from becoming a DAG, besides what is wrong in its files.

    Args:
        configuration: as written.
        component: its component.
        project: with the branch that is run.
        registry: the registered components.
    """
    try:
        options = run_options(configuration, component)
        refuse_parallel_rows_in_one_task(configuration, options)
        refuse_several_zones(configuration.schedules)
        if options.trigger:
            rows = [
                (row, with_default_buckets(content, project=project, registry=registry))
                for row, content in effective_configurations(configuration)
            ]
            branch = "" if project.branch.is_default else project.branch.id
            writes = [content for _, content in rows] if component.writes_storage else []
            starting_tables(
                [content for row, content in rows if not (row and row.is_disabled)],
                own=[table for content in writes for table in written_tables(content, branch=branch)],
                branch=branch,
                file=configuration.file,
            )
    except UserError as error:
        yield error


def _wrong(problem: str, file: Path | str) -> ConfigurationError:
    return located(ConfigurationError(problem, file=file, key="runtime.trigger"), [file])
