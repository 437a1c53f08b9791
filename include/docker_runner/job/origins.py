"""Where the limits of a container come from: the run, the configuration, the component's definition, a setting."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.engine.images import PullPolicy
from docker_runner.job.containers import LONGEST_RUN_SECONDS, SIZES, size_limits, stage_user, time_limit, unknown_size
from docker_runner.job.definition import JobDefinition, Stage
from docker_runner.job.request import JobRequest
from docker_runner.positions import holds, line_of
from docker_runner.settings import Settings

Document = dict[str, Any]


@dataclass(frozen=True)
class Origins:
    """Tells where values of a row's stages come from.

    Attributes:
        row: the row.
        request: what was asked for.
        files: the files of its configuration, the row's own first.
        components: folder of the components' definitions.
        settings: this installation's.
        machine_cpus: CPUs of the engine's machine; None when it does not answer.
    """

    row: JobDefinition
    request: JobRequest
    files: Sequence[Path]
    components: Path
    settings: Settings
    machine_cpus: int | None

    def limits(self, stage: Stage) -> Document:
        """Memory, CPUs, time, network and user of a stage's container, each ``{value, from}``."""
        memory, cpus = size_limits(stage, self.row)
        return {
            "memory_bytes": {"value": memory, "from": self._memory(stage)},
            "swap": {
                "value": "none" if "no-swap" in stage.component.features else "the engine's default",
                "from": self._feature(stage, "no-swap"),
            },
            "cpus": {"value": float(min(cpus, self.machine_cpus or cpus)), "from": self._cpus()},
            "timeout_seconds": {"value": time_limit(stage, self.row) or None, "from": self._timeout(stage)},
            "network": {"value": stage.network, "from": self._network(stage)},
            "user": {"value": stage_user(stage, self.settings) or "the image's own", "from": self._user(stage)},
        }

    def tag(self, stage: Stage) -> str:
        """Where the tag of a stage's image comes from."""
        if not stage.tag:
            return self._defined(stage, "definition.tag")
        if not stage.is_main:
            position, _, number = stage.name.partition("_")
            return self._written(f"processors.{position}[{int(number) - 1}].definition.tag") or "the configuration"
        if self.request.tag:
            return "the run"
        return self._written("runtime.tag") or self._written("runtime.image_tag") or "the configuration"

    def pull_policy(self, stage: Stage) -> Document:
        """When the image is pulled."""
        policy: PullPolicy = stage.component.image(stage.tag).pull_policy
        return {"value": policy.value, "from": self._defined(stage, "definition.pull_policy")}

    def _size(self) -> str:
        """The size of the backend and where it comes from; empty when nothing names one."""
        size = str(((self.row.configuration.get("runtime") or {}).get("backend") or {}).get("type") or "")
        if not size:
            return ""
        where = "the run" if self.request.backend.get("type") else self._written("runtime.backend.type")
        return f"size {size} of {where or 'the configuration'}"

    def _memory(self, stage: Stage) -> str:
        base = f"{stage.component.memory_text} of {self._defined(stage, 'memory')}"
        size = self._size()
        if not size:
            return base
        if unknown := unknown_size(self.row):
            return f"{base}; there is no size {unknown!r}"
        name = str(self.row.configuration["runtime"]["backend"]["type"])
        return f"{base}, times {SIZES[name][0]:g} by {size}"

    def _cpus(self) -> str:
        size = self._size()
        if unknown := unknown_size(self.row):
            return f"there is no size {unknown!r}"
        wanted = SIZES[str(self.row.configuration["runtime"]["backend"]["type"]) if size else "small"][1]
        told = size or "size small, the default"
        if self.machine_cpus is None:
            return f"{told}; the engine's machine may have fewer"
        return f"{told}; the engine's machine has {self.machine_cpus}" if self.machine_cpus < wanted else told

    def _timeout(self, stage: Stage) -> str:
        wanted = (self.row.configuration.get("runtime") or {}).get("process_timeout") if stage.is_main else None
        if not wanted:
            return self._defined(stage, "process_timeout")
        where = self._written("runtime.process_timeout") or "the configuration"
        return f"{where}, cut to a day" if int(wanted) > LONGEST_RUN_SECONDS else where

    def _network(self, stage: Stage) -> str:
        if stage.network != stage.component.network:
            return self._written("runtime.network") or self._written("parameters") or "the configuration"
        return self._defined(stage, "network")

    def _user(self, stage: Stage) -> str:
        if "container-root-user" in stage.component.features:
            return self._feature(stage, "container-root-user")
        return "DOCKER_RUNNER_UID, the worker is root" if os.geteuid() == 0 else "the worker's own user"

    def _feature(self, stage: Stage, name: str) -> str:
        given = name in stage.component.features
        return f"feature {name} of {self._definition(stage)}" if given else f"no feature {name}"

    def _defined(self, stage: Stage, key: str) -> str:
        file = self._definition(stage)
        return f"{file}:{line_of(file, f'data.{key}')}" if holds(file, f"data.{key}") else "the default"

    def _definition(self, stage: Stage) -> Path:
        return self.components / f"{stage.component.id}.json"

    def _written(self, key: str) -> str:
        """File and line of a key of the configuration; empty when none of its files has it."""
        file = next((file for file in self.files if holds(file, key)), None)
        return f"{file}:{line_of(file, key)}" if file else ""
