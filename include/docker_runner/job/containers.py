"""One container of a row: its limits, labels, user and verdict."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from docker_runner.engine.container_logs import TAIL_CHARACTERS, ContainerLog
from docker_runner.engine.containers import (
    LABEL_PREFIX,
    ContainerOutcome,
    ContainerSpec,
    OnLine,
    Started,
    remove_containers,
    run_container,
    start_container,
)
from docker_runner.engine.images import PreparedImage
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ConfigurationError
from docker_runner.interface.data_folder import DataFolder, write_secret
from docker_runner.interface.result import FAILURES, judge
from docker_runner.interface.usage import read_usage
from docker_runner.job.definition import Job, JobDefinition, Stage
from docker_runner.job.permissions import container_user, hand_over, take_over
from docker_runner.job.tools import Tools
from docker_runner.settings import Settings

LABEL_JOB = f"{LABEL_PREFIX}jobId"
LABEL_ROW = f"{LABEL_PREFIX}rowId"
# Two installations may run configurations of the same ids on one engine.
LABEL_INSTALLATION = f"{LABEL_PREFIX}installation"
# Identity of the folder that the container works in.
LABEL_ATTEMPT = f"{LABEL_PREFIX}attempt"
LONGEST_RUN_SECONDS = 86_400
# Memory factor and CPUs by container size (CT-14, CT-15).
SIZES = {"xsmall": (0.5, 1), "small": (1.0, 2), "medium": (2.0, 4), "large": (7.1, 14)}


@dataclass(frozen=True)
class StageRun:
    """One image of a row about to run, and what it gets.

    Attributes:
        data: what the container sees as ``/data``.
        tmp: what it sees as ``/tmp``.
        image: the image to run, as prepared.
        timeout_seconds: time limit instead of the stage's own.
    """

    stage: Stage
    job: Job
    row: JobDefinition
    data: DataFolder
    tmp: Path
    image: PreparedImage
    timeout_seconds: int | None = None

    @property
    def time_limit(self) -> int:
        """Seconds that the container may run; 0 is no limit."""
        return time_limit(self.stage, self.row) if self.timeout_seconds is None else self.timeout_seconds


def announce(run: StageRun, tools: Tools) -> None:
    """Tell what is about to run (CT-10)."""
    stage = run.stage
    tools.log.info("Running %s (%s).", stage.component.id, run.image.reference)
    if stage.network != stage.component.network:
        tools.log.info(
            "The configuration's network %s replaces the component's %s.", stage.network, stage.component.network
        )


def start_stage(
    run: StageRun, *, config: str, environment: dict[str, str], attempt: str, log: ContainerLog, tools: Tools
) -> Started:
    """Start one image; its container runs on whatever becomes of this process.

    Args:
        run: which image, and its folders.
        config: text of its config file, with secrets in plain text.
        environment: its environment variables.
        attempt: identity of its folder, by which the next attempt knows that the container belongs to it.
        log: told why its program cannot be run.
        tools: the engine and the log.

    Returns:
        As of :func:`start_container`.
    """
    spec = spec_of(run, environment=environment, tools=tools, attempt=attempt)
    write_secret(run.data.config_file, config)
    hand_over(spec.user, run.data.root.parent)
    return start_container(tools.engine, spec, log, listen=True)


def finish_stage(
    run: StageRun, outcome: ContainerOutcome, *, redactor: Redactor, tools: Tools, last_gelf_message: str = ""
) -> dict[str, Any]:
    """Tell that a container ended (CT-10) and judge how; its files belong to the worker afterwards (DF-33).

    Args:
        run: which image, and its folders.
        outcome: how its container ended.
        redactor: knows the secrets that usage must not show.
        tools: the engine and the log.
        last_gelf_message: as of :func:`judge`.

    Returns:
        ``{component, image, image_id, exit_code, seconds, usage}``.

    Raises:
        ConfigurationError: it left links in place of its folders, or its usage file is wrong (D26).
        ComponentError: the component failed with a message of its own, or outgrew its limits (CT-30..CT-32).
        ApplicationError: any other failure (CT-33).
    """
    stage = run.stage
    spec = spec_of(run, environment={}, tools=tools)
    if spec.user is None:
        take_over(spec, tools.engine)
    usage = _usage(run, tools, redactor=redactor) if stage.is_main else _Usage()
    code = f" with exit code {outcome.exit_code}" if outcome.exit_code else ""
    tools.log.info("%s (%s) finished after %.1f s%s.", stage.component.id, run.image.reference, outcome.seconds, code)
    try:
        judge_stage(run, outcome, last_gelf_message=last_gelf_message)
    except FAILURES as error:
        if usage.problem:
            tools.log.warning("%s", usage.problem)
        error.usage = usage.items
        raise
    run.data.refuse_replaced()
    if usage.problem:
        raise usage.problem
    return {
        "component": stage.component.id,
        "image": run.image.reference,
        "image_id": run.image.id,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 3),
        **({} if usage.items is None else {"usage": usage.items}),
    }


def start_and_wait(
    run: StageRun,
    *,
    config: str,
    environment: dict[str, str],
    tools: Tools,
    on_line: OnLine,
    tail_characters: int = TAIL_CHARACTERS,
) -> ContainerOutcome:
    """Run one image to its end, and remove its container; its files belong to the worker afterwards (DF-33).

    Args:
        run: which image, and its folders.
        config: text of its config file, with secrets in plain text.
        environment: its environment variables.
        tools: the engine and the log.
        on_line: called with every line that it writes.
        tail_characters: how much of the end of each output is kept.
    """
    spec = spec_of(run, environment=environment, tools=tools)
    write_secret(run.data.config_file, config)
    hand_over(spec.user, run.data.root.parent)
    try:
        return run_container(tools.engine, spec, on_line, tail_characters=tail_characters)
    finally:
        if spec.user is None:
            take_over(spec, tools.engine)


def judge_stage(run: StageRun, outcome: ContainerOutcome, *, last_gelf_message: str = "") -> None:
    """Return if the component did its work, raise what it deserves if not; see :func:`judge`."""
    component = run.stage.component
    whose = run.row.title if run.stage.is_main else f"{component.id} in {run.row.title}"
    judge(
        outcome,
        image=run.image.reference,
        timeout_seconds=run.time_limit,
        memory_text=memory_limit(run.stage, run.row),
        component=component.id,
        whose=whose,
        no_application_errors=component.no_application_errors,
        last_gelf_message=last_gelf_message,
        time_remedy=_time_remedy(run),
        memory_remedy=_memory_remedy(run),
    )


def _time_remedy(run: StageRun) -> str:
    if run.timeout_seconds is not None or run.time_limit >= LONGEST_RUN_SECONDS:
        return ""
    if run.stage.is_main:
        return f"runtime.process_timeout allows it more, up to {LONGEST_RUN_SECONDS} seconds."
    return f"The definition of {run.stage.component.id} allows it more (process_timeout)."


def _memory_remedy(run: StageRun) -> str:
    factor, _ = size_of(run.row)
    larger = [name for name, (other, _) in SIZES.items() if other > factor]
    if larger:
        return f"A larger size gives it more: runtime.backend.type {' or '.join(larger)}."
    return f"The definition of {run.stage.component.id} gives it more (memory)."


@dataclass(frozen=True)
class _Usage:
    """What the main container reported of its consumption; ``items`` is None when it reported nothing."""

    items: list[dict[str, Any]] | None = None
    problem: ConfigurationError | None = None


def _usage(run: StageRun, tools: Tools, *, redactor: Redactor) -> _Usage:
    """Read the usage file, whatever the component's end (US-2); what is wrong with it is told only after that (D26)."""
    try:
        run.data.refuse_replaced()
        items = read_usage(run.data.usage_file)
    except ConfigurationError as error:
        return _Usage(problem=error)
    if items is None:
        return _Usage()
    shown = [{name: redactor.redact(v) if isinstance(v, str) else v for name, v in item.items()} for item in items]
    tools.log.info("Usage: %s", ", ".join(f"{item['metric']} {item['value']}" for item in shown) or "none")
    return _Usage(shown)


