"""Commands that show a project: ``docker-runner list | plan``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docker_runner.settings import Settings

if TYPE_CHECKING:
    from docker_runner.job.request import JobRequest
    from docker_runner.project.configuration import Configuration, Project

Branch = Annotated[
    str, typer.Option(help="folder or id of the branch; by default DOCKER_RUNNER_BRANCH, else the default branch")
]
MODES_HELP = (
    "run; forceRun: also when disabled; debug: store snapshots of the data folder, no results; dry-run: store the data "
    "folder in the end, no results; input: store it as the component would get it, run nothing; sandbox: the same for "
    "a configuration without a component, with 50 rows of each table"
)
FORMAT_HELP = "format of the config file in a sandbox: yaml (default) or json"
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")]


def list_project(branch: Branch = "", as_json: AsJson = False) -> None:
    """Show the project: configurations by component, their rows and schedules, flows, and what is broken."""
    from docker_runner.listing import as_text, listing
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project

    settings = Settings.from_environment()
    found = listing(Project(settings.project, branch=branch or settings.branch), ComponentRegistry(settings.components))
    print(json.dumps(found, indent=2, ensure_ascii=False) if as_json else as_text(found))


def plan(
    configuration: Annotated[
        str, typer.Argument(help="<component>/<configuration>; <component>, or none in a sandbox, with --config")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="JSON file with a configuration that is planned instead of the stored one")
    ] = None,
    branch: Branch = "",
    mode: Annotated[str, typer.Option(help=MODES_HELP)] = "run",
    format_: Annotated[str, typer.Option("--format", help=FORMAT_HELP)] = "",
    tag: Annotated[str, typer.Option(help="image tag of the component instead of the registered one")] = "",
    row: Annotated[list[str] | None, typer.Option(help="only this row; may be repeated")] = None,
    variable: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated")] = None,
    values: Annotated[str, typer.Option(help="id of stored values of variables")] = "",
    backend: Annotated[str, typer.Option(help="size: xsmall, small, medium or large")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what a run would read, run and write, with limits and where each comes from; nothing is run or changed."""
    from docker_runner.arguments import ids_of_run, name_and_value
    from docker_runner.job.preview import preview
    from docker_runner.job.request import JobRequest
    from docker_runner.job.resolution import resolve_job
    from docker_runner.job.tools import Tools
    from docker_runner.plan_report import as_text
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project

    component_id, config_id = ids_of_run(configuration, mode=mode, brings_configuration=config is not None)
    settings = Settings.from_environment()
    request = JobRequest.from_params(
        {
            "mode": mode,
            "tag": tag,
            "rows": row or [],
            "variables": dict(name_and_value(text) for text in variable or []),
            "values": values,
            "backend": {"type": backend},
            "config_data": config_data(config),
            "format": format_,
        },
        config_file=config or "configData",
    )
    project = Project(settings.project, branch=branch or settings.branch)
    job = resolve_job(
        project,
        ComponentRegistry(settings.components),
        component_id=component_id,
        config_id=config_id,
        request=request,
        job_id="plan",
        run_id="plan",
        features=settings.features,
        vault=settings.vault,
    )
    shown: dict[str, Any] = preview(
        job, _written(project, component_id, config_id, request), request, Tools(settings, log=_quiet_log())
    )
    print(json.dumps(shown, indent=2, ensure_ascii=False) if as_json else as_text(shown))
    if any(item["problems"] for item in shown["rows"]):
        raise typer.Exit(1)


def config_data(file: Path | None) -> Any:
    """The configuration in a file; an empty map is none (CF-39)."""
    from docker_runner.documents import read_json

    return read_json(file, or_pipe=True) if file else None


def _written(project: Project, component_id: str, config_id: str, request: JobRequest) -> Configuration:
    """The configuration as it stands in its files."""
    from docker_runner.project.configuration import Configuration

    if not request.config_data:
        return project.configuration(component_id, config_id)
    return Configuration.inline(component_id, config_id, dict(request.config_data), file=request.config_file)


def _quiet_log() -> logging.Logger:
    """Warnings only: what is read is in the plan itself."""
    log = logging.getLogger("docker_runner.plan")
    log.setLevel(logging.WARNING)
    return log
