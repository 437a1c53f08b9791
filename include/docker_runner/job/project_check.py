"""What is wrong with a project as a whole, and with its flows: found without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docker_runner.documents import located, problems
from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.job.circles import circles
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.core_files import read_map, read_meta
from docker_runner.project.dag_ids import by_dag_id, collision
from docker_runner.project.entries import SCHEDULER_COMPONENT, Entry, Key
from docker_runner.project.flow import FlowTask
from docker_runner.project.schedule import Schedule


def project_problems(project: Project, registry: ComponentRegistry) -> list[UserError]:
    """What configurations of a project do to each other.

    Args:
        project: the project directory with its branch.
        registry: the registered components.
    """
    found: list[UserError] = []
    keys = project.runnable()
    for same in by_dag_id(keys, project.branch).values():
        if len(same) > 1:
            found.append(ConfigurationError(collision(same), file=project.branch_folder))
    folders: dict[str, Key] = {}
    for key in keys:
        try:
            folder = str(project.entry(*key).folder)
        except ConfigurationError:
            continue
        if (first := folders.setdefault(folder, key)) != key:
            problem = f"{'/'.join(first)} and {'/'.join(key)} lie in the same folder: each needs one of its own."
            found.append(ConfigurationError(problem, file=folder))
    return [*found, *circles(project, registry)]


def flow_problems(project: Project, registry: ComponentRegistry, entry: Entry) -> list[UserError]:
    """Everything that is wrong with an orchestration or a flow, its schedules included.

    Args:
        project: the project directory with its branch.
        registry: the registered components.
        entry: the flow.
    """
    found: list[UserError] = []
    with _collecting(found):
        read_map(entry.folder / "config.json")
    with _collecting(found):
        read_meta(entry.folder)
    if not found:
        found += project.flow_errors(entry.key)
    for schedule in project.children(entry.key, SCHEDULER_COMPONENT):
        with _collecting(found):
            Schedule.read(schedule.folder / "config.json")
    if not found:
        for task in project.flow(*entry.key).tasks:
            if task.enabled and task.config_data is not None:
                _check_component(task, registry, found)
                place = f"{task.key}.task.configData".lstrip(".")
                given = problems(task.config_data, "configuration", file=task.file, key=place, placeholders=True)
                found += given
    return found


def _check_component(task: FlowTask, registry: ComponentRegistry, found: list[UserError]) -> None:
    """Check that the component of a task that brings its own configuration is there."""
    with _collecting(found):
        try:
            registry.get(task.component_id)
        except NotFoundError as error:
            place = f"{task.key}.task.componentId".lstrip(".")
            raise located(ConfigurationError(str(error), file=task.file, key=place), [Path(task.file)]) from None


@contextmanager
def _collecting(found: list[UserError]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        found.append(error)