def stop_stage(stage: Stage, *, job: Job, row: JobDefinition, tools: Tools) -> int:
    """Stop and remove what an earlier attempt of this stage left running; give the number of containers."""
    installation = tools.settings.installation
    name = container_name(stage, job, row, installation=installation)
    labels = job_labels(job, row, container=name, installation=installation)
    same = (LABEL_JOB, LABEL_INSTALLATION, f"{LABEL_PREFIX}containerName")
    return remove_containers(tools.engine, {label: labels[label] for label in same})


def job_labels(job: Job, row: JobDefinition, *, container: str, installation: str) -> dict[str, str]:
    """Labels by which a container is found again (CT-3); ``installation`` is :attr:`Settings.installation`."""
    labels = {
        "jobId": job.id,
        "runId": row.identity.run_id or "norunid",
        "rowId": row.row_id,
        "containerName": container,
        "projectId": row.identity.project_id,
        "installation": installation,
    }
    return {f"{LABEL_PREFIX}{name}": value for name, value in labels.items()}


def time_limit(stage: Stage, row: JobDefinition) -> int:
    """Seconds that the container may run; 0 is no limit (CT-11, D9)."""
    wanted = (row.configuration.get("runtime") or {}).get("process_timeout") if stage.is_main else None
    return min(int(wanted), LONGEST_RUN_SECONDS) if wanted else stage.component.process_timeout


