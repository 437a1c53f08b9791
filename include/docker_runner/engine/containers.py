"""Runs one container from creation to removal (CT-1..CT-12)."""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.container_logs import TAIL_CHARACTERS, ContainerLog, Frames, OnLine, Stream
from docker_runner.engine.container_spec import LABEL_PREFIX, OWNER, OWNER_LABEL, ContainerOutcome, ContainerSpec
from docker_runner.engine.networks import ensure_network
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import EngineError

logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_CREATE_ATTEMPTS = 50
_PAUSE_SECONDS = 0.2
# Exit code of a process that was killed by SIGKILL.
_KILLED = 137
# Until a killed container has ended; longer only happens with a broken engine.
_AFTER_KILL_SECONDS = 30

__all__ = [
    "LABEL_PREFIX",
    "OWNER",
    "OWNER_LABEL",
    "ContainerOutcome",
    "ContainerSpec",
    "OnLine",
    "Stream",
    "remove_containers",
    "run_container",
]


def run_container(
    engine: Engine,
    spec: ContainerSpec,
    on_line: OnLine,
    *,
    redactor: Redactor | None = None,
    tail_characters: int = TAIL_CHARACTERS,
) -> ContainerOutcome:
    """Run a container to its end and remove it, whatever happens (CT-9).

    Args:
        engine: where to run it.
        spec: what to run.
        on_line: called with every line as it is written, redacted (D14); what it raises ends the container.
        redactor: the secrets to hide in lines and tails.
        tail_characters: how much of the end of each output is kept.

    Raises:
        EngineError: the engine refuses the container or is lost; how the component itself ended is in the result.
    """
    network = ensure_network(engine, spec.network)
    container_id = _create(engine, spec, network)
    try:
        return _Run(engine, spec, container_id, ContainerLog(on_line, redactor, tail_characters)).to_end()
    finally:
        _remove_quietly(engine, container_id)


def remove_containers(engine: Engine, labels: Mapping[str, str]) -> int:
    """Kill and remove all containers that carry all of these labels.

    Containers that disappear meanwhile are no error.

    Args:
        engine: where they are.
        labels: at least one label with its value.

    Returns:
        How many were removed.
    """
    if not labels:
        raise ValueError("Without labels every container of the engine would be removed.")
    with engine_errors(engine, "Looking for containers to remove"):
        found = engine.client.containers(
            all=True, quiet=True, filters={"label": [f"{name}={value}" for name, value in labels.items()]}
        )
        return sum(_remove(engine, container["Id"]) for container in found)


def _create(engine: Engine, spec: ContainerSpec, network: str) -> str:
    from docker.errors import APIError

    config = spec.to_engine(network)
    with engine_errors(engine, f"Creating the container {spec.name}"):
        for attempt in range(_CREATE_ATTEMPTS):
            try:
                created = engine.client.create_container_from_config(config, spec.name)  # type: ignore[no-untyped-call]
                return str(created["Id"])
            except APIError as error:
                if error.status_code != 409 or attempt == _CREATE_ATTEMPTS - 1:
                    raise
                _remove_stale(engine, spec.name)
    raise AssertionError("unreachable")


def _remove_stale(engine: Engine, name: str) -> None:
    """Take away what a crashed attempt left under this name."""
    from docker.errors import NotFound

    try:
        labels = engine.client.inspect_container(name)["Config"]["Labels"] or {}
    except NotFound:
        return
    if not any(label.startswith(LABEL_PREFIX) for label in labels):
        raise EngineError(
            f"A container named {name} exists that is not Docker Runner's. Rename it, or remove it: docker rm -f {name}"
        )
    if not _remove(engine, name):
        time.sleep(_PAUSE_SECONDS)  # another removal is under way


def _remove(engine: Engine, container: str) -> bool:
    from docker.errors import APIError

    try:
        engine.client.remove_container(container, force=True, v=True)
    except APIError as error:
        # Gone, or being removed by somebody else.
        if error.status_code not in (404, 409):
            raise
        return False
    return True


def _remove_quietly(engine: Engine, container_id: str) -> None:
    """The outcome of a run stands, even if its container cannot be removed (CT-9)."""
    try:
        with engine_errors(engine, f"Removing the container {container_id[:12]}"):
            _remove(engine, container_id)
    except EngineError as error:
        logger.warning("%s", error.message)


class _Attached:
    """The connection that carries a container's output."""

    def __init__(self, connection: Any) -> None:
        # Docker-py hands out a file around the socket; the socket ends only when both are closed.
        self._file = connection
        self.socket: socket.socket = getattr(connection, "_sock", connection)

    def hang_up(self) -> None:
        """End it; once more is no error."""
        with suppress(OSError):  # the other side may have been faster
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._file.close()


