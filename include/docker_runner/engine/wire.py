"""The engine's own protocol on a plain socket, for what lasts: logs that are followed, from threads and from asyncio.

Docker-py holds a thread for every stream. HTTP/1.0 is spoken because its answers are not cut into chunks: with one
chunk a line, taking them apart would cost more than reading them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from docker_runner.engine.client import Engine
from docker_runner.errors import EngineError, NotFoundError

_READ_BYTES = 256 * 1024
_ANSWER_SECONDS = 120
_LONGEST_HEAD = 64 * 1024
_HEAD_END = b"\r\n\r\n"
# An engine on another machine that is gone without a word is noticed after two minutes, not never.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


@dataclass(frozen=True)
class Wire:
    """Where an engine listens and how it is spoken to.

    Attributes:
        address: ``unix://…``, ``tcp://host:port`` or ``https://host:port``.
        version: of the API.
        tls: for an engine that wants to be sure of its callers.
    """

    address: str
    version: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def of(cls, engine: Engine) -> Wire:
        """The way to an engine that docker-py is connected to already.

        Raises:
            EngineError: it is reached in a way that only docker-py knows.
        """
        scheme = urlsplit(engine.address).scheme
        if scheme not in ("unix", "tcp", "http", "https"):
            raise EngineError(
                f"Logs cannot be followed at the address {engine.address}: use one that begins with unix:// or tcp://."
            )
        return cls(engine.address, str(engine.client.api_version), _tls(engine))

    def connect(self) -> socket.socket:
        """Open a connection."""
        if self.address.startswith("unix://"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(_ANSWER_SECONDS)
            try:
                connection.connect(self._path)
            except OSError:
                connection.close()
                raise
            return connection
        host, port = self._place
        connection = socket.create_connection((host, port), timeout=_ANSWER_SECONDS)
        _keep_alive(connection)
        return self.tls.wrap_socket(connection, server_hostname=host) if self.tls else connection

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection for asyncio."""
        if self.address.startswith("unix://"):
            return await asyncio.open_unix_connection(self._path)
        host, port = self._place
        reader, writer = await asyncio.open_connection(host, port, ssl=self.tls)
        _keep_alive(writer.get_extra_info("socket"))
        return reader, writer

    def request(self, method: str, path: str) -> bytes:
        """A request without a body."""
        head = f"{method} /v{self.version}{path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
        return head.encode("ascii")

    def lost(self, error: BaseException) -> EngineError:
        """What to say when the engine does not answer."""
        return EngineError(f"The Docker engine at {self.address} does not answer ({error or type(error).__name__}).")

    @property
    def _path(self) -> str:
        return "/" + self.address.removeprefix("unix://").lstrip("/")

    @property
    def _place(self) -> tuple[str, int]:
        parts = urlsplit(self.address)
        return parts.hostname or "localhost", parts.port or (2376 if self.tls else 2375)


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _tls(engine: Engine) -> ssl.SSLContext | None:
    client = engine.client
    if not str(client.base_url).startswith("https://"):
        return None
    context = ssl.create_default_context(cafile=client.verify if isinstance(client.verify, str) else None)
    if client.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client.cert:
        context.load_cert_chain(*([client.cert] if isinstance(client.cert, str) else client.cert))
    return context


def logs_path(
    container_id: str, *, follow: bool = True, lines: int | None = None, since: str = "", times: bool = False
) -> str:
    """Where the log of a container is.

    Args:
        container_id: whose.
        follow: also what it will write.
        lines: only so many of its last lines.
        since: only what was written from this moment on, in seconds since 1970.
        times: with the moment of writing before each line.
    """
    more = f"&tail={lines}" if lines is not None else ""
    more += (f"&since={since}" if since else "") + ("&timestamps=1" if times else "")
    return f"/containers/{quote(container_id)}/logs?follow={int(follow)}&stdout=1&stderr=1{more}"


class LogStream:
    """A container's output: the engine's multiplexed frames.

    Args:
        wire: the engine.
        path: of :func:`logs_path`, or of another call that gives such frames.
        method: of that call.

    Raises:
        EngineError: the engine does not answer, or does not know the container.
    """

    def __init__(self, wire: Wire, path: str, *, method: str = "GET") -> None:
        try:
            self._socket = wire.connect()
        except OSError as error:
            raise wire.lost(error) from error
        try:
            self._socket.sendall(wire.request(method, path))
            head, self._rest = self._head()
            if status := _failure(head):
                raise _refused(status, self._rest + self._all())
        except OSError as error:
            self.close()
            raise wire.lost(error) from error
        except BaseException:
            self.close()
            raise

    def _head(self) -> tuple[bytes, bytes]:
        data = b""
        while _HEAD_END not in data:
            more = self._socket.recv(_READ_BYTES)
            if not more or len(data) > _LONGEST_HEAD:
                raise ConnectionError("it hung up")
            data += more
        head, _, rest = data.partition(_HEAD_END)
        return head, rest

    def _all(self) -> bytes:
        return b"".join(iter(lambda: self._socket.recv(_READ_BYTES), b""))

    def read(self, seconds: float | None) -> bytes | None:
        """The next bytes; none at the end, None when there were none in this time."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(_READ_BYTES)
        except TimeoutError:
            return None
        except ConnectionError:
            return b""  # whether the container is still there is for others to say

    def read_all(self, most: int | None = None) -> bytes:
        """All bytes to the end, or not many more than ``most``."""
        data = b""
        while (most is None or len(data) < most) and (more := self.read(_ANSWER_SECONDS)):
            data += more
        return data

    def hang_up(self) -> None:
        """Want no more; may be called while another thread reads, which then is at the end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and give the socket back."""
        self.hang_up()
        self._socket.close()

    def __enter__(self) -> LogStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def ask(wire: Wire, method: str, path: str) -> Any:
    """Make a short call; give what the engine answers.

    Raises:
        NotFoundError: there is no such container.
        EngineError: the engine does not answer or refuses.
    """
    try:
        async with _answer(wire, method, path) as reader, asyncio.timeout(_ANSWER_SECONDS):
            body = await reader.read()
    except OSError as error:
        raise wire.lost(error) from error
    return json.loads(body) if body.strip() else None


@asynccontextmanager
async def open_log(wire: Wire, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Open a container's log; ``path`` is of :func:`logs_path`."""
    async with _answer(wire, "GET", path) as reader:
        yield reader


@asynccontextmanager
async def _answer(wire: Wire, method: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """The body of an answer that is no refusal."""
    try:
        reader, writer = await wire.open()
    except OSError as error:
        raise wire.lost(error) from error
    try:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write(wire.request(method, path))
                await writer.drain()
                head = await reader.readuntil(_HEAD_END)
                if status := _failure(head):
                    raise _refused(status, await reader.read())
        except (OSError, EOFError, TimeoutError) as error:
            raise wire.lost(error) from error
        yield reader
    finally:
        if wire.tls:
            # All is said, and a farewell by TLS would keep the connection until the other side has answered it.
            writer.transport.abort()
        else:
            writer.close()


def _failure(head: bytes) -> int:
    """The status of an answer that is a refusal; 0 of any other."""
    status = int(head.split(b" ", 2)[1])
    return status if status >= 400 else 0


def _refused(status: int, body: bytes) -> EngineError | NotFoundError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip()
    if status == 404:
        return NotFoundError(message)
    return EngineError(f"The Docker engine refuses: {message}")
