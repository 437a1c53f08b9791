"""The order of work as plain data: which steps a configuration needs, and what each waits for.

Operators are rendered from these steps, and :mod:`docker_runner.job.run` goes through the same ones in one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from docker_runner.job.definition import JobDefinition, Mode
from docker_runner.project.component import Component


class Kind(StrEnum):
    """What a step does."""

    CREATE_WORKSPACE = "create_workspace"
    PULL_IMAGES = "pull_images"
    LOAD_TABLES = "load_tables"
    LOAD_FILES = "load_files"
    WRITE_CONFIG = "write_config"
    RUN_PROCESSOR = "run_processor"
    RUN_COMPONENT = "run_component"
    UNLOAD_OUTPUT = "unload_output"
    UNLOAD_ALWAYS = "unload_always"
    CLEAN_UP = "clean_up"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: stable name, the task's id inside its row.
        kind: what it does.
        after: names of the steps of the same row that must be done before; a step without any begins its row.
        on_failure: it runs only when one of the steps in ``after`` has failed for good.
        takes: names of the steps whose manifests it reads.
        stage: position of the container that it runs.
        title: shown beside the name, e.g. a processor's component.
    """

    name: str
    kind: Kind
    after: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    stage: int | None = None
    title: str = ""
    on_failure: bool = False


CREATE_WORKSPACE = Step(Kind.CREATE_WORKSPACE.value, Kind.CREATE_WORKSPACE)
PULL_IMAGES = Step(Kind.PULL_IMAGES.value, Kind.PULL_IMAGES, after=(CREATE_WORKSPACE.name,))
CLEAN_UP = Step(Kind.CLEAN_UP.value, Kind.CLEAN_UP)


def steps_of(row: JobDefinition) -> tuple[Step, ...]:
    """The steps of a row that runs; see :func:`row_steps`."""
    return row_steps(row.configuration, row.component, mode=row.mode)


def row_steps(configuration: Mapping[str, Any], component: Component, *, mode: Mode = Mode.RUN) -> tuple[Step, ...]:
    """The steps of one row between ``create_workspace`` and ``clean_up``, in order; only those that it needs.

    ``write_config`` waits for ``pull_images`` too, which all rows share. ``unload_always`` stores what the row leaves
    when an image or the unloading failed (LC-36); before the first image there is nothing that it could store (LC-37).

    Args:
        configuration: effective configuration of the row; only its shape counts, values may still be placeholders.
        component: the row's component.
        mode: how it runs; the tasks of a DAG are made for ``run``, which needs all steps that another mode needs.
    """
    loads = _loads(configuration) if component.reads_storage else []
    steps = [*loads, Step("write_config", Kind.WRITE_CONFIG, after=tuple(step.name for step in loads))]
    for stage, (name, title) in enumerate(_stages(configuration, component) if mode.runs_images else ()):
        kind = Kind.RUN_COMPONENT if name == Kind.RUN_COMPONENT.value else Kind.RUN_PROCESSOR
        takes = (PULL_IMAGES.name,)
        steps.append(Step(name, kind, after=(steps[-1].name,), takes=takes, stage=stage, title=title))
    # Also without output mapping there are a state and artifacts to store, or the data folder.
    loaded = tuple(step.name for step in loads)
    steps.append(Step("unload_output", Kind.UNLOAD_OUTPUT, after=(steps[-1].name,), takes=loaded))
    if component.writes_storage and not mode.stores_archive:
        begun = tuple(step.name for step in steps if step.stage is not None)
        steps.append(Step("unload_always", Kind.UNLOAD_ALWAYS, after=(*begun, "unload_output"), on_failure=True))
    return tuple(steps)


def _loads(configuration: Mapping[str, Any]) -> list[Step]:
    mapping = _node(_node(configuration, "storage"), "input")
    return [
        Step(kind.value, kind)
        for kind, key in ((Kind.LOAD_TABLES, "tables"), (Kind.LOAD_FILES, "files"))
        if mapping.get(key)
    ]


def _stages(configuration: Mapping[str, Any], component: Component) -> list[tuple[str, str]]:
    """Names of the container steps with what they run; the same names as the stages of a job definition."""
    processors = _node(configuration, "processors") if component.reads_storage else {}
    named = {
        position: [
            (f"{position}_{number}", str(_node(_node(item, "definition")).get("component", "")))
            for number, item in enumerate(_items(processors.get(position)), start=1)
        ]
        for position in ("before", "after")
    }
    return [*named["before"], (Kind.RUN_COMPONENT.value, component.id), *named["after"]]


def _items(value: Any) -> list[Any]:
    """A list of a document that has not been checked yet; anything else counts as empty."""
    return value if isinstance(value, list) else []


def _node(document: Any, key: str | None = None) -> Mapping[str, Any]:
    """A map inside a document that has not been checked yet; anything else counts as empty."""
    value = document.get(key) if key is not None and isinstance(document, Mapping) else document
    return value if isinstance(value, Mapping) else {}