class _Run:
    """One container between its creation and its removal."""

    def __init__(self, engine: Engine, spec: ContainerSpec, container_id: str, log: ContainerLog) -> None:
        self._engine = engine
        self._client = engine.client
        self._spec = spec
        self._id = container_id
        self._log = log
        self._started = 0.0
        self._deadline: float | None = None

    def to_end(self) -> ContainerOutcome:
        with engine_errors(self._engine, f"Running the container {self._spec.name}"):
            # Attached before it starts, so that nothing is missed.
            stream = _Attached(self._client.attach_socket(self._id, params={"stdout": 1, "stderr": 1, "stream": 1}))
            try:
                failure = self._start()
                if failure is not None:
                    return failure
                timed_out, exit_code = self._follow(stream)
            finally:
                stream.hang_up()
            self._log.close()
            return self._outcome(exit_code, timed_out=timed_out)

    def _start(self) -> ContainerOutcome | None:
        """Start the container; the outcome if its program cannot be run."""
        from docker.errors import APIError

        self._started = time.monotonic()
        if self._spec.timeout_seconds:
            self._deadline = self._started + self._spec.timeout_seconds
        try:
            self._client.start(self._id)
        except APIError as error:
            reason = explanation(error)
            exit_code = _exit_code_of_failed_start(reason)
            if exit_code is None:
                raise
            self._log.feed(Stream.STDERR, f"The container could not be started: {reason}\n".encode())
            self._log.close()
            return self._outcome(exit_code, timed_out=False)
        return None

    def _follow(self, stream: _Attached) -> tuple[bool, int]:
        """Read until the end, then wait for the exit code; kills the container at its time limit."""
        exit_code: int | None = None
        if self._read(stream):
            exit_code = self._wait(self._deadline)
        timed_out = False
        if exit_code is None:
            # An engine whose output nobody takes cannot end the container: first hang up, then kill.
            stream.hang_up()
            timed_out = self._kill()
            exit_code = self._wait(time.monotonic() + _AFTER_KILL_SECONDS)
        if exit_code is None:
            raise EngineError(f"The Docker engine does not end the container {self._spec.name}.")
        return timed_out, exit_code

    def _read(self, stream: _Attached) -> bool:
        """Take all output; false if there was no end of it at the time limit."""
        frames = Frames()
        while True:
            remaining = None if self._deadline is None else self._deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            stream.socket.settimeout(remaining)
            try:
                data = stream.socket.recv(_READ_BYTES)
            except TimeoutError:
                return False
            except ConnectionError:
                data = b""  # whether the container is still there is for wait() to say
            if not data:
                return True
            for output, content in frames.feed(data):
                self._log.feed(output, content)

    def _wait(self, until: float | None) -> int | None:
        """The exit code; None if the container still runs at ``until``."""
        from requests.exceptions import ConnectionError as ConnectionLost
        from requests.exceptions import Timeout

        # At least a moment: the engine notices the end of a process a little after the end of its output.
        remaining = None if until is None else max(math.ceil(until - time.monotonic()), 1)
        try:
            return int(self._client.wait(self._id, timeout=remaining)["StatusCode"])
        except (Timeout, ConnectionLost):
            # Docker-py reports both a limit that is reached and an engine that is gone as a lost connection.
            if until is None or time.monotonic() < until:
                raise
            return None

    def _kill(self) -> bool:
        """Kill it; false if it had ended by itself just before."""
        from docker.errors import APIError

        try:
            self._client.kill(self._id)
        except APIError as error:
            if error.status_code != 409:
                raise
            return False
        return True

    def _outcome(self, exit_code: int, *, timed_out: bool) -> ContainerOutcome:
        seconds = time.monotonic() - self._started
        return ContainerOutcome(
            container_id=self._id,
            exit_code=exit_code,
            oom_killed=self._oom_killed() or (exit_code == _KILLED and not timed_out and self._oom_event()),
            timed_out=timed_out,
            seconds=seconds,
            stdout_tail=self._log.tail(Stream.STDOUT),
            stderr_tail=self._log.tail(Stream.STDERR),
        )

    def _oom_killed(self) -> bool:
        """Whether memory ran out; without an answer of the engine nothing is claimed (CT-8)."""
        try:
            with engine_errors(self._engine, f"Inspecting the container {self._spec.name}"):
                return bool(self._client.inspect_container(self._id)["State"]["OOMKilled"])
        except EngineError as error:
            logger.warning("%s", error.message)
            return False

    def _oom_event(self) -> bool:
        """Whether the engine reported that memory ran out.

        When it learns of that only after the end of the process, it says so in its events but no more in the
        container's state.
        """
        now = time.time()
        age = time.monotonic() - self._started
        try:
            with engine_errors(self._engine, f"Looking for the end of the container {self._spec.name}"):
                events = self._client.events(
                    since=int(now - age) - 1,
                    until=int(now) + 1,
                    filters={"container": self._id, "event": "oom"},
                    decode=True,
                )
                return any(True for _ in events)
        except EngineError as error:
            logger.warning("%s", error.message)
            return False


def _exit_code_of_failed_start(reason: str) -> int | None:
    """The exit code that ``docker run`` would give; None if the engine, not the image's program, is at fault."""
    said = reason.lower()
    if "exec:" not in said:
        return None
    if "not found" in said or "no such file" in said:
        return 127
    if "permission denied" in said or "is a directory" in said:
        return 126
    return None
