"""Containers from creation to removal; between the two they need nobody (CT-1..CT-12)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.container_logs import TAIL_CHARACTERS, ContainerLog, OnLine, one_by_one
from docker_runner.engine.container_spec import LABEL_PREFIX, OWNER, OWNER_LABEL, ContainerOutcome, ContainerSpec
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.frames import Stream
from docker_runner.engine.live_output import LiveOutput
from docker_runner.engine.networks import ensure_network
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.watching import watch_to_end
from docker_runner.engine.wire import Wire
from docker_runner.errors import EngineError, UserError

logger = logging.getLogger(__name__)

_CREATE_ATTEMPTS = 50
_PAUSE_SECONDS = 0.2
_BAD_REQUEST, _CONFLICT = 400, 409
# Airflow leaves a task that is stopped five seconds; a container gets most of them to end by itself.
STOP_SECONDS = 3.0

__all__ = [
    "LABEL_PREFIX",
    "OWNER",
    "OWNER_LABEL",
    "STOP_SECONDS",
    "ContainerOutcome",
    "ContainerSpec",
    "OnLine",
    "Started",
    "Stream",
    "find_container",
    "remove_container",
    "remove_containers",
    "run_container",
    "start_container",
    "stop_containers",
]


@dataclass(frozen=True)
class Started:
    """A container that was started.

    Attributes:
        container_id: its id.
        failure: how it ended, if its program cannot be run at all (CT-41).
        output: what it writes, if somebody listens.
    """

    container_id: str
    failure: ContainerOutcome | None = None
    output: LiveOutput | None = None


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
        UserError: the engine says that the container cannot be, e.g. with so little memory.
        EngineError: the engine refuses the container or is lost; how the component itself ended is in the result.
    """
    log = ContainerLog(one_by_one(on_line), redactor, tail_characters)
    container = spec.name
    try:
        started = start_container(engine, spec, log, listen=True)
        container = started.container_id
        if started.failure is not None:
            return started.failure
        return watch_to_end(
            engine,
            started.container_id,
            log,
            name=spec.name,
            timeout_seconds=spec.timeout_seconds,
            output=started.output,
        )
    finally:
        remove_container(engine, container, labels=spec.labels)


def start_container(engine: Engine, spec: ContainerSpec, log: ContainerLog, *, listen: bool = False) -> Started:
    """Create a container and start it; it runs on whatever becomes of this process.

    Args:
        engine: where to run it.
        spec: what to run; a container of the runner that has its name already is removed.
        log: told why the container's program cannot be run.
        listen: also to what it writes, from its first byte; whoever asks for that has to watch the container.

    Raises:
        UserError: the engine says that the container cannot be, e.g. with so little memory.
        EngineError: the engine refuses it or is lost.
    """
    network = ensure_network(engine, spec.network)
    container_id = _create(engine, spec, network)
    output = LiveOutput(Wire.of(engine), container_id, spec.data.parent) if listen else None
    begun = False
    try:
        failure = _start(engine, spec, container_id, log)
        begun = failure is None
    finally:
        if output is not None and not begun:
            output.close()
    return Started(container_id, failure, output if begun else None)


def find_container(engine: Engine, name: str) -> ContainerState | None:
    """The container of the runner that has this name; None when there is none.

    Raises:
        EngineError: the engine does not answer.
    """
    from docker.errors import NotFound

    with engine_errors(engine, f"Looking for the container {name}"):
        try:
            state = ContainerState.from_engine(engine.client.inspect_container(name))
        except NotFound:
            return None
    return state if state.labels.get(OWNER_LABEL) == OWNER else None


