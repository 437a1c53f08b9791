"""Phases and tasks of a flow as written: in folders as ``kbc`` writes an orchestration, or inside ``config.json``.

::

    config.json                                   {"phases": […], "tasks": […]}     either here
    phases/<phase>/phase.json                     or here: the order of folders counts, and their names are the ids
    phases/<phase>/<task>/task.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, problems, read_json
from docker_runner.errors import ConfigurationError
from docker_runner.positions import line_of

PREVIOUS = "<previous>"


@dataclass(frozen=True)
class Part:
    """A phase or a task as written.

    Attributes:
        id: its id; of a folder its name, of a task's folder with that of its phase.
        content: checked against its schema.
        file: the file that it stands in.
        key: its place in the file, empty when the file is its own.
    """

    id: str
    content: Mapping[str, Any] = field(repr=False)
    file: Path
    key: str = ""

    def error(self, problem: str, key: str = "") -> ConfigurationError:
        """An error in this part; ``key`` counts from the part."""
        place = ".".join(part for part in (self.key, key) if part)
        return ConfigurationError(problem, file=self.file, key=place, line=line_of(self.file, place))


@dataclass(frozen=True)
class Parts:
    """All phases of a flow in written order with their tasks, and everything that could not be read."""

    phases: list[tuple[Part, list[Part]]] = field(default_factory=list)
    errors: list[ConfigurationError] = field(default_factory=list)


def read_parts(folder: Path) -> Parts:
    """Read phases and tasks of a flow.

    Args:
        folder: the folder of its ``config.json``.

    Raises:
        ConfigurationError: ``config.json`` cannot be read or has a wrong form.
    """
    file = folder / "config.json"
    content = read_json(file)
    wrong = list(problems(content, "flow", file=file))
    if wrong:
        return Parts(errors=wrong)
    content = content or {}
    folders = _folders(folder / "phases")
    if not folders:
        return _inside(content, file)
    for key in ("phases", "tasks"):
        if content.get(key):
            problem = f"{key} stand in config.json and in the folder phases: remove one of them."
            return Parts(errors=[ConfigurationError(problem, file=file, key=key)])
    return _in_folders(folders)


def _inside(content: Mapping[str, Any], file: Path) -> Parts:
    found = Parts()
    by_id: dict[str, list[Part]] = {}
    for part in _items(content, "phases", file):
        if part.id in by_id:
            found.errors.append(part.error(f"There are two phases with the id {part.id!r}.", "id"))
            continue
        by_id[part.id] = []
        found.phases.append((part, by_id[part.id]))
    seen: set[str] = set()
    for part in _items(content, "tasks", file):
        phase = str(part.content["phase"])
        if part.id in seen:
            found.errors.append(part.error(f"There are two tasks with the id {part.id!r}.", "id"))
        elif phase not in by_id:
            known = ", ".join(by_id) or "none"
            found.errors.append(part.error(f"There is no phase {phase!r}; there are: {known}.", "phase"))
        else:
            by_id[phase].append(part)
        seen.add(part.id)
    return found


def _items(content: Mapping[str, Any], key: str, file: Path) -> Iterator[Part]:
    schema = {"phases": "flow-phase", "tasks": "flow-task"}[key]
    for index, item in enumerate(content.get(key) or []):
        place = f"{key}[{index}]"
        yield Part(str(item["id"]), checked(item, schema, file=file, key=place), file, place)


def _in_folders(folders: list[Path]) -> Parts:
    found = Parts()
    for folder in folders:
        phase = _own_file(folder / "phase.json", "flow-phase", folder.name, found)
        tasks = [
            _own_file(task / "task.json", "flow-task", f"{folder.name}/{task.name}", found) for task in _folders(folder)
        ]
        if phase:
            found.phases.append((phase, [task for task in tasks if task]))
    return found


def _own_file(file: Path, schema: str, part_id: str, found: Parts) -> Part | None:
    try:
        content = read_json(file)
        wrong = list(problems(content, schema, file=file))
        found.errors.extend(wrong)
        return None if wrong else Part(part_id, checked(content, schema, file=file), file)
    except ConfigurationError as error:
        found.errors.append(error)
        return None


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def phase_order(phases: list[Part]) -> tuple[dict[str, tuple[str, ...]], list[ConfigurationError]]:
    """What each phase waits for, in an order in which each stands behind what it waits for.

    Returns:
        The ids of phases with those that must be done before, and everything that is wrong with the order.
    """
    errors: list[ConfigurationError] = []
    uses_next = [phase for phase in phases if phase.content.get("next")]
    before: dict[str, tuple[str, ...]] = {}
    for index, phase in enumerate(phases):
        depends_on = phase.content.get("dependsOn") or []
        if depends_on and uses_next:
            errors.append(phase.error("Phases are ordered by dependsOn or by next, not by both.", "dependsOn"))
        named = [_named(item, phases[:index]) for item in depends_on]
        before[phase.id] = tuple(dict.fromkeys(name for name in named if name))
    if uses_next and not errors:
        before, errors = _by_next(phases)
    for phase in phases:
        for name in before[phase.id]:
            if name not in before:
                known = ", ".join(before)
                errors.append(phase.error(f"There is no phase {name!r}; there are: {known}.", "dependsOn"))
    if errors:
        return before, errors
    ordered, circle = _sorted(before)
    if circle:
        first = next(phase for phase in phases if phase.id == circle[0])
        way = " -> ".join(circle)
        errors.append(
            first.error(f"Phases wait for each other in a circle: {way}.", "next" if uses_next else "dependsOn")
        )
    return ordered, errors


def _named(item: Any, before: list[Part]) -> str:
    """The id of a phase that is named in ``dependsOn``; empty for the one before the first."""
    if str(item).strip() == PREVIOUS:
        return before[-1].id if before else ""
    return str(item)


def _by_next(phases: list[Part]) -> tuple[dict[str, tuple[str, ...]], list[ConfigurationError]]:
    """The order of phases that name the one that follows; only ways without a condition can be gone."""
    errors: list[ConfigurationError] = []
    before: dict[str, list[str]] = {phase.id: [] for phase in phases}
    for phase in phases:
        ways = phase.content.get("next") or []
        if any(way.get("condition") for way in ways):
            problem = "Conditions between phases are not run here: give a phase one next phase without a condition."
            errors.append(phase.error(problem, "next"))
            continue
        if len(ways) > 1:
            errors.append(phase.error("Only the first of several ways without a condition would be gone.", "next"))
        for index, way in enumerate(ways):
            if way["goto"] is not None and str(way["goto"]) not in before:
                known = ", ".join(before)
                problem = f"There is no phase {way['goto']!r}; there are: {known}."
                errors.append(phase.error(problem, f"next[{index}].goto"))
            elif way["goto"] is not None:
                before[str(way["goto"])].append(phase.id)
    entries = [phase for phase in phases if not before[phase.id]]
    if not errors:
        for phase in entries[1:]:
            errors.append(phase.error(f"No phase goes to this one: name {phase.id!r} in the next of another phase."))
    return {name: tuple(names) for name, names in before.items()}, errors


def _sorted(before: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The phases in an order that keeps the written one where it can, or a circle of them."""
    done: dict[str, tuple[str, ...]] = {}
    waiting = dict(before)
    while waiting:
        ready = next((name for name, names in waiting.items() if all(other in done for other in names)), None)
        if ready is None:
            return dict(before), _circle(waiting)
        done[ready] = waiting.pop(ready)
    return done, []


def _circle(waiting: Mapping[str, tuple[str, ...]]) -> list[str]:
    way = [next(iter(waiting))]
    while way[-1] not in way[:-1]:
        way.append(next(name for name in waiting[way[-1]] if name in waiting))
    return way[way.index(way[-1]) :]
