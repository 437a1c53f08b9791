"""What is in a project, for people and for programs: what ``docker-runner list`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Configuration, Project
from docker_runner.project.dag_ids import by_dag_id, collision, dag_id
from docker_runner.project.entries import Key
from docker_runner.project.flow import Flow
from docker_runner.project.run_options import run_options
from docker_runner.project.schedule import Schedule
from docker_runner.project.starts import start_problems
from docker_runner.validation_report import NOT_IN_MANIFEST, problem_document, short_path

Document = dict[str, Any]


def listing(project: Project, registry: ComponentRegistry) -> Document:
    """Everything that becomes a DAG, as one JSON document.

    What cannot be read is listed with its error, as its DAG shows it; ``docker-runner validate`` finds more.

    Args:
        project: the project directory with its branch.
        registry: the registered components.
    """
    branch = project.branch
    same = {name: keys for name, keys in by_dag_id(project.runnable(), branch).items() if len(keys) > 1}
    # Many configurations share a component.
    component = cache(registry.get)
    return {
        "project": {"path": str(project.folder), "id": project.id},
        "branch": {"id": branch.id, "path": branch.path, "is_default": branch.is_default},
        "configurations": [
            _one_dag(_configuration(project, registry, component, key), same) for key in project.configurations()
        ],
        "flows": [_one_dag(_flow(project, key), same) for key in project.flows()],
        "not_in_manifest": [short_path(folder) for folder in project.unnamed()],
    }


def _one_dag(shown: Document, same: Mapping[str, Sequence[Key]]) -> Document:
    """Tell what cannot be a DAG because others would have its id."""
    keys = same.get(shown["dag_id"])
    return {**shown, "problem": problem_document(ConfigurationError(collision(keys)))} if keys else shown


def _identity(project: Project, key: Key) -> Document:
    return {"component": key[0], "id": key[1], "dag_id": dag_id(*key, project.branch)}


def _configuration(
    project: Project, registry: ComponentRegistry, known: Callable[[str], Component], key: Key
) -> Document:
    shown = _identity(project, key)
    try:
        configuration = project.configuration(*key)
    except UserError as error:
        return {**shown, "problem": problem_document(error)}
    shown |= _described(configuration)
    shown["rows"] = [{"id": row.id, "name": row.name, "is_disabled": row.is_disabled} for row in configuration.rows]
    try:
        component = known(key[0])
        options = run_options(configuration, component)
        if not configuration.is_disabled:
            for problem in start_problems(configuration, component, project=project, registry=registry):
                raise problem
    except UserError as error:
        return {**shown, "problem": problem_document(error)}
    return {**shown, "granularity": options.granularity.value, "trigger": options.trigger and options.trigger.value}


def _flow(project: Project, key: Key) -> Document:
    shown = _identity(project, key)
    try:
        flow = project.flow(*key)
    except UserError as error:
        return {**shown, "problem": problem_document(error)}
    phases = [
        {
            "id": phase.id,
            "name": phase.name,
            "depends_on": list(phase.depends_on),
            "tasks": [
                {
                    "id": task.id,
                    "name": task.name,
                    "component": task.component_id,
                    "configuration": task.config_id or None,
                    "enabled": task.enabled,
                    "continue_on_failure": task.continue_on_failure,
                }
                for task in phase.tasks
            ],
        }
        for phase in flow.phases
    ]
    return {**shown, **_described(flow), "phases": phases}


def _described(item: Configuration | Flow) -> Document:
    return {
        "name": item.name,
        "path": short_path(item.file),
        "is_disabled": item.is_disabled,
        "schedules": [_schedule(schedule) for schedule in item.schedules],
    }


def _schedule(schedule: Schedule) -> Document:
    return {"cron": schedule.cron, "timezone": schedule.timezone, "enabled": schedule.enabled}


def as_text(document: Document) -> str:
    """The same for people: configurations by component, then flows."""
    branch = document["branch"]
    kind = "the default branch" if branch["is_default"] else "a development branch"
    lines = [f"{short_path(document['project']['path'])}, branch {branch['path']} ({kind})"]
    configurations = sorted(document["configurations"], key=lambda item: str(item["component"]))
    for component, items in groupby(configurations, key=lambda item: str(item["component"])):
        lines += ["", component, *_items(list(items), _rows)]
    for component, items in groupby(document["flows"], key=lambda item: str(item["component"])):
        lines += ["", component, *_items(list(items), _phases)]
    if unnamed := document["not_in_manifest"]:
        lines += ["", *(f"{path}  [{NOT_IN_MANIFEST}]" for path in unnamed)]
    everything = [*document["configurations"], *document["flows"]]
    broken = sum("problem" in item for item in everything)
    count = f"{len(document['configurations'])} configurations and {len(document['flows'])} flows"
    return "\n".join([*lines, "", f"{count}, {broken} of them broken."])


def _items(items: Sequence[Document], inner: Any) -> Iterator[str]:
    width = max(len(item["id"]) for item in items)
    for item in items:
        name = item.get("name", "")
        notes = "".join(
            f"  [{note}]"
            for note, shown in (("broken", "problem" in item), ("disabled", item.get("is_disabled")))
            if shown
        )
        yield f"  {item['id']:<{width}}  {'' if name == item['id'] else name}{notes}".rstrip()
        yield from (f"      {line}" for line in [*inner(item), *_starts(item), *_error(item)])


def _rows(item: Document) -> Iterator[str]:
    names = [f"{row['id']}{' [disabled]' if row['is_disabled'] else ''}" for row in item.get("rows", [])]
    if names:
        yield f"rows: {', '.join(names)}"


def _phases(item: Document) -> Iterator[str]:
    for phase in item.get("phases", []):
        after = f" after {', '.join(phase['depends_on'])}" if phase["depends_on"] else ""
        tasks = ", ".join(
            f"{task['component']}/{task['configuration'] or '(its own)'}{'' if task['enabled'] else ' [disabled]'}"
            for task in phase["tasks"]
        )
        yield f"phase {phase['id']}{after}: {tasks or 'nothing'}"


def _starts(item: Document) -> Iterator[str]:
    for schedule in item.get("schedules", []):
        off = "" if schedule["enabled"] else " [disabled]"
        yield f"schedule: {schedule['cron']} {schedule['timezone']}{off}"
    if item.get("trigger"):
        yield f"runs when {'any' if item['trigger'] == 'any_input' else 'all'} of its input tables changed"


def _error(item: Document) -> Iterator[str]:
    if "problem" in item:
        problem = item["problem"]
        yield str(
            ConfigurationError(problem["message"], file=problem["file"], key=problem["key"], line=problem["line"])
        )