def size_limits(stage: Stage, row: JobDefinition) -> tuple[int, int]:
    """Memory in bytes and number of CPUs, by the size of the backend (CT-13..CT-16).

    The CPUs are those that the size has; a container gets no more than its engine's machine has.
    """
    factor, cpus = size_of(row)
    megabytes = int(round(stage.component.memory_bytes * factor) / 10**6)
    return megabytes * 10**6, cpus


def size_of(row: JobDefinition) -> tuple[float, int]:
    """Memory factor and CPUs of the size of a row's backend (CT-14, CT-15)."""
    backend = (row.configuration.get("runtime") or {}).get("backend") or {}
    return SIZES.get(str(backend.get("type") or "small") if isinstance(backend, dict) else "small", (1.0, 1))


def memory_limit(stage: Stage, row: JobDefinition) -> str:
    """The memory limit for people: as the component's definition writes it, unless the size changes it."""
    size, _ = size_limits(stage, row)
    is_changed = size != stage.component.memory_bytes
    return f"{size // 10**6}m" if is_changed else stage.component.memory_text


def unknown_size(row: JobDefinition) -> str:
    """The size of the backend when it is none that is known, and so counts as small with one CPU (CT-14, CT-15)."""
    backend = (row.configuration.get("runtime") or {}).get("backend") or {}
    size = str(backend.get("type") or "") if isinstance(backend, dict) else ""
    return "" if size in SIZES else size


def stage_user(stage: Stage, settings: Settings) -> str | None:
    """``uid:gid`` that a stage's container runs as; None is the image's own user (CT-4, D11)."""
    return None if "container-root-user" in stage.component.features else container_user(settings.container_uid)


def container_name(stage: Stage, job: Job, row: JobDefinition, *, installation: str) -> str:
    """A name that says whose container it is and that a later attempt makes again (CT-2)."""
    position = row.stages.index(stage)
    identity = sha256(json.dumps([installation, job.id, row.row_id, position]).encode()).hexdigest()[:8]
    parts = (job.id, row.row_id, str(position), stage.component.sanitized_id, identity)
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", "-".join(parts)).strip("-.")


def spec_of(run: StageRun, *, environment: dict[str, str], tools: Tools, attempt: str = "") -> ContainerSpec:
    """The container of an image, with what features of its component change (CD-50..CD-52)."""
    stage, row, settings = run.stage, run.row, tools.settings
    memory, cpus = size_limits(stage, row)
    name = container_name(stage, run.job, row, installation=settings.installation)
    labels = job_labels(run.job, row, container=name, installation=settings.installation)
    features = stage.component.features
    return ContainerSpec(
        name=name,
        image=run.image.id,
        labels={**labels, **({LABEL_ATTEMPT: attempt} if attempt else {})},
        environment=environment,
        data=run.data.root,
        tmp=run.tmp,
        user=stage_user(stage, settings),
        memory_bytes=memory,
        memory_swap_bytes=memory if "no-swap" in features else None,
        cpus=min(cpus, tools.engine.cpus),
        network=stage.network,
        timeout_seconds=run.time_limit,
        sysctls=({"net.ipv4.tcp_keepalive_time": "60"} if "container-tcpkeepalive-60s-override" in features else {}),
    )