def stop_containers(engine: Engine, labels: Mapping[str, str], *, seconds: float = STOP_SECONDS) -> int:
    """Ask all containers that carry all of these labels to end, kill those that do not, and remove them.

    Args:
        engine: where they are.
        labels: at least one label with its value.
        seconds: how long they may take to end by themselves.

    Returns:
        How many were removed.
    """
    from docker.errors import APIError

    with engine_errors(engine, "Stopping containers"):
        running = _with_labels(engine, labels, status="running")
        for container in running:
            try:
                config = engine.client.inspect_container(container["Id"])["Config"]
                engine.client.kill(container["Id"], config.get("StopSignal") or "SIGTERM")
            except APIError as error:
                if error.status_code not in (404, 409):  # it ended by itself
                    raise
        until = time.monotonic() + seconds
        while running and time.monotonic() < until:
            time.sleep(_PAUSE_SECONDS)
            running = _with_labels(engine, labels, status="running")
    return remove_containers(engine, labels)


def remove_containers(engine: Engine, labels: Mapping[str, str]) -> int:
    """Kill and remove all containers that carry all of these labels.

    Containers that disappear meanwhile are no error.

    Args:
        engine: where they are.
        labels: at least one label with its value.

    Returns:
        How many were removed.
    """
    with engine_errors(engine, "Looking for containers to remove"):
        return sum(_remove(engine, container["Id"]) for container in _with_labels(engine, labels))


def remove_container(engine: Engine, container: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Kill and remove a container; the outcome of a run stands, even if that fails (CT-9).

    Args:
        engine: where it is.
        container: its id or name.
        labels: it is left alone when it does not carry these.
    """
    try:
        with engine_errors(engine, f"Removing the container {container[:64]}"):
            if labels is None or _carries(engine, container, labels):
                _remove(engine, container)
    except EngineError as error:
        logger.warning("%s", error.message)


def _with_labels(engine: Engine, labels: Mapping[str, str], **filters: str) -> list[dict[str, Any]]:
    if not labels:
        raise ValueError("Without labels every container of the engine would be taken.")
    wanted = {"label": [f"{name}={value}" for name, value in labels.items()], **filters}
    found: list[dict[str, Any]] = engine.client.containers(all=True, quiet=True, filters=wanted)
    return found


def _carries(engine: Engine, container: str, labels: Mapping[str, str]) -> bool:
    from docker.errors import NotFound

    try:
        carried = engine.client.inspect_container(container)["Config"]["Labels"] or {}
    except NotFound:
        return False
    return carried.get(OWNER_LABEL) == OWNER and all(carried.get(name) == value for name, value in labels.items())


def _create(engine: Engine, spec: ContainerSpec, network: str) -> str:
    from docker.errors import APIError

    config = spec.to_engine(network)
    with engine_errors(engine, f"Creating the container {spec.name}"):
        for attempt in range(_CREATE_ATTEMPTS):
            try:
                created = engine.client.create_container_from_config(config, spec.name)  # type: ignore[no-untyped-call]
                return str(created["Id"])
            except APIError as error:
                if error.status_code == _BAD_REQUEST and not _is_about_folders(error):
                    raise UserError(f"The engine refuses the container {spec.name}: {explanation(error)}") from None
                if error.status_code != _CONFLICT or attempt == _CREATE_ATTEMPTS - 1:
                    raise
                _remove_stale(engine, spec.name)
    raise AssertionError("unreachable")


def _is_about_folders(error: Exception) -> bool:
    """Whether the engine does not see a folder of the run: nothing that whoever wrote the component could mend."""
    return "mount" in explanation(error)


def _start(engine: Engine, spec: ContainerSpec, container_id: str, log: ContainerLog) -> ContainerOutcome | None:
    """Start a container; gives how it ended if its program cannot be run at all."""
    from docker.errors import APIError

    with engine_errors(engine, f"Running the container {spec.name}"):
        try:
            engine.client.start(container_id)
        except APIError as error:
            reason = explanation(error)
            exit_code = _exit_code_of_failed_start(reason)
            if exit_code is None:
                remove_container(engine, container_id)
                raise
            log.feed(Stream.STDERR, f"The container could not be started: {reason}\n".encode())
            log.close()
            tails = log.tail(Stream.STDOUT), log.tail(Stream.STDERR)
            return ContainerOutcome(container_id, exit_code, False, False, 0.0, *tails)
    return None


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
