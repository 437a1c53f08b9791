"""From a configuration as written to a job as run: rows, shared code, variables, checks (LC-3 steps 4 to 11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker_runner.documents import Files
from docker_runner.errors import ConfigurationError, RunnerError, UserError
from docker_runner.interface.environment import RunIdentity
from docker_runner.job.checks import effective_problems, errors_of, part_problems
from docker_runner.job.credentials import credentials_id_of
from docker_runner.job.definition import Job, JobDefinition, Mode, Stage
from docker_runner.job.request import JobRequest, full_run_id
from docker_runner.job.source import Source, guard_branch, source_of
from docker_runner.project.build_options import build_values
from docker_runner.project.component import Component, ComponentRegistry, StackRegistry
from docker_runner.project.configuration import Project, Row
from docker_runner.project.default_buckets import with_default_buckets
from docker_runner.project.parsing import completed
from docker_runner.project.rows import effective_configurations, selected_rows
from docker_runner.project.sandbox import SANDBOX, sandbox_component
from docker_runner.project.shared_code import with_shared_code
from docker_runner.project.variables import with_variables
from docker_runner.project.vault import Vault
from docker_runner.settings import DEFAULT_FEATURES

__all__ = ["JobRequest", "described", "resolve_job"]


def resolve_job(
    project: Project,
    registry: ComponentRegistry,
    *,
    component_id: str,
    config_id: str = "",
    request: JobRequest,
    job_id: str,
    run_id: str,
    features: tuple[str, ...] = DEFAULT_FEATURES,
    vault: Path | None = None,
) -> Job:
    """Resolve everything that runs, before anything runs (LC-5).

    Args:
        project: the project directory, with the branch that is run.
        registry: the registered components.
        component_id: the component of the configuration; empty, or :data:`SANDBOX`, for a sandbox.
        config_id: the configuration; may be empty, or one that does not exist, when the request brings its own
            (CF-39).
        request: what was asked for.
        job_id: identity of the run in names of containers and folders.
        run_id: the run's own id; components see it as ``KBC_RUNID``, behind that of the run it is a part of (LC-86).
        features: features of the project (section 2.3).
        vault: file with the values of ``{{ vault.… }}`` (VR-14).

    Raises:
        UserError: the configuration, its rows, variables or components cannot be used; names file and key.
    """
    registry = StackRegistry(registry, project.api_host)
    component = _component(component_id, config_id, request, registry)
    guard_branch(component, project.branch)
    source = source_of(project, component, config_id, request)
    selected = selected_rows(source.configuration, request.rows)
    for error in part_problems(source.configuration, [row for row in source.configuration.rows if row.id in selected]):
        raise error
    identity = RunIdentity(
        run_id=full_run_id({"parent_run_id": request.parent_run_id}, run_id),
        job_id=run_id,
        project_id=project.id,
        stack_id=project.api_host,
        config_id=source.configuration.id,
        config_version=source.configuration.version,
        row_id="",
        branch_id=project.branch.id,
        is_dev_branch=not project.branch.is_default,
        mode=request.mode.value,
        features=features,
        orchestration_id=request.orchestration_id,
    )
    rows = tuple(
        _definition(
            row, content, source=source, component=component, project=project, registry=registry, request=request,
            identity=replace(identity, row_id=row.id if row else ""), vault=Vault(vault, project.branch.path),
        )
        for row, content in effective_configurations(source.configuration)
        if (row.id if row else "") in selected
    )  # fmt: skip
    _refuse_many_rows(rows, request.mode)
    title = f"{component.id}/{config_id}".rstrip("/")
    return Job(id=job_id, title=title, rows=rows, storage_token=request.storage_token)


def _component(component_id: str, config_id: str, request: JobRequest, registry: ComponentRegistry) -> Component:
    if request.mode is not Mode.SANDBOX:
        return registry.get(component_id)
    if component_id not in ("", SANDBOX) or config_id:
        raise UserError(
            "A sandbox has neither a component nor a stored configuration, only one that comes with the run; "
            f"the mode {Mode.INPUT} prepares the data folder of a component."
        )
    return sandbox_component(request.format)


def _refuse_many_rows(rows: Sequence[JobDefinition], mode: Mode) -> None:
    """Each run stores one data folder, so it can only be that of one row (LC-65)."""
    if mode.stores_archive and len(rows) > 1:
        raise UserError(
            f"The mode {mode} stores the data folder of one row, and {len(rows)} would run: name one of "
            f"{', '.join(row.row_id for row in rows)}."
        )


def _definition(
    row: Row | None,
    content: dict[str, Any],
    *,
    source: Source,
    component: Component,
    project: Project,
    registry: ComponentRegistry,
    request: JobRequest,
    identity: RunIdentity,
    vault: Vault,
) -> JobDefinition:
    files = source.files(row)
    content, variables = replaced(
        content, source=source, request=request, project=project, registry=registry, vault=vault, files=files
    )
    for error in effective_problems(content, files=files):
        raise error
    content = completed(content)
    if request.mode is Mode.SANDBOX and credentials_id_of(content):
        with errors_of(files):
            raise ConfigurationError(
                "Credentials are kept for a component, and a sandbox has none: leave out the id.",
                key="authorization.oauth_api.id",
            )
    tag = request.tag or source.tag(content)
    with errors_of(files):
        stages = stages_of(content, component=component, registry=registry, tag=tag)
    definition = JobDefinition(
        component=component,
        config_id=identity.config_id,
        config_version=identity.config_version,
        row_id=identity.row_id,
        configuration=content,
        stages=stages,
        identity=identity,
        variables=variables,
        is_inline=source.is_inline,
        config_exists=source.config_exists,
    )
    if component.writes_storage:
        with errors_of(files):
            definition.default_bucket()
    return definition


def replaced(
    content: dict[str, Any],
    *,
    source: Source,
    request: JobRequest,
    project: Project,
    registry: ComponentRegistry,
    vault: Vault,
    files: Files,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Put shared code and variables, in this order, into an effective configuration (LC-4).

    Returns:
        The configuration, and the names and values of the variables that were used.
    """
    with errors_of(files):
        content = with_default_buckets(content, project=project, registry=registry)
        content = with_shared_code(content, project)
        return with_variables(
            content, request.variables, project=project, vault=vault, stored_values_id=source.values_id
        )


