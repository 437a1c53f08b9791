"""Configurations that start each other through their tables: each run would have another one follow, for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docker_runner.documents import located
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.default_buckets import with_default_buckets
from docker_runner.project.entries import Key
from docker_runner.project.named_tables import input_tables, output_tables
from docker_runner.project.rows import effective_configurations
from docker_runner.project.run_options import Trigger, run_options
from docker_runner.regular_files import read_regular


@dataclass(frozen=True)
class _Started:
    """A configuration that is started by changes of tables.

    Attributes:
        waits_for: the tables that start it; not those that it writes itself.
        writes: tables that it names as destinations.
        bucket: id of the bucket that takes what it does not name; may be empty.
    """

    file: Path
    trigger: Trigger
    waits_for: tuple[str, ...]
    writes: frozenset[str]
    bucket: str

    def may_write(self, table: str) -> bool:
        return table in self.writes or (bool(self.bucket) and table.rpartition(".")[0] == self.bucket)


def circles(project: Project, registry: ComponentRegistry) -> list[ConfigurationError]:
    """Circles of configurations that would keep each other running.

    What is only started by them, or waits for a table that none of them writes too, is in no circle. What cannot be
    read is left out: it is a problem of its own, and is not run.

    Args:
        project: the project directory with its branch.
        registry: the registered components.
    """
    started = dict(_started(project, registry))
    before = {
        key: {table: [other for other, item in started.items() if item.may_write(table)] for table in one.waits_for}
        for key, one in started.items()
    }
    running = set(started)
    while gone := {key for key in running if not _goes_on(started[key].trigger, before[key], running)}:
        running -= gone
    return [_problem(circle, started, before) for circle in _walked(started, before, running)]


def _started(project: Project, registry: ComponentRegistry) -> Iterator[tuple[Key, _Started]]:
    for key in project.configurations():
        # A broken one, or a component that is not registered.
        with suppress(UserError, OSError):
            file = project.entry(*key).folder / "config.json"
            # Few have a trigger: the others need not be understood.
            if b'"trigger"' in read_regular(file) and (found := _read(project, registry, key, file)):
                yield key, found


def _read(project: Project, registry: ComponentRegistry, key: Key, file: Path) -> _Started | None:
    configuration, component = project.configuration(*key), registry.get(key[0])
    trigger = run_options(configuration, component).trigger
    if trigger is None or configuration.is_disabled:
        return None
    contents = [
        with_default_buckets(content, project=project, registry=registry)
        for row, content in effective_configurations(configuration)
        if not (row and row.is_disabled)
    ]
    own = {table for content in contents for table in output_tables(content)} if component.writes_storage else set()
    reads = dict.fromkeys(table for content in contents for table in input_tables(content))
    bucket = component.default_bucket(key[1]) if component.writes_storage else ""
    waits_for = tuple(table for table in reads if table not in own)
    return _Started(file, trigger, waits_for, frozenset(own), bucket)


def _goes_on(trigger: Trigger, before: Mapping[str, list[Key]], running: set[Key]) -> bool:
    """Whether a configuration is started again and again while others run."""
    written = [any(key in running for key in writers) for writers in before.values()]
    return bool(written) and (any(written) if trigger is Trigger.ANY_INPUT else all(written))


def _walked(
    started: Mapping[Key, _Started], before: Mapping[Key, Mapping[str, list[Key]]], running: set[Key]
) -> Iterator[list[Key]]:
    """The circles that are met on the way back from each configuration, each once and in the order of their runs."""
    seen: set[Key] = set()
    for key in started:
        way: list[Key] = []
        while key in running and key not in seen:
            seen.add(key)
            way.append(key)
            key = next(other for writers in before[key].values() for other in writers if other in running)
        if key in way:
            yield way[way.index(key) :][::-1]


def _problem(
    circle: list[Key], started: Mapping[Key, _Started], before: Mapping[Key, Mapping[str, list[Key]]]
) -> ConfigurationError:
    steps = []
    for key, following in zip(circle, [*circle[1:], circle[0]], strict=True):
        table = next(table for table, writers in before[following].items() if key in writers)
        steps.append(f"{'/'.join(key)} writes {table}, which starts {'/'.join(following)}")
    problem = f"These start each other without an end: {'; '.join(steps)}. Give one of them a schedule instead."
    return located(ConfigurationError(problem, key="runtime.trigger"), [started[circle[0]].file])
