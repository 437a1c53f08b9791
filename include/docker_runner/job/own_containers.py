"""Containers that work in the folders of this installation's runs; others may share the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.engine.client import engine_errors
from docker_runner.engine.container_spec import OWNER, OWNER_LABEL
from docker_runner.job.containers import LABEL_JOB
from docker_runner.job.tools import Tools

# A container that is paused goes on some time.
_NOT_AT_WORK = ("created", "exited", "dead")


@dataclass(frozen=True)
class OwnContainer:
    """A container of a run.

    Attributes:
        id, name: the engine's.
        job_id: the run that it belongs to.
        created: when, in seconds since 1970.
        is_at_work: its component may still do something.
    """

    id: str
    name: str
    job_id: str
    created: float
    is_at_work: bool


def own_containers(tools: Tools) -> Iterator[OwnContainer]:
    """The runner's containers that work in folders of this installation.

    Raises:
        EngineError: the engine does not answer.
    """
    root = tools.settings.workspaces.resolve()
    with engine_errors(tools.engine, "Looking for containers that were left"):
        found = tools.engine.client.containers(all=True, filters={"label": [f"{OWNER_LABEL}={OWNER}"]})
    for item in found:
        if _works_below(item, root):
            yield OwnContainer(
                id=item["Id"],
                name=(item["Names"] or [item["Id"][:12]])[0].lstrip("/"),
                job_id=item["Labels"].get(LABEL_JOB, ""),
                created=float(item["Created"]),
                is_at_work=item["State"] not in _NOT_AT_WORK,
            )


def _works_below(container: dict[str, Any], root: Path) -> bool:
    """Whether a container's data folder is one of a run's folders."""
    sources = (Path(mount["Source"]) for mount in container["Mounts"] if mount["Destination"] == "/data")
    return any(source != root and source.is_relative_to(root) for source in sources)
