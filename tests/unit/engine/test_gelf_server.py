"""The GELF server as clients of any kind meet it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from docker_runner.engine.gelf import PORTS, NoSuchAddressError, Sender, Transport, gelf_server
from docker_runner.engine.gelf_messages import GelfMessage, GelfReader
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import ApplicationError

CONTAINER = "0123456789ab" + "c" * 52
HERE = "127.0.0.1"


class Server:
    def __init__(self) -> None:
        self.messages: list[GelfMessage] = []
        self.notices: list[str] = []
        self.address: tuple[str, int] = ("", 0)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    def connect(self, source: str = HERE) -> socket.socket:
        return socket.create_connection(self.address, source_address=(source, 0), timeout=10)

    @contextmanager
    def running(
        self, transport: str, *, identify: Callable[[], Sender | None] | None = None, port: int = 0
    ) -> Iterator[Server]:
        reader = GelfReader(
            Redactor(),
            on_message=self.messages.append,
            on_notice=self.notices.append,
            container_id=lambda: CONTAINER,
        )
        known = Sender(CONTAINER, frozenset({HERE}))
        with gelf_server(Transport(transport), HERE, reader, identify=identify or (lambda: known), port=port) as env:
            self.address = (env["KBC_LOGGER_ADDR"], int(env["KBC_LOGGER_PORT"]))
            yield self


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server() -> Server:
    return Server()


def message(text: str, **fields: Any) -> bytes:
    return json.dumps({"host": CONTAINER[:12], "level": 6, "timestamp": 1, "short_message": text, **fields}).encode()


@pytest.mark.rules("LG-5")
def test_a_free_port_of_the_range_is_taken_for_each_run(server: Server) -> None:
    with server.running("tcp"):
        first = server.address[1]
        with Server().running("tcp") as other:
            assert other.address[1] != first
            assert {first, other.address[1]} <= set(range(12202, 13203))


@pytest.mark.rules("LG-5")
def test_without_a_free_port_the_run_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.running("tcp"):
        port = server.address[1]
        monkeypatch.setattr("docker_runner.engine.gelf.PORTS", range(port, port + 1))
        with pytest.raises(ApplicationError, match=f"No port from {port} to {port} is free"), Server().running("tcp"):
            pass
    assert len(PORTS) == 1001


def test_an_address_of_another_machine_is_told_apart(server: Server) -> None:
    reader = GelfReader(Redactor(), on_message=print, on_notice=print, container_id=str)
    with (
        pytest.raises(NoSuchAddressError, match=r"203\.0\.113\.1 is not one of this machine's"),
        gelf_server(Transport.TCP, "203.0.113.1", reader, identify=lambda: None),
    ):
        pass


def test_messages_over_tcp_are_taken_up_to_the_last_one_in_their_order(server: Server) -> None:
    with server.running("tcp"), server.connect() as client:
        for number in range(500):
            client.sendall(message(f"m{number}") + b"\0")
        client.sendall(message("last, without an end"))
    assert server.texts == [*(f"m{number}" for number in range(500)), "last, without an end"]


def test_messages_of_a_container_that_ended_before_it_was_known_are_said_to_be_lost(server: Server) -> None:
    with server.running("tcp", identify=lambda: None), server.connect() as client:
        client.sendall(message("nobody") + b"\0")
        time.sleep(0.1)
    assert server.messages == []
    assert any("were lost" in notice for notice in server.notices)


def test_a_container_that_runs_already_is_known_before_the_server_is_waited_for(server: Server) -> None:
    known = threading.Event()

    def identify() -> Sender:
        time.sleep(0.3)
        known.set()
        return Sender(CONTAINER, frozenset({HERE}))

    with server.running("tcp"):
        pass
    with server.running("tcp", identify=identify, port=server.address[1]):
        assert known.is_set()


def test_messages_over_udp_that_lie_waiting_when_the_container_ends_are_taken(server: Server) -> None:
    released = threading.Event()

    def identify() -> Sender | None:
        return Sender(CONTAINER, frozenset({HERE})) if released.is_set() else None

    with server.running("udp", identify=identify), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(100):
            client.sendto(message(f"m{number}"), server.address)
        time.sleep(0.2)
        assert server.messages == []
        released.set()
        time.sleep(0.2)
    assert server.texts == [f"m{number}" for number in range(100)]


@pytest.mark.rules("LG-10")
def test_a_datagram_that_cannot_be_read_is_an_error_and_the_next_one_is_taken(server: Server) -> None:
    with server.running("udp"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"\x1e\x0fxx", server.address)
        client.sendto(message("fine"), server.address)
    assert server.texts[0].startswith("A GELF chunk has no header")
    assert server.texts[1:] == ["fine"]


def test_messages_over_http_one_after_the_other_on_one_connection(server: Server) -> None:
    with server.running("http"):
        client = http.client.HTTPConnection(*server.address, timeout=10)
        for body in (message("plain"), iter([message("in "), b""]), message("last")):
            client.request("POST", "/gelf", body=body, encode_chunked=not isinstance(body, bytes))
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (202, b"")
        client.close()
    assert server.texts == ["plain", "in ", "last"]


@pytest.mark.rules("LG-10")
def test_http_requests_that_are_wrong_are_refused(server: Server) -> None:
    with server.running("http"):
        for method, body, status in (("GET", b"", 405), ("POST", b"x" * 300_000, 413)):
            client = http.client.HTTPConnection(*server.address, timeout=10)
            client.request(method, "/gelf", body=body)
            assert client.getresponse().status == status
            client.close()
        with server.connect() as client:
            client.sendall(b"rubbish\r\n\r\n")
            assert client.recv(100) == b""
    assert [text[:40] for text in server.texts] == [
        "A GELF message is larger than 200 KB: xx",
        "A request to the GELF server is not HTTP",
    ]


@pytest.mark.rules("LG-8")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_who_is_not_the_container_is_not_listened_to_whatever_it_calls_itself(server: Server, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with server.running(transport):
        for source in ("127.0.0.2", HERE):
            with socket.socket(socket.AF_INET, kind) as client:
                client.bind((source, 0))
                client.connect(server.address)
                try:
                    client.sendall(message(f"from {source}") + b"\0" * (transport == "tcp"))
                    time.sleep(0.1)
                except OSError:
                    assert source != HERE
    assert server.texts == [f"from {HERE}"]


def test_a_client_that_opens_connections_without_end_does_not_keep_others_out(server: Server) -> None:
    with server.running("tcp"):
        opened = [server.connect() for _ in range(200)]
        until(lambda: server.notices)
        for client in opened:
            client.close()

        def heard() -> bool:
            # It may have to find out first that the others are gone.
            with suppress(OSError), server.connect() as client:
                client.sendall(message("still there") + b"\0")
                time.sleep(0.05)
            return bool(server.texts)

        until(heard)
    assert set(server.texts) == {"still there"}
    assert set(server.notices) == {"A connection to the GELF server was refused: 64 are open already."}


def test_a_server_whose_container_never_came_ends_at_once(server: Server) -> None:
    began = time.monotonic()
    with server.running("tcp", identify=lambda: None), server.connect() as client:
        client.sendall(message("nobody") + b"\0")
    assert server.messages == []
    assert time.monotonic() - began < 8


def test_the_port_of_a_container_that_runs_already_is_taken_again(server: Server) -> None:
    with server.running("tcp"), server.connect() as client:
        client.sendall(message("one") + b"\0")
    port = server.address[1]
    with server.running("tcp", port=port), server.connect() as client:
        client.sendall(message("two") + b"\0")
    assert server.address[1] == port
    assert server.texts == ["one", "two"]
