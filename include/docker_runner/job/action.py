"""Synchronous actions: a short run of a component whose answer is what it writes to stdout (LC-70..LC-76)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker_runner.documents import parse_json
from docker_runner.engine.containers import ContainerOutcome
from docker_runner.engine.images import PreparedImage
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ApplicationError, ConfigurationError, UserError
from docker_runner.interface.config_file import rendered
from docker_runner.interface.environment import RunIdentity, refuse_missing_token
from docker_runner.job.component_log import ComponentLog
from docker_runner.job.config import stage_config
from docker_runner.job.containers import StageRun, container_name, judge_stage, start_and_wait
from docker_runner.job.credentials import with_credentials
from docker_runner.job.definition import Job, JobDefinition, Mode, Stage
from docker_runner.job.gelf import gelf_of
from docker_runner.job.images import pull_images
from docker_runner.job.stages import environment_of
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace, remove_tree
from docker_runner.project.component import Component
from docker_runner.project.configuration import Project
from docker_runner.project.parsing import parsed_configuration

TIME_LIMIT_SECONDS = 30
LONGEST_ANSWER_CHARACTERS = 10_000_000
_SHOWN_CHARACTERS = 500


def run_action(
    component: Component,
    action: str,
    configuration: Mapping[str, Any],
    tools: Tools,
    *,
    project: Project,
) -> Any:
    """Run an action of a component and give its answer.

    Nothing is read from Storage or written to it, and no processor runs (LC-72).

    Args:
        component: the component.
        action: name of one of its ``synchronous_actions``.
        configuration: the whole configuration; its ``#`` values are ciphers or plain texts (LC-71).
        tools: engine, keys and log.
        project: whose ciphers may be read; the component is told of it and its branch.

    Returns:
        The JSON document that the component answered, with secrets hidden.

    Raises:
        UserError: the component has no such action, the configuration is wrong, or the component failed, did not end
            in time (D8) or said nothing.
        ApplicationError: its answer is not JSON (D8), or it failed in a way that is not the user's.
    """
    _refuse_unknown(component, action)
    refuse_missing_token(component, tools.settings.forwarded_token)
    identity = RunIdentity(
        run_id="", project_id=project.id, stack_id=project.api_host, config_id="", config_version="", row_id="",
        branch_id=project.branch.id, is_dev_branch=not project.branch.is_default, mode=Mode.RUN.value,
        features=tools.settings.features,
    )  # fmt: skip
    row = with_credentials(_row(component, parsed_configuration(configuration), identity), tools)
    # Everything that may be wrong with the configuration is found before anything runs.
    content, secrets = stage_config(row.main, row, tools, action=action)
    redactor = Redactor([*secrets, tools.settings.forwarded_token.token])
    if tools.settings.storage_token:
        redactor.add([tools.settings.storage_token.secret])
    job = Job(id=f"action.{component.id}.{uuid.uuid4().hex}", title=f"{component.id} {action}", rows=(row,))
    image = PreparedImage.from_manifest(pull_images(job, tools)["images"][row.main.image_reference])
    with _folders(tools.settings.workspaces, job) as workspace:
        folders = workspace.row("")
        data = folders.make_stage(0, extension=component.extension)
        run = StageRun(row.main, job, row, data, folders.tmp(0), image, timeout_seconds=TIME_LIMIT_SECONDS)
        log = ComponentLog(tools.log.getChild("component"), component)
        name = container_name(row.main, job, row, installation=tools.settings.installation)
        with gelf_of(row.main, name, log=log, redactor=redactor, tools=tools) as gelf:
            outcome = start_and_wait(
                run,
                config=rendered(content, extension=data.extension),
                environment={**environment_of(row.main, row, tools, config=content), **gelf},
                tools=tools,
                # The answer is hidden after it was parsed: hidden before, it might not be JSON any more.
                on_line=lambda *_: None,
                tail_characters=LONGEST_ANSWER_CHARACTERS,
            )
        _tell(outcome, redactor, tools)
        judge_stage(run, _hidden(outcome, redactor), last_gelf_message=log.last_warning)
    text = outcome.stdout_tail
    if component.data["logging"]["type"] == "gelf" and not gelf:
        text = _last_document(text, redactor, tools)
    return _answer(text, redactor)


def _refuse_unknown(component: Component, action: str) -> None:
    known = [name for name in component.data["synchronous_actions"] if name != "run"]
    if action == "run":
        raise UserError("The action run cannot be called: run a configuration instead.")
    if action not in known:
        raise UserError(f"The component {component.id} has no action {action!r}; it has: {', '.join(known) or 'none'}.")


def _row(component: Component, configuration: dict[str, Any], identity: RunIdentity) -> JobDefinition:
    runtime = configuration.get("runtime") or {}
    tag = str(runtime.get("tag") or runtime.get("image_tag") or "")
    main = Stage("run_component", component, tag=tag, is_main=True)
    return JobDefinition(
        component=component, config_id="", config_version="", row_id="", configuration=configuration,
        stages=(main,), identity=identity,
    )  # fmt: skip


@contextmanager
def _folders(root: Path, job: Job) -> Iterator[Workspace]:
    """The folders of the action, gone afterwards in every outcome; its configuration is never written into them."""
    workspace = Workspace(root, job.id)
    try:
        workspace.folder.mkdir(parents=True, mode=0o700)
        workspace.row("").create()
        yield workspace
    finally:
        remove_tree(workspace.folder)


def _hidden(outcome: ContainerOutcome, redactor: Redactor) -> ContainerOutcome:
    return replace(
        outcome,
        stdout_tail=redactor.redact(outcome.stdout_tail),
        stderr_tail=redactor.redact(outcome.stderr_tail),
    )


def _tell(outcome: ContainerOutcome, redactor: Redactor, tools: Tools) -> None:
    """Show what the component wrote beside its answer."""
    lines = tools.log.getChild("component")
    for line in redactor.redact(outcome.stderr_tail).splitlines():
        if line.strip():
            lines.log(logging.ERROR, "%s", line)


def _last_document(text: str, redactor: Redactor, tools: Tools) -> str:
    """The answer of a component that was made to log into a GELF server (CD-20): its last line.

    Where it has none, Keboola's clients log to stdout, where what they say as they start would spoil the answer that
    is printed last. What stands before it is shown as log.
    """
    *said, last = text.strip().splitlines() or [""]
    if not said or _is_json(text):
        return text
    lines = tools.log.getChild("component")
    for line in said:
        lines.info("%s", redactor.redact(line))
    return last


def _is_json(text: str) -> bool:
    try:
        parse_json(text, file="stdout")
    except ConfigurationError:
        return False
    return True


def _answer(text: str, redactor: Redactor) -> Any:
    if not text.strip():
        raise UserError("The component did not answer: an action prints one JSON document to stdout.")
    if len(text) >= LONGEST_ANSWER_CHARACTERS:
        raise ApplicationError(f"The component's answer has more than {LONGEST_ANSWER_CHARACTERS} characters.")
    try:
        return redactor.redact_document(parse_json(text, file="stdout"))
    except ConfigurationError as error:
        shown = redactor.redact(text)[:_SHOWN_CHARACTERS]
        raise ApplicationError(f"The component's answer is not JSON: {error.problem} It wrote: {shown}") from None
