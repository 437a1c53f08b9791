"""The server that a component with GELF logging sends its messages to (LG-5, EV-17).

It listens at the host's address in the component's network, so it lives on the engine's machine, where the log is
followed. ``GelfServer`` belongs to an event loop, e.g. that of a triggerer; ``gelf_server`` runs one in a thread
of its own for everybody else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from docker_runner.engine.gelf_http import HttpRequests
from docker_runner.engine.gelf_messages import ChunkAssembler, FrameSplitter, GelfReader, UnreadableError
from docker_runner.errors import ApplicationError

logger = logging.getLogger(__name__)

PORTS = range(12202, 13203)

_READ_BYTES = 64 * 1024
_MOST_CONNECTIONS = 64
# Datagrams are kept by the kernel while others are read; without room they are lost.
_DATAGRAM_ROOM = 4 * 2**20
# A container that lives shorter than that is not told from others.
_IDENTIFY_SECONDS = 0.02
# After the container has ended: until nothing more comes of what it had sent, and at most.
_QUIET_SECONDS = 0.3
_DRAIN_SECONDS = 10.0
_NOT_OURS = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class Transport(StrEnum):
    """How messages are sent (CD-22)."""

    TCP = "tcp"
    UDP = "udp"
    HTTP = "http"


@dataclass(frozen=True)
class Sender:
    """The one container that may send.

    Attributes:
        container_id: its id.
        addresses: its addresses in its network.
    """

    container_id: str
    addresses: frozenset[str]


class NoSuchAddressError(ApplicationError):
    """The address of the network is not one of this machine's, so no server can listen there."""


