"""Orchestrations and flows: configurations of others in phases, read from a project directory.

The tasks of a phase run at once; a phase begins when those before it are done. See
:mod:`docker_runner.project.flow_parts` for the two forms in which they are written.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from docker_runner.documents import id_text, problems, scalar_text
from docker_runner.encryption import refuse_plain_secrets
from docker_runner.errors import ConfigurationError
from docker_runner.project.entries import FLOW_COMPONENTS, Entries, Entry, Key
from docker_runner.project.flow_parts import Part, phase_order, read_parts
from docker_runner.project.schedule import Schedule
from docker_runner.secret_keys import walk_secrets

_DELAY = 10.0


@dataclass(frozen=True)
class FlowTask:
    """One task of a flow.

    Attributes:
        id: unique in its flow; of a task in a folder ``<phase>/<task>``.
        name: name for people.
        phase: id of its phase.
        component_id: the component that is run; may be that of another flow. Empty only for a disabled task.
        config_id: the configuration that is run; empty for a disabled task, or when only ``config_data`` is run.
        config_data: a configuration that the task brings with it, run instead of the stored one; None for a stored one.
        rows: ids of the rows to run; empty for all that are not disabled.
        mode: ``run``, ``forceRun`` or ``debug``.
        tag: image tag instead of the registered one; may be empty.
        variables: values of variables by name.
        values: id of stored values of variables; may be empty.
        backend: ``type``, ``containerType`` and ``context`` of the backend, those that are given.
        enabled: whether it is run at all.
        continue_on_failure: the phases behind its own begin also when it fails.
        retries: how often it is repeated when it fails; None when the flow does not say.
        retry_delay: seconds between two attempts.
        file: the file that it stands in.
        key: its place in the file, empty when the file is its own.
    """

    id: str
    name: str
    phase: str
    component_id: str
    config_id: str = ""
    config_data: Mapping[str, Any] | None = field(default=None, repr=False)
    rows: tuple[str, ...] = ()
    mode: str = "run"
    tag: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    values: str = ""
    backend: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    continue_on_failure: bool = False
    retries: int | None = None
    retry_delay: float = _DELAY
    file: Path | str = ""
    key: str = ""


@dataclass(frozen=True)
class Phase:
    """A group of tasks that run at once, when all phases in ``depends_on`` (ids) are done."""

    id: str
    name: str
    description: str
    depends_on: tuple[str, ...]
    tasks: tuple[FlowTask, ...]


@dataclass(frozen=True)
class Flow:
    """An orchestration (``keboola.orchestrator``) or a flow (``keboola.flow``).

    Attributes:
        phases: in an order in which each stands behind those that it depends on.
        schedules: when it runs by itself.
        version: a hash of phases and tasks.
        file: its ``config.json``.
    """

    component_id: str
    id: str
    name: str
    description: str
    is_disabled: bool
    phases: tuple[Phase, ...]
    schedules: tuple[Schedule, ...]
    version: str
    file: Path

    @property
    def tasks(self) -> tuple[FlowTask, ...]:
        """All tasks, phase by phase."""
        return tuple(task for phase in self.phases for task in phase.tasks)


def read_phases(entry: Entry, entries: Entries) -> tuple[Phase, ...]:
    """Read the phases of a flow.

    Args:
        entry: where the flow lies.
        entries: the configurations that its tasks may run.

    Raises:
        ConfigurationError: the first thing that is wrong with it.
    """
    phases, errors = _read(entry, entries)
    for error in errors:
        raise error
    return phases


def flow_errors(entry: Entry, entries: Entries) -> list[ConfigurationError]:
    """Everything that is wrong with phases and tasks of a flow, as :func:`read_phases` would raise it."""
    try:
        return _read(entry, entries)[1]
    except ConfigurationError as error:
        return [error]


def phases_version(phases: tuple[Phase, ...]) -> str:
    """A hash that changes when, and only when, what the phases do changes."""
    content = [
        {**vars(phase), "tasks": [{**vars(task), "file": "", "key": ""} for task in phase.tasks]} for phase in phases
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _read(entry: Entry, entries: Entries) -> tuple[tuple[Phase, ...], list[ConfigurationError]]:
    parts = read_parts(entry.folder)
    before, wrong = phase_order([phase for phase, _ in parts.phases])
    # A phase that could not be read is named by others, who are not to blame.
    errors = parts.errors or wrong
    by_id = {phase.id: (phase, tasks) for phase, tasks in parts.phases}
    phases: list[Phase] = []
    for phase_id, depends_on in before.items():
        phase, tasks = by_id[phase_id]
        if phase.content.get("retry"):
            errors.append(phase.error("Whole phases are not repeated here: give retry to their tasks.", "retry"))
        read = [_task(part, phase_id, entry, entries, errors) for part in tasks]
        phases.append(
            Phase(
                id=phase_id,
                name=phase.content["name"],
                description=phase.content.get("description") or "",
                depends_on=depends_on,
                tasks=tuple(task for task in read if task),
            )
        )
    return tuple(phases), errors


def _task(
    part: Part, phase_id: str, entry: Entry, entries: Entries, errors: list[ConfigurationError]
) -> FlowTask | None:
    """Read one task; what is wrong with it is added to ``errors``. A disabled one may be without a target."""
    job: Mapping[str, Any] = part.content["task"]
    enabled = bool(part.content["enabled"])
    wrong = list(_job_problems(part, job))
    if wrong and enabled:
        errors.extend(wrong)
        return None
    try:
        key = _target(part, job, entry, entries) if not wrong else None
    except ConfigurationError as error:
        if enabled:
            errors.append(error)
            return None
        key = None
    component_id, config_id = key or (scalar_text(job.get("componentId")), "")
    if key and key[0] in FLOW_COMPONENTS and job.get("configData") and enabled:
        errors.append(part.error("A flow is run as it is stored: remove configData.", "task.configData"))
        return None
    if enabled and (plain := _plain_secrets(part, job)):
        errors.extend(plain)
        return None
    task = FlowTask(
        id=part.id,
        name=part.content["name"],
        phase=phase_id,
        component_id=component_id,
        config_id=config_id,
        enabled=enabled,
        continue_on_failure=bool(part.content["continueOnFailure"]),
        file=part.file,
        key=part.key,
    )
    return task if wrong else _with_options(task, job)


def _with_options(task: FlowTask, job: Mapping[str, Any]) -> FlowTask:
    retry = (job.get("retry") or {}).get("strategyParams") or {}
    values = (job.get("variableValuesData") or {}).get("values") or []
    data = job.get("configData")
    # Nothing in place of a stored configuration means the stored one.
    has_data = bool(data) if task.config_id else data is not None
    return replace(
        task,
        config_data=dict(data or {}) if has_data else None,
        rows=tuple(str(row) for row in job.get("configRowIds") or ()),
        mode=job.get("mode") or "run",
        tag=id_text(job.get("tag")),
        variables={item["name"]: scalar_text(item["value"]) for item in values},
        values=id_text(job.get("variableValuesId")),
        backend={key: scalar_text(value) for key, value in (job.get("backend") or {}).items() if value},
        retries=retry.get("maxRetries"),
        retry_delay=_DELAY if retry.get("delay") is None else float(retry["delay"]),
    )


def _job_problems(part: Part, job: Mapping[str, Any]) -> list[ConfigurationError]:
    kind = job.get("type", "job")
    if kind in ("notification", "variable"):
        return [part.error(f"Tasks of the type {kind!r} are not run here: disable the task or remove it.", "task.type")]
    place = f"{part.key}.task" if part.key else "task"
    return list(problems(job, "flow-job", file=part.file, key=place))


def _plain_secrets(part: Part, job: Mapping[str, Any]) -> list[ConfigurationError]:
    """Values that are not encrypted: what a run is asked with is kept where everybody can read it (EN-10)."""
    found = []
    for path, value in walk_secrets(job.get("configData") or {}, "task.configData"):
        try:
            refuse_plain_secrets({"#": value})
        except ConfigurationError as error:
            found.append(part.error(error.problem, path))
    return found


def _target(part: Part, job: Mapping[str, Any], entry: Entry, entries: Entries) -> Key | None:
    """The configuration that a task runs; None when it brings its own.

    Raises:
        ConfigurationError: it names none, or one that does not exist or has not such rows.
    """
    if path := job.get("configPath"):
        key = entries.at(path)
        if key is None:
            raise part.error(f"There is no configuration at {path!r} in this branch.", "task.configPath")
        place = "task.configPath"
    elif not job.get("componentId"):
        raise part.error("A task names its configuration by componentId and configId, or by configPath.", "task")
    elif not id_text(job.get("configId")):
        if job.get("configData") is None:
            raise part.error(f"Name a configuration of {job['componentId']} in configId.", "task")
        return None
    else:
        key, place = (job["componentId"], id_text(job["configId"])), "task.configId"
    if key == entry.key:
        raise part.error("A flow cannot run itself.", place)
    if not entries.has(key) and not (key[0] in FLOW_COMPONENTS and entries.get(key)):
        raise part.error(f"There is no configuration {'/'.join(key)} in this branch.{_near(key, entries)}", place)
    if key[0] in FLOW_COMPONENTS and _runs(key, entry.key, entries, seen=set()):
        raise part.error(f"The flow {'/'.join(key)} runs this one: flows cannot run each other in a circle.", place)
    rows = [row_id for row_id, _ in target.rows] if (target := entries.get(key)) else []
    for index, row in enumerate(job.get("configRowIds") or ()):
        if str(row) not in rows:
            known = ", ".join(rows) or "none"
            raise part.error(
                f"The configuration {'/'.join(key)} has no row {str(row)!r}; there are: {known}.",
                f"task.configRowIds[{index}]",
            )
    return key


def _runs(flow: Key, wanted: Key, entries: Entries, *, seen: set[Key]) -> bool:
    """Whether a flow runs another one, itself or by flows that it runs."""
    entry = entries.get(flow)
    if flow in seen or entry is None:
        return False
    seen.add(flow)
    try:
        jobs = [task.content["task"] for _, tasks in read_parts(entry.folder).phases for task in tasks]
    except ConfigurationError:
        # It is broken itself, and says so where it is read.
        return False
    named = {
        entries.at(str(job["configPath"]))
        if job.get("configPath")
        else (job.get("componentId"), id_text(job.get("configId")))
        for job in jobs
    }
    inner = [key for key in named if key and key[0] in FLOW_COMPONENTS]
    return wanted in inner or any(_runs((str(key[0]), key[1]), wanted, entries, seen=seen) for key in inner)


def _near(key: Key, entries: Entries) -> str:
    known = list(map("/".join, entries.keys()))
    near = difflib.get_close_matches("/".join(key), known, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""
