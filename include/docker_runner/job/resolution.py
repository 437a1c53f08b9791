"""From a configuration as written to a job as run: rows, shared code, variables, checks (LC-3 steps 4 to 11)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import checked
from docker_runner.encryption import refuse_plain_secrets
from docker_runner.errors import ConfigurationError, RunnerError, UserError
from docker_runner.interface.environment import RunIdentity
from docker_runner.job.definition import Job, JobDefinition, Mode, Stage
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Configuration, Project, Row
from docker_runner.project.rows import effective_configurations, selected_rows
from docker_runner.project.shared_code import with_shared_code
from docker_runner.project.unsupported import refuse_unsupported_configuration
from docker_runner.project.variables import VariableValues, with_variables
from docker_runner.settings import DEFAULT_FEATURES


@dataclass(frozen=True)
class JobRequest:
    """What a person asks for when starting a run: the fields of the trigger form.

    Attributes:
        mode: ``run`` or ``debug``.
        tag: image tag of the component instead of the registered one (LC-82).
        rows: ids of the rows to run; empty for all that are not disabled.
        variables: values by name, or the id of stored values.
    """

    mode: Mode = Mode.RUN
    tag: str = ""
    rows: tuple[str, ...] = ()
    variables: VariableValues = field(default_factory=VariableValues)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> JobRequest:
        """Read the trigger form's values.

        Raises:
            UserError: the mode is unknown (LC-21), or values have a wrong form.
        """
        mode = str(params.get("mode") or Mode.RUN.value)
        if mode not in {item.value for item in Mode}:
            raise UserError(f"The mode must be run or debug, not {mode!r}.")
        variables = params.get("variables") or {}
        if not isinstance(variables, Mapping):
            raise UserError("Variables must be a map of names and values.")
        rows = params.get("rows") or ()
        if isinstance(rows, str):
            rows = [row for row in re.split(r"[\s,]+", rows) if row]
        if not isinstance(rows, list | tuple):
            raise UserError("Rows must be a list of ids.")
        return cls(
            mode=Mode(mode),
            tag=str(params.get("tag") or ""),
            rows=tuple(str(row) for row in rows),
            variables=VariableValues(inline=dict(variables)),
        )


def resolve_job(
    project: Project,
    registry: ComponentRegistry,
    *,
    component_id: str,
    config_id: str,
    request: JobRequest,
    job_id: str,
    run_id: str,
    features: tuple[str, ...] = DEFAULT_FEATURES,
) -> Job:
    """Resolve everything that runs, before anything runs (LC-5).

    Args:
        project: the project directory.
        registry: the registered components.
        component_id: the component of the configuration.
        config_id: the configuration.
        request: what was asked for.
        job_id: identity of the run in names of containers and folders.
        run_id: what components see as ``KBC_RUNID``.
        features: features of the project (section 2.3).

    Raises:
        UserError: the configuration, its rows, variables or components cannot be used; names file and key.
    """
    component = registry.get(component_id)
    configuration = project.configuration(component_id, config_id)
    if configuration.is_disabled and not request.rows:
        raise UserError(f"The configuration {component_id}/{config_id} is disabled: enable it in its meta.json.")
    selected = selected_rows(configuration, request.rows)
    effective = effective_configurations(configuration)
    rows = tuple(
        _definition(
            row, content, configuration=configuration, component=component, project=project, registry=registry,
            request=request, run_id=run_id, features=features,
        )
        for row, content in effective
        if (row.id if row else "") in selected
    )  # fmt: skip
    return Job(id=job_id, title=f"{component_id}/{config_id}", rows=rows)


def _definition(
    row: Row | None,
    content: dict[str, Any],
    *,
    configuration: Configuration,
    component: Component,
    project: Project,
    registry: ComponentRegistry,
    request: JobRequest,
    run_id: str,
    features: tuple[str, ...],
) -> JobDefinition:
    file = row.file if row else configuration.file
    try:
        content = with_shared_code(content, project)
        content, variables = with_variables(content, request.variables, project=project)
    except ConfigurationError as error:
        raise error if error.file else ConfigurationError(error.problem, file=file, key=error.key) from None
    except UserError as error:
        raise type(error)(f"{file}: {error}") from None
    content = checked(content, "configuration", file=file)
    refuse_unsupported_configuration(content, features=component.features, file=file)
    # Before anything is written: a job on disk must not hold what its author forgot to encrypt.
    refuse_plain_secrets(content, file=file)
    identity = RunIdentity(
        run_id=run_id,
        project_id=project.id,
        stack_id=project.api_host,
        config_id=configuration.id,
        config_version=configuration.version,
        row_id=row.id if row else "",
        branch_id="",
        mode=request.mode.value,
        features=features,
    )
    return JobDefinition(
        component=component,
        config_id=configuration.id,
        config_version=configuration.version,
        row_id=identity.row_id,
        configuration=content,
        stages=_stages(content, component=component, registry=registry, tag=request.tag, file=file),
        identity=identity,
        variables=variables,
    )


def _stages(
    configuration: Mapping[str, Any], *, component: Component, registry: ComponentRegistry, tag: str, file: Path
) -> tuple[Stage, ...]:
    runtime = configuration.get("runtime") or {}
    main_tag = tag or str(runtime.get("tag") or runtime.get("image_tag") or "")
    main = Stage("run_component", component, tag=main_tag, is_main=True)
    if not component.reads_storage:
        return (main,)
    before, after = (
        [
            _processor(item, position=position, number=number, registry=registry, file=file)
            for number, item in enumerate((configuration.get("processors") or {}).get(position) or [], start=1)
        ]
        for position in ("before", "after")
    )
    return (*before, main, *after)


def _processor(
    item: Mapping[str, Any], *, position: str, number: int, registry: ComponentRegistry, file: Path
) -> Stage:
    """A processor's stage (PR-1..PR-4); one that may not stand there is refused (PR-14, D20)."""
    key = f"processors.{position}[{number - 1}].definition.component"
    component_id = item["definition"]["component"]
    try:
        component = registry.get(component_id)
    except ConfigurationError:
        raise
    except RunnerError as error:
        raise ConfigurationError(str(error), file=file, key=key) from None
    if component.processor_position not in ("any", position):
        raise ConfigurationError(
            f"The processor {component_id} may only stand {component.processor_position} the component.",
            file=file,
            key=key,
        )
    return Stage(
        f"{position}_{number}",
        component,
        tag=str(item["definition"].get("tag") or ""),
        parameters=item.get("parameters") or {},
    )


def described(job: Job, *, selected: Sequence[str]) -> dict[str, Any]:
    """What was resolved, as a small manifest for people and later steps."""
    first = job.rows[0] if job.rows else None
    return {
        "configuration": job.title,
        "version": first.config_version if first else "",
        "mode": first.mode.value if first else Mode.RUN.value,
        "rows": list(selected),
        "images": list(job.images()),
        "variables": dict(first.variables) if first else {},
    }
