"""The real registry, and a line to it that can be bad."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from docker_runner.engine.client import Engine

USER, PASSWORD = "pulling-user", "right-password"
# bcrypt of the password, which is all that the registry reads.
_HASH = "$2b$04$V8HHmvonbT4e1Pn7Gu.T3u1CQKMzDo6KI9.zhGaBKLv9ioERUAiNm"
_SCRIPT = Path(__file__).parents[3] / "scripts" / "ensure_registry.sh"


@contextmanager
def running_registry(folder: Path, *, login: bool = False) -> Iterator[str]:
    """Run a registry on a free port of this machine; gives its address.

    Args:
        folder: where it keeps everything.
        login: whether it wants ``USER`` and ``PASSWORD``.
    """
    program = subprocess.run([_SCRIPT], check=True, capture_output=True, text=True).stdout.split()[-1]
    address = f"127.0.0.1:{_free_port()}"
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    if login:
        (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def push(engine: Engine, image: str, name: str, tag: str, *, login: bool = False) -> str:
    """Push an image that is here under a name, and forget it here with that name; gives the digest."""
    engine.client.tag(image, name, tag)
    auth = {"username": USER, "password": PASSWORD} if login else None
    digest = ""
    for message in engine.client.push(name, tag, stream=True, decode=True, auth_config=auth):
        assert "error" not in message, message
        digest = (message.get("aux") or {}).get("Digest") or digest
    engine.client.remove_image(f"{name}:{tag}")
    return digest


@dataclass
class BadLine:
    """Stands in front of a registry.

    Attributes:
        target: address of the registry.
        cut: how many of the next layers end in their midst.
        spoil: how many of the next layers come with another content.
        pause_seconds: between two pieces of a layer.
        manifests: how often a manifest was fetched.
    """

    target: str
    cut: int = 0
    spoil: int = 0
    pause_seconds: float = 0.0
    manifests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        line = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                line.forward(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        connection = http.client.HTTPConnection(self.target)
        connection.putrequest(request.command, request.path, skip_host=False)
        for name, value in request.headers.items():  # one name may come several times
            if name != "Host":
                connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            if "/manifests/" in request.path and answer.status == 200:
                self.manifests.append(request.path)
            with suppress(OSError):
                self._send(request, body)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        is_layer = "/blobs/" in request.path and len(body) > 100_000
        if is_layer and self.cut > 0:
            self.cut -= 1
            request.wfile.write(body[: len(body) // 2])
            request.close_connection = True
        elif is_layer and self.spoil > 0:
            self.spoil -= 1
            request.wfile.write(body[:-100] + bytes(100))
        elif is_layer and self.pause_seconds:
            size = len(body) // 10 + 1
            for start in range(0, len(body), size):
                request.wfile.write(body[start : start + size])
                request.wfile.flush()
                time.sleep(self.pause_seconds)
        else:
            request.wfile.write(body)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            except HTTPError as error:
                error.close()
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
