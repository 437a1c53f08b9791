"""Follows a container from asyncio: hundreds of them in one process, one connection each, no thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from docker_runner.engine.container_logs import ContainerLog, LogReader
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.wire import Wire, ask, logs_path, open_log
from docker_runner.errors import EngineError, NotFoundError

# Small, because there are many; what is not read yet stays with the engine.
_READ_BYTES = 64 * 1024
_PAUSE_SECONDS = 1.0
_PROGRESS_SECONDS = 1.0


async def wait_for_container(
    wire: Wire,
    container_id: str,
    new_log: Callable[[], ContainerLog],
    *,
    timeout_seconds: int,
    on_progress: Callable[[ContainerLog], None],
) -> ContainerState:
    """Show what a container writes until it ends; kill it at its time limit (CT-12).

    Args:
        wire: the engine.
        container_id: the container, running or ended.
        new_log: makes what takes its log; called again when the engine broke off.
        timeout_seconds: time limit, counted from its start; 0 is none.
        on_progress: called with that log now and then after lines were shown, and when nothing more follows.

    Raises:
        NotFoundError: the container is gone.
        EngineError: the engine does not answer.
    """
    state = await inspect(wire, container_id)
    deadline = state.started + timeout_seconds if timeout_seconds else None
    while True:
        log = new_log()
        reader = LogReader(log)
        try:
            await _follow(wire, container_id, reader, deadline, partial(on_progress, log))
            state = await inspect(wire, container_id)
            if not state.running:
                await _complete(wire, container_id, reader)
                log.close()
                return state
        finally:
            on_progress(log)
        if deadline is not None and time.time() >= deadline:
            await kill(wire, container_id)
        # The engine's side of the log was closed, but not the container: an engine that restarts around it.
        await asyncio.sleep(_PAUSE_SECONDS)


async def _follow(
    wire: Wire, container_id: str, reader: LogReader, deadline: float | None, on_progress: Callable[[], None]
) -> None:
    told = time.monotonic()
    async with open_log(wire, logs_path(container_id)) as stream:
        while True:
            try:
                async with asyncio.timeout(None if deadline is None else max(deadline - time.time(), 0)):
                    data = await stream.read(_READ_BYTES)
            except TimeoutError:
                await kill(wire, container_id)
                deadline = None
                continue
            except OSError:
                return  # whether the container is still there is for others to say
            if not data:
                return
            reader.feed(data)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                on_progress()
                told = time.monotonic()
            # Reading what is there already gives no turn to the others.
            await asyncio.sleep(0)


async def _complete(wire: Wire, container_id: str, reader: LogReader) -> None:
    """Take what the end of the stream may have cut off."""
    async with open_log(wire, logs_path(container_id, follow=False, lines=LogReader.TAIL_LINES)) as stream:
        tail = await stream.read()
    if not reader.lacks(tail):
        return
    reader.begin_again()
    async with open_log(wire, logs_path(container_id, follow=False)) as stream:
        while data := await stream.read(_READ_BYTES):
            reader.feed(data)
            await asyncio.sleep(0)


async def inspect(wire: Wire, container_id: str) -> ContainerState:
    """What the engine knows of a container."""
    return ContainerState.from_engine(await ask(wire, "GET", f"/containers/{quote(container_id)}/json"))


async def kill(wire: Wire, container_id: str) -> None:
    """Kill a container that may have ended by itself just before."""
    try:
        await ask(wire, "POST", f"/containers/{quote(container_id)}/kill")
    except NotFoundError:
        return
    except EngineError:
        if (await inspect(wire, container_id)).running:
            raise


async def stop(wire: Wire, container_id: str, *, seconds: int) -> None:
    """Ask a container to end, and kill it if it has not after this time; one that is gone is no error."""
    try:
        await ask(wire, "POST", f"/containers/{quote(container_id)}/stop?t={seconds}")
    except NotFoundError:
        return
