"""The connection to a Docker engine, and the one place where its errors become the runner's."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from docker_runner.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

logger = logging.getLogger(__name__)

LOCAL_SOCKET = "unix:///var/run/docker.sock"

# An engine under load takes long to create or inspect; streams (attach, wait, pull) have their own limits.
_CALL_TIMEOUT_SECONDS = 120
# Spoken until the engine has told its own version.
_FIRST_API_VERSION = "1.41"
# Where Python keeps the operating system's errors; requests has OSErrors of its own, which only wrap them.
_OWN_ERRORS = ("builtins", "socket", "ssl", "http.client")
# How an engine may be reached: by docker-py, and by the runner itself when it follows logs.
_SCHEMES = ("unix", "tcp", "http", "https")
_SHOWN_CHARACTERS = 200


class Engine:
    """A Docker engine: a thin holder of docker-py's low-level client.

    Importing docker-py takes a few tenths of a second, so it happens when an engine is opened, not before.

    Args:
        client: a ``docker.APIClient``, e.g. of Airflow's ``DockerHook``; a ``docker.DockerClient`` is taken as well.
        address: where the engine listens, for messages.
    """

    def __init__(self, client: APIClient, *, address: str = "") -> None:
        self.client: APIClient = getattr(client, "api", client)
        self.address = address or str(self.client.base_url)

    @classmethod
    def from_environment(cls) -> Engine:
        """Open the engine at ``DOCKER_HOST`` (with ``DOCKER_TLS_VERIFY``, ``DOCKER_CERT_PATH``) or the local socket.

        Raises:
            EngineError: the engine is down or may not be used, or the certificates do not fit; says at which address
                and what to do.
        """
        address = os.environ.get("DOCKER_HOST") or LOCAL_SOCKET
        if address.partition("://")[0] not in _SCHEMES:
            raise EngineError(f"DOCKER_HOST must begin with unix:// or tcp://, not as {address!r} does.")
        _knock(address)

        import docker.utils
        from docker import APIClient
        from docker.errors import DockerException

        try:
            options = docker.utils.kwargs_from_env()
            client = _connect(APIClient, _FIRST_API_VERSION, options)
            # Docker-py's own "auto" asks /version, for which the engine runs other programs: 12 ms against 1 ms.
            answer = client.get(f"{client.base_url}/_ping")
            if not answer.ok:
                client.close()
                raise EngineError(_no_engine(address, f"{answer.status_code} {answer.text.strip()}"))
            version = answer.headers.get("Api-Version") or _FIRST_API_VERSION
            if version != _FIRST_API_VERSION:
                client.close()
                client = _connect(APIClient, version, options)
        except (DockerException, OSError) as error:  # all errors of requests are OSErrors
            raise EngineError(_unreachable(address, error, with_tls=_wants_tls())) from error
        return cls(client, address=address)

    @cached_property
    def cpus(self) -> int:
        """How many CPUs the engine's machine has, which need not be this one; asked once.

        Raises:
            EngineError: the engine does not answer.
        """
        with engine_errors(self, "Asking for the engine's CPUs"):
            return int(self.client.info()["NCPU"])

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine({self.address})"


@contextmanager
def engine_errors(engine: Engine, doing: str) -> Iterator[None]:
    """Turn errors of docker-py and of the connection into ``EngineError``.

    Args:
        engine: whose calls the block makes.
        doing: what was tried, to begin the message with, e.g. ``Creating container x``.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise EngineError(f"{doing} failed: {explanation(error)}") from error
    except (DockerException, RequestException) as error:
        raise EngineError(f"{doing} failed. {_unreachable(engine.address, error)}") from error


def explanation(error: Exception) -> str:
    """The engine's own words in an error of docker-py, without its HTTP wrapping."""
    return str(getattr(error, "explanation", None) or error).strip()


def _knock(address: str) -> None:
    """Find out that a local engine is down before docker-py is imported, which would leave its socket open."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocking:
            try:
                knocking.connect("/" + address.removeprefix("unix://").lstrip("/"))
            except OSError as error:
                raise EngineError(_unreachable(address, error)) from error


def _connect(factory: type[APIClient], version: str, options: Mapping[str, Any]) -> APIClient:
    client = factory(version=version, timeout=_CALL_TIMEOUT_SECONDS, **options)
    # An engine is reached directly: proxies and authorities that the environment names are those of the internet (and
    # REQUESTS_CA_BUNDLE would go before the engine's own ca.pem). Looking for them costs as much as a call itself.
    client.trust_env = False
    return client


def _wants_tls() -> bool:
    """Whether docker-py is told to use TLS."""
    return bool(os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_CERT_PATH"))


def _unreachable(address: str, error: Exception, *, with_tls: bool = False) -> str:
    reason = _root_cause(error)
    if isinstance(reason, PermissionError):
        return (
            f"The Docker engine at {address} may not be used by this user (permission denied). "
            "Add the user to the group docker (sudo usermod -aG docker $USER) and log in again."
        )
    # A side that does not accept the other's certificate may just hang up.
    hung_up = with_tls and isinstance(reason, ConnectionError) and not isinstance(reason, ConnectionRefusedError)
    if hung_up or isinstance(reason, ssl.SSLError) or type(error).__name__.startswith("TLS"):
        return (
            f"The Docker engine at {address} and this machine do not accept each other's certificates ({reason}). "
            "DOCKER_CERT_PATH must be a folder with ca.pem, cert.pem and key.pem for this engine, DOCKER_TLS_VERIFY "
            "must be 1; an engine without TLS needs both unset."
        )
    return (
        f"The Docker engine at {address} does not answer ({reason}). "
        "Start it (sudo systemctl start docker, or Docker Desktop), or set DOCKER_HOST to the address of one that runs."
    )


def _no_engine(address: str, said: str) -> str:
    return (
        f"What listens at {address} does not answer as a Docker engine does: {said[:_SHOWN_CHARACTERS]}. Set "
        "DOCKER_HOST to the address of an engine; one that wants TLS needs DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH."
    )


def _root_cause(error: BaseException) -> BaseException:
    """The operating system's error inside the layers of docker-py, requests and urllib3."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        queue += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
    return next((one for one in seen if isinstance(one, OSError) and type(one).__module__ in _OWN_ERRORS), error)
