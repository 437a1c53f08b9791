"""What the engine knows of a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docker_runner.engine.log_position import moment

# Exit codes above this are 128 and the number of the signal that ended the process.
_SIGNALLED = range(129, 160)
_KILLED = 137


@dataclass(frozen=True)
class ContainerState:
    """A container as the engine sees it now.

    Attributes:
        id: its id.
        labels: its labels.
        running: it runs (or is paused).
        started: when it was started, in seconds since 1970; 0 if it never was.
        finished: when it ended; 0 if it has not.
        exit_code: of its main process, when it has ended.
        oom_killed: the kernel killed a process of it for want of memory.
        log_file_bytes: the engine keeps its output in files of this size; 0 is no limit.
    """

    id: str
    labels: Mapping[str, str]
    running: bool
    started: float
    finished: float
    exit_code: int
    oom_killed: bool
    log_file_bytes: int = 0

    @classmethod
    def from_engine(cls, document: Mapping[str, Any]) -> ContainerState:
        """From the answer of the engine's ``inspect``."""
        state = document["State"]
        return cls(
            id=str(document["Id"]),
            labels=document["Config"]["Labels"] or {},
            running=bool(state["Running"]),
            started=moment(state["StartedAt"]),
            finished=moment(state["FinishedAt"]),
            exit_code=int(state["ExitCode"]),
            oom_killed=bool(state["OOMKilled"]),
            log_file_bytes=_bytes(document.get("HostConfig", {}).get("LogConfig", {}).get("Config") or {}),
        )

    @property
    def ended(self) -> bool:
        """It ran, and does no more; one that was only created has not ended."""
        return not self.running and self.started > 0

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return max(self.finished - self.started, 0.0)

    @property
    def was_stopped(self) -> bool:
        """A signal ended it, and not for want of memory."""
        return self.ended and self.exit_code in _SIGNALLED and not self.oom_killed

    def at_time_limit(self, timeout_seconds: int) -> bool:
        """It was killed, at its time limit or later."""
        return self.exit_code == _KILLED and 0 < timeout_seconds <= self.seconds


def _bytes(log_options: Mapping[str, str]) -> int:
    """The size of a log file, which the runner writes as a plain number."""
    size = log_options.get("max-size", "")
    return int(size) if size.isdecimal() else 0
