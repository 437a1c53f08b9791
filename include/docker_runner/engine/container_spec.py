"""What a container is to be, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LABEL_PREFIX = "com.keboola.docker-runner."

# Every container of the runner carries it, so that it is never taken for somebody else's.
OWNER_LABEL = f"{LABEL_PREFIX}owner"
OWNER = "docker-runner"

# Large, because whoever reads more slowly than a component writes misses what is more than a file behind.
LOG_FILE_BYTES = 10**9

# Of the networks that a component can ask for, the one without a route to anywhere (CT-5, D10).
NO_INTERNET = "no-internet"

# A component that is root cannot make packets of its own, with which it could speak as another one, nor device files
# in its data folder, which others would read.
_NOT_FOR_ROOT = ["NET_RAW", "MKNOD"]

_CPU_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True)
class ContainerSpec:
    """What to run and how.

    Attributes:
        name: unique name (CT-2); a container that a crashed attempt left under it is replaced.
        image: what to run, best an image's id.
        labels: labels with their full names (CT-3).
        environment: environment variables.
        data: folder that the container sees as ``/data``, as a path on the engine's machine.
        tmp: folder that the container sees as ``/tmp``.
        user: ``uid:gid``; None is the image's own user (CT-4).
        memory_bytes: limit of memory; 0 is none.
        memory_swap_bytes: limit of memory and swap together; None is the engine's default (CT-7).
        cpus: share of processors, e.g. 0.5 or 2; 0 is no limit. More than the machine has is no error.
        network: ``none``, ``bridge``, ``no-internet`` or a network of the engine (CT-5).
        timeout_seconds: time limit; 0 is none (CT-12, D9).
        sysctls: kernel parameters of the container's namespaces (CT-6).
        pids_limit: most processes and threads.
        log_file_bytes: the engine keeps the last two files of this size of what it writes.
        command: what to run instead of the image's own program, with the engine's default capabilities; a component
            always runs its image's own (CT-1).
    """

    name: str
    image: str
    labels: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)
    data: Path
    tmp: Path
    user: str | None
    memory_bytes: int
    memory_swap_bytes: int | None = None
    cpus: float = 0
    network: str = "bridge"
    timeout_seconds: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    pids_limit: int = 4096
    log_file_bytes: int = LOG_FILE_BYTES
    command: tuple[str, ...] = ()

    def to_engine(self, network: str) -> dict[str, Any]:
        """The specification as the Engine API takes it (CT-1, D11).

        Args:
            network: network mode, from ``ensure_network``.
        """
        host: dict[str, Any] = {
            # A bind mount, unlike a volume by path, fails when the folder is not there instead of creating it as root.
            "Mounts": [
                {"Type": "bind", "Source": str(self.data), "Target": "/data"},
                {"Type": "bind", "Source": str(self.tmp), "Target": "/tmp"},  # noqa: S108 - the container's own
            ],
            "Memory": self.memory_bytes,
            "MemorySwap": self.memory_swap_bytes or 0,
            "CpuPeriod": _CPU_PERIOD_MICROSECONDS if self.cpus else 0,
            # A quota, unlike NanoCpus, may exceed what the machine has: a component made for 4 runs on 2.
            "CpuQuota": int(self.cpus * _CPU_PERIOD_MICROSECONDS),
            "NetworkMode": network,
            "PidsLimit": self.pids_limit,
            "Sysctls": dict(self.sysctls),
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": [] if self.command else _NOT_FOR_ROOT if self.user is None else ["ALL"],
            # No init: images that bring their own (s6, tini) insist on being process 1, and a container ends as a
            # whole anyway. The engine keeps the log byte by byte, so that it can be followed from any place by whoever
            # comes next and a slow reader never slows the component. The bound keeps it from filling the disk.
            "LogConfig": {
                "Type": "local",
                "Config": {"max-size": str(self.log_file_bytes), "max-file": "2", "compress": "false"},
            },
        }
        if self.network == NO_INTERNET:
            # The engine's name server would ask the one of the host, and names are a way to tell something outside.
            # Inside the container nobody answers.
            host |= {"Dns": ["127.0.0.1"], "DnsOptions": ["timeout:1", "attempts:1"]}
        config: dict[str, Any] = {
            "Image": self.image,
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Labels": {**self.labels, OWNER_LABEL: OWNER},
            # An engine that is shut down, or comes back, ends its containers, and what they do is begun anew. Without
            # time to end, those that do not care would come to their end meanwhile, and do all their work twice.
            "StopTimeout": 0,
            "HostConfig": host,
        }
        if self.user is not None:
            config["User"] = self.user
        if self.command:
            config |= {"Entrypoint": list(self.command), "Cmd": []}
        return config


@dataclass(frozen=True)
class ContainerOutcome:
    """How a container ended.

    Attributes:
        container_id: its id.
        exit_code: of its main process; 126 and 127 also when it could not be started.
        oom_killed: the kernel killed a process of it for want of memory.
        timed_out: it was killed at its time limit.
        seconds: how long it ran.
        stdout_tail, stderr_tail: the last 1 000 000 characters, redacted (CT-37).
    """

    container_id: str
    exit_code: int
    oom_killed: bool
    timed_out: bool
    seconds: float
    stdout_tail: str = field(repr=False, default="")
    stderr_tail: str = field(repr=False, default="")
