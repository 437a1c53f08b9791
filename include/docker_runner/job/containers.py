"""One container of a row: its limits, labels, user and verdict."""

from __future__ import annotations

import json
import logging
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from docker_runner.engine.container_logs import Stream
from docker_runner.engine.containers import LABEL_PREFIX, ContainerSpec, remove_containers, run_container
from docker_runner.engine.images import PreparedImage
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import UserError
from docker_runner.interface.data_folder import DataFolder, write_secret
from docker_runner.interface.result import judge
from docker_runner.interface.usage import read_usage
from docker_runner.job.definition import Job, JobDefinition, Stage
from docker_runner.job.tools import Tools

LABEL_JOB = f"{LABEL_PREFIX}jobId"
LABEL_ROW = f"{LABEL_PREFIX}rowId"
LONGEST_RUN_SECONDS = 86_400
_LEVELS = {Stream.STDOUT: logging.INFO, Stream.STDERR: logging.ERROR}
# Memory factor and CPUs by container size (CT-14, CT-15).
_SIZES = {"xsmall": (0.5, 1), "small": (1.0, 2), "medium": (2.0, 4), "large": (7.1, 14)}


def run_stage(
    stage: Stage,
    *,
    job: Job,
    row: JobDefinition,
    data: DataFolder,
    tmp: Path,
    config: str,
    environment: dict[str, str],
    image: PreparedImage,
    redactor: Redactor,
    tools: Tools,
) -> dict[str, Any]:
    """Run one image to its end and judge the outcome; the caller removes the secrets from the data folder.

    Args:
        stage: which image of the row.
        job: the job, for names and labels.
        row: the row.
        data: what the container sees as ``/data``.
        tmp: what it sees as ``/tmp``.
        config: text of its config file, with secrets in plain text.
        environment: its environment variables.
        image: the image to run, as prepared.
        redactor: knows the secrets that the output must not show.
        tools: the engine and the log.

    Returns:
        ``{component, image, image_id, exit_code, seconds, usage}``.

    Raises:
        ConfigurationError: it left links in place of its folders, or its usage file is wrong (D26).
        ComponentError: the component failed with a message of its own, or outgrew its limits (CT-30..CT-32).
        ApplicationError: any other failure (CT-33).
    """
    if "container-root-user" in stage.component.features and os.geteuid() != 0:
        raise UserError(
            f"{stage.component.id} runs as root (container-root-user): only a root worker can take over its files."
        )
    uid = tools.settings.container_uid
    spec = _spec(stage, job=job, row=row, data=data, tmp=tmp, environment=environment, image=image, uid=uid)
    tools.log.info("Running %s (%s).", stage.component.id, image.reference)
    lines = tools.log.getChild("component")
    write_secret(data.config_file, config)
    _hand_over(spec.user, data.root.parent)
    outcome = run_container(
        tools.engine,
        spec,
        lambda stream, line: lines.log(_LEVELS[stream], "%s", line),
        redactor=redactor,
    )
    judge(
        outcome,
        image=image.reference,
        timeout_seconds=spec.timeout_seconds,
        memory_text=stage.component.memory_text,
        no_application_errors=stage.component.no_application_errors,
    )
    data.refuse_replaced()
    tools.log.info("%s finished after %.1f s.", stage.component.id, outcome.seconds)
    usage = read_usage(data.usage_file) if stage.is_main else []
    return {
        "component": stage.component.id,
        "image": image.reference,
        "image_id": image.id,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 3),
        **({"usage": usage} if usage else {}),
    }


def stop_stage(stage: Stage, *, job: Job, row: JobDefinition, tools: Tools) -> int:
    """Stop and remove what an earlier attempt of this stage left running; give the number of containers."""
    name = f"{LABEL_PREFIX}containerName"
    labels = job_labels(job, row, container=container_name(stage, job, row))
    return remove_containers(tools.engine, {LABEL_JOB: job.id, name: labels[name]})


def job_labels(job: Job, row: JobDefinition, *, container: str) -> dict[str, str]:
    """Labels by which a container is found again (CT-3)."""
    labels = {
        "jobId": job.id,
        "runId": row.identity.run_id or "norunid",
        "rowId": row.row_id,
        "containerName": container,
        "projectId": row.identity.project_id,
    }
    return {f"{LABEL_PREFIX}{name}": value for name, value in labels.items()}


def time_limit(stage: Stage, row: JobDefinition) -> int:
    """Seconds that the container may run; 0 is no limit (CT-11, D9)."""
    wanted = (row.configuration.get("runtime") or {}).get("process_timeout") if stage.is_main else None
    return min(int(wanted), LONGEST_RUN_SECONDS) if wanted else stage.component.process_timeout


def size_limits(stage: Stage, row: JobDefinition) -> tuple[int, float]:
    """Memory in bytes and number of CPUs, by the size of the backend (CT-13..CT-16)."""
    backend = (row.configuration.get("runtime") or {}).get("backend") or {}
    factor, cpus = _SIZES.get(str(backend.get("type") or "small") if isinstance(backend, dict) else "small", (1.0, 1))
    megabytes = int(round(stage.component.memory_bytes * factor) / 10**6)
    return megabytes * 10**6, float(min(cpus, os.cpu_count() or 1))


def container_name(stage: Stage, job: Job, row: JobDefinition) -> str:
    """A name that says whose container it is and that a later attempt makes again (CT-2)."""
    position = row.stages.index(stage)
    identity = sha256(json.dumps([job.id, row.row_id, position]).encode()).hexdigest()[:8]
    parts = (job.id, row.row_id, str(position), stage.component.sanitized_id, identity)
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", "-".join(parts)).strip("-.")


def _spec(
    stage: Stage,
    *,
    job: Job,
    row: JobDefinition,
    data: DataFolder,
    tmp: Path,
    environment: dict[str, str],
    image: PreparedImage,
    uid: int,
) -> ContainerSpec:
    memory, cpus = size_limits(stage, row)
    name = container_name(stage, job, row)
    features = stage.component.features
    return ContainerSpec(
        name=name,
        image=image.id,
        labels=job_labels(job, row, container=name),
        environment=environment,
        data=data.root,
        tmp=tmp,
        user=None if "container-root-user" in features else _container_user(uid),
        memory_bytes=memory,
        memory_swap_bytes=memory if "no-swap" in features else None,
        cpus=cpus,
        network=stage.component.network,
        timeout_seconds=time_limit(stage, row),
        sysctls=({"net.ipv4.tcp_keepalive_time": "60"} if "container-tcpkeepalive-60s-override" in features else {}),
    )


def _container_user(uid: int) -> str:
    """The worker's own user; for a root worker an unprivileged one (D11)."""
    if os.geteuid() != 0:
        return f"{os.geteuid()}:{os.getegid()}"
    return f"{uid}:{uid}"


def _hand_over(user: str | None, folder: Path) -> None:
    """Give the folders to the container's user; only root can and needs to."""
    if user is None or os.geteuid() != 0:
        return
    uid, gid = (int(part) for part in user.split(":"))
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)
