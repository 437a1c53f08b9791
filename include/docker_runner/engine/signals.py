"""Whether a container was told to end by somebody else: one that ends well then has not done all of its work.

Exit code 0 alone cannot tell: a component that tidies up when its engine is shut down, or when somebody stops it, ends
with it too. The engine tells of each signal that it passes on, to whoever listens at that moment and for a while after.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.wire import LogStream, Wire, open_log
from docker_runner.errors import ApplicationError

# Signals that mean the end, by the numbers that the engine tells. SIGKILL has an exit code of its own; SIGHUP and
# others are messages.
_ENDING = {"2": "SIGINT", "3": "SIGQUIT", "15": "SIGTERM"}
# The engine tells of the end of a container at about the time when it is asked for it.
_PATIENCE_SECONDS = 2.0


class ToldToEndError(ApplicationError):
    """A container that somebody else told to end; it has ended, but not by itself."""

    def __init__(self, signal: str) -> None:
        super().__init__(
            f"The container was told to end from outside ({signal}), by a person or an engine that was shut down. "
            "What it leaves may be incomplete and does not count; the next attempt runs it again."
        )
        self.signal = signal

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signal,)


def _path(state: ContainerState) -> str:
    filters = json.dumps({"container": [state.id], "event": ["kill", "die"]})
    # The engine's clock may be ahead of this machine's.
    until = "" if state.running else f"&until={max(time.time(), state.finished + 1):.3f}"
    return f"/events?since={int(state.started)}{until}&filters={quote(filters)}"


class _Events:
    def __init__(self) -> None:
        self.signal = ""
        self.ended = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            if event.get("Action") == "die":
                self.ended = True
            elif not self.ended:
                told = str(event.get("Actor", {}).get("Attributes", {}).get("signal", ""))
                self.signal = self.signal or _ENDING.get(told, "")


class Signals:
    """Listens to what a container is told; nothing is read before somebody asks.

    Args:
        wire: the engine.
        state: the container.
    """

    def __init__(self, wire: Wire, state: ContainerState) -> None:
        self._stream = LogStream(wire, _path(state))
        self._events = _Events()

    def told(self, *, seconds: float = _PATIENCE_SECONDS) -> str:
        """The signal that told the container to end, which it has; empty if there was none."""
        until = time.monotonic() + seconds
        while not self._events.ended:
            data = self._stream.read(max(until - time.monotonic(), 0.001))
            if not data:
                break
            self._events.feed(data)
        return self._events.signal

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


class SignalReader:
    """As :class:`Signals`, from asyncio."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._events = _Events()

    async def told(self, *, seconds: float = _PATIENCE_SECONDS) -> str:
        """As of :meth:`Signals.told`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._events.ended and (data := await self._stream.read(4096)):
                    self._events.feed(data)
        except (TimeoutError, OSError):
            pass
        return self._events.signal


@asynccontextmanager
async def signals(wire: Wire, state: ContainerState) -> AsyncIterator[SignalReader]:
    """Listen to what a container is told for the time of a block."""
    async with open_log(wire, _path(state)) as stream:
        yield SignalReader(stream)
