"""An engine that disappears while a component runs."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from docker_runner.engine.client import LOCAL_SOCKET, Engine
from docker_runner.engine.containers import ContainerSpec, Stream, run_container
from docker_runner.errors import EngineError


class Wire:
    """A connection to the engine that can be cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(LOCAL_SOCKET.removeprefix("unix://"))
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        self._path.unlink(missing_ok=True)
        for end in (self._server, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.mark.engine
# Docker-py leaves a socket open when it cannot connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_engine_that_is_lost_in_mid_run_is_named_at_once(
    spec: Callable[..., ContainerSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire(tmp_path / "wire.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/wire.sock")
    seen: list[str] = []

    def cut(stream: Stream, line: str) -> None:
        seen.append(line)
        wire.cut()

    def lose() -> str:
        with Engine.from_environment() as engine:
            try:
                run_container(engine, spec("import time; print('x', flush=True); time.sleep(600)"), cut)
            except EngineError as error:
                return error.message
        return "the run went on"

    began = time.monotonic()
    message = lose()
    gc.collect()
    assert seen == ["x"]
    assert message.startswith("Running the container ")
    assert f"The Docker engine at unix://{tmp_path}/wire.sock does not answer" in message
    assert time.monotonic() - began < 20
    assert "Removing the container" in caplog.text