def stages_of(
    configuration: Mapping[str, Any], *, component: Component, registry: ComponentRegistry, tag: str
) -> tuple[Stage, ...]:
    """The images of a row in order: before-processors, the component, after-processors (PR-2).

    Raises:
        ConfigurationError: a processor is unknown (PR-3), or may not stand where it does (PR-14, D20); an image cannot
            be built with the configuration's values (IG-21..IG-28).
    """
    values = build_values(component.build_options, configuration.get("parameters"), configuration.get("runtime"))
    main = Stage("run_component", component, tag=tag, is_main=True, build_values=values)
    if not component.reads_storage:
        return (main,)
    stages = [_processor(item, where, number, registry) for item, where, number in _processors(configuration)]
    before = [stage for stage in stages if stage.name.startswith("before_")]
    return (*before, main, *stages[len(before) :])


def processor_problems(
    configuration: Mapping[str, Any], *, component: Component, registry: ComponentRegistry
) -> Iterator[UserError]:
    """What is wrong with the processors of a checked configuration, as :func:`stages_of` would raise it."""
    for item, position, number in _processors(configuration) if component.reads_storage else ():
        try:
            _processor(item, position, number, registry)
        except UserError as error:
            yield error


def _processors(configuration: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, int]]:
    """Each processor with its position and number, in the order of their run."""
    for position in ("before", "after"):
        for number, item in enumerate((configuration.get("processors") or {}).get(position) or [], start=1):
            yield item, position, number


def _processor(item: Mapping[str, Any], position: str, number: int, registry: ComponentRegistry) -> Stage:
    """A processor's stage (PR-1..PR-4); one that may not stand there is refused (PR-14, D20)."""
    key = f"processors.{position}[{number - 1}].definition.component"
    component_id = item["definition"]["component"]
    try:
        component = registry.get(component_id)
    except ConfigurationError:
        raise
    except RunnerError as error:
        raise ConfigurationError(str(error), key=key) from None
    if component.processor_position not in ("any", position):
        raise ConfigurationError(
            f"The processor {component_id} may only stand {component.processor_position} the component.",
            key=key,
        )
    return Stage(
        f"{position}_{number}",
        component,
        tag=str(item["definition"].get("tag") or ""),
        parameters=item.get("parameters") or {},
        build_values=build_values(component.build_options, item.get("parameters")),
    )


def described(job: Job, *, selected: Sequence[str]) -> dict[str, Any]:
    """What was resolved, as a small manifest for people and later steps."""
    first = job.rows[0] if job.rows else None
    variables = {name: value for row in job.rows for name, value in row.variables.items()}
    return {
        "configuration": job.title,
        "version": first.config_version if first else "",
        "mode": first.mode.value if first else Mode.RUN.value,
        "rows": list(selected),
        "images": list(job.images()),
        "variables": variables,
        "backend": _backend_of(first) if first else {},
    }


def _backend_of(row: JobDefinition) -> dict[str, str]:
    """Size of the containers and context of the backend, as the job's metrics tell them (LC-9)."""
    backend = (row.configuration.get("runtime") or {}).get("backend") or {}
    return {"type": str(backend.get("type") or "small"), "context": str(backend.get("context") or "")}
