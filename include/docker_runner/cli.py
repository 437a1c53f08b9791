"""The command line: ``docker-runner run | action | new | list | plan | validate | encrypt | oauth | storage | …``."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docker_runner import new_commands, project_commands, secret_commands, storage_commands, storage_token_commands
from docker_runner.arguments import ids_of_run, name_and_value
from docker_runner.errors import ConfigurationError, RunnerError, UserError
from docker_runner.settings import Settings
from docker_runner.terminal_text import PrintableFormatter, printable

if TYPE_CHECKING:
    from docker_runner.encryption import Scope

app = typer.Typer(
    help="Run dockerized data components.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.add_typer(new_commands.app, name="new")
app.add_typer(storage_commands.app, name="storage")
app.add_typer(secret_commands.oauth, name="oauth")
app.command()(secret_commands.encrypt)
app.command("list")(project_commands.list_project)
app.command()(project_commands.plan)

USER_ERROR, APPLICATION_ERROR = 1, 2


def main() -> None:
    """Run the command line; errors are one message on stderr, exit code 1 (the user's) or 2 (not the user's)."""
    _end_in_order()
    _count_wrong_usage_to_the_users()
    try:
        app()
    except RunnerError as error:
        print(f"Error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(USER_ERROR if isinstance(error, UserError) else APPLICATION_ERROR) from None
    except OSError as error:
        # A full disk, a folder of another user: the system's own words name the file.
        print(f"Error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(APPLICATION_ERROR) from None


def _count_wrong_usage_to_the_users() -> None:
    """Let a wrong option end with the user's exit code: typer's own, 2, would ask scripts to try again."""
    usage_error = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
    usage_error.exit_code = USER_ERROR  # type: ignore[attr-defined]


def _end_in_order() -> None:
    """Let a request to end remove containers and folders with their secrets first, as Ctrl-C does."""

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        # A process that was started with nohup goes on.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@app.command()
def run(
    configuration: Annotated[
        str, typer.Argument(help="<component>/<configuration>; <component>, or none in a sandbox, with --config")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="JSON file with a configuration that is run instead of the stored one")
    ] = None,
    branch: Annotated[
        str, typer.Option(help="folder or id of the branch; by default DOCKER_RUNNER_BRANCH, else the default branch")
    ] = "",
    mode: Annotated[str, typer.Option(help=project_commands.MODES_HELP)] = "run",
    format_: Annotated[str, typer.Option("--format", help=project_commands.FORMAT_HELP)] = "",
    tag: Annotated[str, typer.Option(help="image tag of the component instead of the registered one")] = "",
    row: Annotated[list[str] | None, typer.Option(help="run only this row; may be repeated")] = None,
    variable: Annotated[list[str] | None, typer.Option(help="name=value; may be repeated")] = None,
    values: Annotated[str, typer.Option(help="id of stored values of variables")] = "",
    backend: Annotated[str, typer.Option(help="size: xsmall, small, medium or large")] = "",
    orchestration: Annotated[str, typer.Option(help="id of what this run is part of, for shared artifacts")] = "",
    token_env: Annotated[
        str, typer.Option(help="variable with the Storage token whose permissions count for this run")
    ] = "",
) -> None:
    """Run a configuration in this process: the same steps as its DAG."""
    from docker_runner.encryption import Scope
    from docker_runner.job.interruption import interruption_told
    from docker_runner.job.job_events import resolving
    from docker_runner.job.request import JobRequest
    from docker_runner.job.resolution import resolve_job
    from docker_runner.job.run import run_job
    from docker_runner.job.tools import Tools
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project

    component_id, config_id = ids_of_run(configuration, mode=mode, brings_configuration=config is not None)
    settings = Settings.from_environment()
    tools = Tools(settings, log=_log())
    project = Project(settings.project, branch=branch or settings.branch)
    request = JobRequest.from_params(
        {
            "mode": mode,
            "tag": tag,
            "rows": row or [],
            "variables": dict(name_and_value(text) for text in variable or []),
            "values": values,
            "backend": {"type": backend},
            "config_data": project_commands.config_data(config),
            "format": format_,
            "orchestration_id": orchestration,
            "storage_token": _encrypted_token(token_env, Scope(component_id, project.id), settings),
        },
        config_file=config or "configData",
    )
    moment = _now()
    # Runs of one configuration wait for each other; those that belong to none do not (LC-11).
    job_id, run_id = f"cli.{component_id}.{config_id or moment}", f"cli-{moment}"
    with resolving(tools, job_id=job_id, run_id=run_id, component_id=component_id, config_id=config_id):
        job = resolve_job(
            project,
            ComponentRegistry(settings.components),
            component_id=component_id,
            config_id=config_id,
            request=request,
            job_id=job_id,
            run_id=run_id,
            features=settings.features,
            vault=settings.vault,
        )
    done: set[tuple[str, str]] = set()

    def report(row_id: str, step: str, seconds: float) -> None:
        done.add((row_id, step))
        _report_step(row_id, step, seconds)

    with interruption_told(job, done):
        result = run_job(job, tools, on_step=report)
    for name, manifest in result.manifests.items():
        if name.endswith("unload_output"):
            _report_output(manifest)
    if not job.rows:
        print("No configurations executed: all rows are disabled.")


@app.command()
def action(
    component: Annotated[str, typer.Argument(help="the component")],
    name: Annotated[str, typer.Argument(metavar="ACTION", help="one of its synchronous actions")],
    config: Annotated[str, typer.Option(help="JSON file with the whole configuration; - is standard input")],
) -> None:
    """Run a synchronous action of a component and print its answer as JSON."""
    from docker_runner.documents import parse_json, read_json
    from docker_runner.job.action import run_action
    from docker_runner.job.tools import Tools
    from docker_runner.project.component import ComponentRegistry, StackRegistry
    from docker_runner.project.configuration import Project

    settings = Settings.from_environment()
    content = (
        parse_json(sys.stdin.read(), file="standard input", unique=True)
        if config == "-"
        else read_json(Path(config), or_pipe=True)
    )
    if not isinstance(content, dict):
        raise ConfigurationError("The configuration must be a map.", file="standard input" if config == "-" else config)
    project = Project(settings.project, branch=settings.branch)
    registry = StackRegistry(ComponentRegistry(settings.components), project.api_host)
    answer = run_action(registry.get(component), name, content, Tools(settings, log=_log()), project=project)
    print(json.dumps(answer, indent=2, ensure_ascii=False))


@app.command()
def validate(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH | <component>/<configuration>]…",
            help="project directories, files or folders in one, or configurations; by default the whole project",
        ),
    ] = None,
    branch: Annotated[
        str, typer.Option(help="folder or id of the branch; by default DOCKER_RUNNER_BRANCH, else the default branch")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")] = False,
) -> None:
    """Check configurations and components without running anything; ends with code 1 when something is wrong."""
    from docker_runner.job.validation import check_component, check_configuration
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.validation_report import as_document, as_text
    from docker_runner.validation_targets import targets

    settings = Settings.from_environment()
    registry = ComponentRegistry(settings.components)
    wanted = targets(what or [], settings, branch=branch or settings.branch)
    checked = [
        *wanted.projects,
        *(check_component(registry, component_id, settings=settings) for component_id in wanted.components),
    ]
    for project, key in wanted.configurations:
        found = check_configuration(project, registry, key, settings=settings)
        checked.append(found)
    found_all = checked, wanted.unnamed
    print(json.dumps(as_document(*found_all), indent=2) if as_json else as_text(*found_all))
    if any(item.problems for item in checked):
        raise typer.Exit(USER_ERROR)


@app.command()
def clean(
    older_than: Annotated[
        str, typer.Option(help="how long ago a run must have stopped working, e.g. 7d, 12h, 30m")
    ] = "7d",
    images: Annotated[str, typer.Option(help="how long an image built from git must not have been used")] = "14d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only tell what would be removed")] = False,
) -> None:
    """Remove what runs left that were killed: containers, folders, images built from git; maintain Storage."""
    from datetime import timedelta

    from docker_runner.job.housekeeping import Limits, as_text, clean, period
    from docker_runner.job.tools import Tools

    settings = Settings.from_environment()
    age = period(older_than, option="--older-than")
    if not dry_run:
        storage_token_commands.refuse_unless_manager("clean")
    # Only Airflow knows whether a run of its own still goes on between two tasks.
    limits = Limits(ended=age, unknown=max(age, timedelta(days=1)), images=period(images, option="--images"))
    print(as_text(clean(Tools(settings, log=_log()), limits, dry_run=dry_run), dry_run=dry_run))
    if not dry_run:
        print(storage_commands.maintain_lake())


def _encrypted_token(variable: str, scope: Scope, settings: Settings) -> str | None:
    """The Storage token in a variable, as requests carry it; None when no variable is named."""
    from docker_runner.encryption_keys import encryptor_of
    from docker_runner.storage.tokens import PresentedToken

    if not variable:
        return None
    secret = os.environ.get(variable, "")
    # What is no token at all is told before anything else.
    _ = PresentedToken(secret, origin=variable).id
    return encryptor_of(settings, create=True).encrypt_value(secret, scope)


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")


def _log() -> logging.Logger:
    log = logging.getLogger("docker_runner")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PrintableFormatter("  %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def _report_step(row: str, step: str, seconds: float) -> None:
    name = f"{row}.{step}".lstrip(".")
    print(f"{seconds:6.2f} s  {name}", file=sys.stderr)


def _report_output(manifest: dict[str, Any]) -> None:
    for table in manifest.get("tables", []):
        print(f"{table['id']}: {table['rows']} rows loaded, {table['table_rows']} in all")
    for file in manifest.get("files", []):
        print(f"file {file['id']}: {printable(file['name'])}, {file['bytes']} bytes")
    for name, value in manifest.get("variables", {}).items():
        print(f"variable {name}: {json.dumps(value, ensure_ascii=False)}")


if __name__ == "__main__":
    main()
