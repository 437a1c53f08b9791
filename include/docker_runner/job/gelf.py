"""Where a container with GELF logging sends its messages (CD-20, CD-22, EV-17)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from docker_runner.engine.client import Engine
from docker_runner.engine.gelf_messages import GelfReader
from docker_runner.engine.networks import addresses, host_address
from docker_runner.engine.redaction import Redactor
from docker_runner.job.component_log import ComponentLog
from docker_runner.job.definition import Stage
from docker_runner.job.tools import Tools

if TYPE_CHECKING:
    from docker_runner.engine.gelf import Sender

# The variable that tells a container where to send (EV-17).
GELF_PORT = "KBC_LOGGER_PORT"


@contextmanager
def gelf_of(
    stage: Stage, container: str, *, log: ComponentLog, redactor: Redactor, tools: Tools, port: int = 0
) -> Iterator[Mapping[str, str]]:
    """Take the GELF messages of a container for the time of a block; gives its variables.

    There are none for a component without GELF logging, and where its network has no way to this process: with ``none``
    and ``no-internet``, which are closed to the host, and when the engine is on another machine. Clients that find no
    variables write their log to stdout.

    Args:
        stage: the image that runs.
        container: its container's name.
        log: where its messages go.
        redactor: knows the secrets that they must not show.
        tools: the engine.
        port: where a container that runs already sends to; by default any.

    Raises:
        ApplicationError: no port is free (LG-5).
    """
    logging = stage.component.data["logging"]
    address = host_address(tools.engine, stage.network) if logging["type"] == "gelf" else ""
    if not address:
        if logging["type"] == "gelf":
            _tell(stage, f"its network {stage.network} is closed to the host", tools)
        yield {}
        return
    # Few components need it, and it brings an event loop.
    from docker_runner.engine.gelf import NoSuchAddressError, Transport, gelf_server

    transport = Transport(logging["gelf_server_type"])
    found: list[Sender] = []
    reader = GelfReader(
        redactor, on_message=log.message, on_notice=log.notice, container_id=lambda: found[0].container_id
    )
    with suppress(NoSuchAddressError), _Identification(container, tools, found) as identify:
        with gelf_server(transport, address, reader, identify=identify, port=port) as environment:
            yield environment
        return
    _tell(stage, f"the address {address} of its network {stage.network} is not one of this machine's", tools)
    yield {}


def _tell(stage: Stage, reason: str, tools: Tools) -> None:
    tools.log.warning("%s gets no GELF server: %s. It logs to its outputs.", stage.component.id, reason)


class _Identification:
    """Finds the container as soon as it runs, over a connection of its own: it is asked in another thread."""

    def __init__(self, container: str, tools: Tools, found: list[Sender]) -> None:
        self._container = container
        self._tools = tools
        self._found = found
        self._engine: Engine | None = None

    def __enter__(self) -> _Identification:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine:
            self._engine.close()

    def __call__(self) -> Sender | None:
        self._engine = self._engine or self._tools.connect()
        from docker_runner.engine.gelf import Sender

        seen = addresses(self._engine, self._container)
        if seen is None:
            return None
        self._found.append(Sender(*seen))
        return self._found[0]