class GelfServer:
    """A server in the running event loop; :meth:`start` and :meth:`stop` are called in it.

    Args:
        transport: how messages come.
        address: where it listens.
        reader: takes the messages.
        identify: gives the sender as soon as its container runs, else None; called in another thread until then.
            Nobody else's messages are taken (LG-8).
        port: a certain port, e.g. that of a container that runs already; 0 is the first free one (LG-5).
    """

    def __init__(
        self,
        transport: Transport,
        address: str,
        reader: GelfReader,
        *,
        identify: Callable[[], Sender | None],
        port: int = 0,
    ) -> None:
        self._transport = transport
        self._reader = reader
        self._identify = identify
        self._runs_already = bool(port)
        self._socket = _listening(transport, address, (port,) if port else PORTS)
        self.address, self.port = self._socket.getsockname()[:2]
        self._sender: Sender | None = None
        self._known = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[socket.socket] = set()
        self._last = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """What tells the container where to send (EV-17)."""
        return {"KBC_LOGGER_ADDR": str(self.address), "KBC_LOGGER_PORT": str(self.port)}

    async def start(self) -> None:
        """Take messages from now on."""
        if self._runs_already:
            # It may end before anybody else comes to ask.
            await self._look_for_sender()
        self._spawn(self._find_sender())
        if self._transport is Transport.UDP:
            self._spawn(self._datagrams())
        else:
            # A task that waits for a connection could be cancelled with one in its hands.
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def stop(self) -> None:
        """Take what the container had sent before it ended, then end."""
        began = self._last = time.monotonic()
        while self._sender and (now := time.monotonic()) - began < _DRAIN_SECONDS:
            if now - self._last > (_QUIET_SECONDS if self._connections else _QUIET_SECONDS / 3):
                break
            await asyncio.sleep(0.01)
        if self._sender is None and self._something_came():
            self._reader.drop("GELF messages were lost: the container had ended before it was known whose they are.")
        asyncio.get_running_loop().remove_reader(self._socket)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            connection.close()  # of a task that was cancelled before it began
        self.close()

    def _something_came(self) -> bool:
        """Whether the kernel holds something that can be read, be it an end or a new connection."""
        waiting = select.poll()
        for readable in (self._socket, *self._connections):
            waiting.register(readable, select.POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        """Give the port back; for a server that was not started."""
        self._socket.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find_sender(self) -> None:
        while self._sender is None:
            await self._look_for_sender()
            await asyncio.sleep(0 if self._sender else _IDENTIFY_SECONDS)
        self._known.set()

    async def _look_for_sender(self) -> None:
        try:
            self._sender = await asyncio.to_thread(self._identify)
        except ApplicationError as error:
            logger.warning("%s", error)

    async def _is_sender(self, peer: str) -> bool:
        """Whether this address may send; until the container runs nobody knows."""
        await self._known.wait()
        return self._sender is not None and peer in self._sender.addresses

    async def _datagrams(self) -> None:
        loop = asyncio.get_running_loop()
        chunks = ChunkAssembler()
        await self._known.wait()  # the kernel keeps what comes meanwhile
        while True:
            data, (peer, *_) = await loop.sock_recvfrom(self._socket, _READ_BYTES)
            if not await self._is_sender(peer):
                continue
            self._last = time.monotonic()
            try:
                message = chunks.feed(data, now=self._last)
            except UnreadableError as error:
                self._reader.refuse(data, str(error))
            else:
                self._reader.take(message or b"")

    def _accept(self) -> None:
        try:
            connection, (peer, *_) = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the other side was faster
        self._last = time.monotonic()
        if len(self._connections) >= _MOST_CONNECTIONS:
            connection.close()
            self._reader.drop(f"A connection to the GELF server was refused: {_MOST_CONNECTIONS} are open already.")
            return
        connection.setblocking(False)
        self._connections.add(connection)
        self._spawn(self._connection(connection, peer))

    async def _connection(self, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            if not await self._is_sender(peer):
                return
            talk = HttpRequests(self._reader) if self._transport is Transport.HTTP else _Frames(self._reader)
            while data := await loop.sock_recv(connection, _READ_BYTES):
                self._last = time.monotonic()
                answer = talk.feed(data)
                if answer:
                    await loop.sock_sendall(connection, answer)
                if talk.is_over:
                    break
                await asyncio.sleep(0)  # others have their turn, however fast this one sends
            talk.close()
        except OSError:
            pass  # the container hung up; what it had sent is taken
        finally:
            self._connections.discard(connection)
            connection.close()


class _Frames:
    """A TCP connection."""

    is_over = False

    def __init__(self, reader: GelfReader) -> None:
        self._reader = reader
        self._splitter = FrameSplitter()

    def feed(self, data: bytes) -> bytes:
        for frame in self._splitter.feed(data):
            self._reader.take(frame)
        return b""

    def close(self) -> None:
        self._reader.take(self._splitter.flush())


def _listening(transport: Transport, address: str, ports: range | tuple[int, ...]) -> socket.socket:
    """A socket at the first free port.

    Raises:
        NoSuchAddressError: the address is not this machine's.
        ApplicationError: all ports are taken.
    """
    kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
    for port in ports:
        listening = socket.socket(socket.AF_INET, kind)
        try:
            if kind is socket.SOCK_STREAM:
                # A port whose last connections only linger is free.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_ROOM)
            listening.bind((address, port))
            if kind is socket.SOCK_STREAM:
                listening.listen(_MOST_CONNECTIONS)
            listening.setblocking(False)
            return listening
        except OSError as error:
            listening.close()
            if error.errno in _NOT_OURS:
                raise NoSuchAddressError(f"The address {address} is not one of this machine's.") from None
            if error.errno not in _TAKEN:
                raise
    raise ApplicationError(f"No port from {ports[0]} to {ports[-1]} is free at {address} for a GELF server.")


@contextmanager
def gelf_server(
    transport: Transport, address: str, reader: GelfReader, *, identify: Callable[[], Sender | None], port: int = 0
) -> Iterator[Mapping[str, str]]:
    """A server in a thread of its own for the time of a block; gives the variables of the container (EV-17).

    When the block ends, what the container had sent is taken first. ``reader`` is called in that thread.

    Args:
        transport: how messages come.
        address: where it listens.
        reader: takes the messages.
        identify: as of :class:`GelfServer`.
        port: as of :class:`GelfServer`.

    Raises:
        NoSuchAddressError: the address is not this machine's.
        ApplicationError: no port is free.
    """
    server = GelfServer(transport, address, reader, identify=identify, port=port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"gelf-{server.port}", daemon=True)
    thread.start()
    wait = partial(asyncio.run_coroutine_threadsafe, loop=loop)
    try:
        wait(server.start()).result()
        try:
            yield server.environment
        finally:
            with suppress(TimeoutError):
                wait(server.stop()).result(timeout=_DRAIN_SECONDS + 5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        server.close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
