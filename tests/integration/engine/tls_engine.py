"""The machine's engine at a TCP address, behind TLS with certificates of a test's own authority, or open."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from docker_runner.engine.client import LOCAL_SOCKET

Key = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates; each folder that it fills is a ``DOCKER_CERT_PATH``."""

    def __init__(self, name: str) -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), name
        self.certificate = self._sign(name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))

    def certify(self, folder: Path, *, trusts: Authority | None = None) -> Path:
        """Fill a folder with ``ca.pem``, ``cert.pem`` and ``key.pem`` for 127.0.0.1.

        Args:
            folder: made here.
            trusts: whose certificates its owner believes; by default its own authority's.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        folder.mkdir()
        (folder / "ca.pem").write_bytes(_pem((trusts or self).certificate))
        (folder / "cert.pem").write_bytes(_pem(self._sign("somebody", key.public_key(), names)))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return folder

    def _sign(self, name: str, key: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@contextmanager
def engine_at_port(certificates: Path | None = None) -> Iterator[str]:
    """Forward a port to the machine's engine; gives its ``tcp://`` address.

    Args:
        certificates: the server's; its callers need one of the authority that is in there. None is an open port.
    """
    context = None
    if certificates is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    forwarding = _Forwarding()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(forwarding.forward, "127.0.0.1", 0, ssl=context))
    # What callers without a certificate bring about is no news.
    loop.set_exception_handler(lambda *_: None)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(forwarding.end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Forwarding:
    """Carries bytes between callers and the engine; asyncio itself forgets the tasks of connections that ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(LOCAL_SOCKET.removeprefix("unix://"))
        self._writers += [writer, engine_writer]
        for source, target in ((reader, engine_writer), (engine_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, ssl.SSLError):
                while data := await source.read(64 * 1024):
                    target.write(data)
                    await target.drain()
        finally:
            target.close()

    async def end(self) -> None:
        """Give up what is still open."""
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.1)  # they are closed by the loop
