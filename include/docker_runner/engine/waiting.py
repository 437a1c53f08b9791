"""Follows a container from asyncio: hundreds of them in one process, one connection each, no thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from docker_runner.engine.container_logs import ContainerLog, LogReader
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.log_position import FIRST_BYTES, first_moment
from docker_runner.engine.signals import ToldToEndError, signals
from docker_runner.engine.stored_log import KeptBytes, StoredLog
from docker_runner.engine.wire import Wire, ask, open_log
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
        ToldToEndError: somebody else has told it to end.
    """
    state = await inspect(wire, container_id)
    async with signals(wire, state) as told:
        try:
            ended = await _wait(wire, state, new_log, timeout_seconds, on_progress)
        except EngineError:
            # An engine that is shut down tells its containers first.
            if signal := await told.told(seconds=0.05):
                raise ToldToEndError(signal) from None
            raise
        if not (ended.oom_killed or ended.at_time_limit(timeout_seconds)) and (signal := await told.told()):
            raise ToldToEndError(signal)
        return ended


async def _wait(
    wire: Wire,
    state: ContainerState,
    new_log: Callable[[], ContainerLog],
    timeout_seconds: int,
    on_progress: Callable[[ContainerLog], None],
) -> ContainerState:
    container_id = state.id
    # Counted by a clock that nobody sets, from here on.
    ran = max(time.time() - state.started, 0.0)
    deadline = time.monotonic() - ran + timeout_seconds if timeout_seconds else None
    while True:
        log = new_log()
        following = _Following(wire, state, log, deadline, partial(on_progress, log))
        try:
            await following.follow()
            state = await inspect(wire, container_id)
            if not state.running:
                await following.complete()
                log.close()
                return state
        finally:
            on_progress(log)
        if deadline is not None and time.monotonic() >= deadline:
            await kill(wire, container_id)
        # The engine's side of the log was closed, but not the container: an engine that restarts around it.
        await asyncio.sleep(_PAUSE_SECONDS)


class _Following:
    def __init__(
        self,
        wire: Wire,
        state: ContainerState,
        log: ContainerLog,
        deadline: float | None,
        on_progress: Callable[[], None],
    ) -> None:
        self._wire = wire
        self._id = state.id
        self._stored = StoredLog(state, log)
        self._log = log
        self._reader = LogReader(log)
        self._deadline = deadline
        self._on_progress = on_progress

    async def follow(self) -> None:
        told = time.monotonic()
        await self._begin()
        async with open_log(self._wire, self._stored.path()) as stream:
            while True:
                asked = time.time()
                remaining = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
                try:
                    async with asyncio.timeout(remaining):
                        data = await stream.read(_READ_BYTES)
                except TimeoutError:
                    if remaining is None or self._deadline is None or time.monotonic() < self._deadline:
                        return  # the connection's own: the engine's machine is gone
                    await kill(self._wire, self._id)
                    self._deadline = None
                    continue
                except OSError:
                    return  # whether the container is still there is for others to say
                if not data:
                    return
                self._stored.waited(asked)
                self._reader.feed(data)
                if time.monotonic() - told > _PROGRESS_SECONDS:
                    if not self._log.position.first:
                        self._stored.knows(await self._first_moment())
                    self._on_progress()
                    told = time.monotonic()
                # Reading what is there already gives no turn to the others.
                await asyncio.sleep(0)

    async def complete(self) -> None:
        """Take what the end of the stream may have cut off, and tell what is missing."""
        async with open_log(self._wire, self._stored.tail_path()) as stream:
            tail = await stream.read()
        if self._reader.lacks(tail):
            await self._begin()
            await self._whole(self._reader.feed)
        if self._stored.may_miss(self._reader):
            first, kept = await self._first_moment(), KeptBytes()
            await self._whole(kept.feed)
            self._stored.tell_missing(self._reader, kept.count, first)

    async def _whole(self, take: Callable[[bytes], None]) -> None:
        async with open_log(self._wire, self._stored.path(follow=False)) as stream:
            while data := await stream.read(_READ_BYTES):
                take(data)
                await asyncio.sleep(0)

    async def _begin(self) -> None:
        self._reader = self._stored.begin(self._reader, await self._first_moment())

    async def _first_moment(self) -> str:
        async with open_log(self._wire, self._stored.first_path()) as stream:
            try:
                return first_moment(await stream.readexactly(FIRST_BYTES))
            except asyncio.IncompleteReadError as all_of_it:
                return first_moment(all_of_it.partial)


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
