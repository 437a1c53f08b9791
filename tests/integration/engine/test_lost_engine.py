"""An engine that disappears while a component runs."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.end_to_end.own_engine import OwnEngine

from docker_runner.engine.client import LOCAL_SOCKET, Engine
from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.containers import ContainerSpec, Stream, run_container, start_container
from docker_runner.engine.signals import ToldToEndError
from docker_runner.engine.waiting import wait_for_container
from docker_runner.engine.wire import Wire
from docker_runner.errors import EngineError


class Cable:
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
    wire = Cable(tmp_path / "wire.sock")
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
    assert time.monotonic() - began < 120
    assert "Removing the container" in caplog.text


@pytest.fixture
def own_engine(script_image: str) -> Iterator[OwnEngine]:
    engine = OwnEngine(script_image)
    try:
        engine.start().load()
        yield engine
    finally:
        engine.stop()


# Comes to its end when it is told to end and then has some seconds left.
GOES_ON = (
    "import signal, sys, time\n"
    "def end(*_): time.sleep(3); open('/data/out/ended', 'w').write('x'); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
)
TIDIES_UP = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    "print('ready', flush=True); time.sleep(600)"
)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_component_that_tidies_up_when_its_engine_is_shut_down_has_not_done_its_work(
    own_engine: OwnEngine, spec: Callable[..., ContainerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    ended: list[str] = []

    def shut_down(stream: Stream, line: str) -> None:
        own_engine.shut_down()

    def wait(container: str) -> None:
        wire = Wire.of(engine)
        waiting = wait_for_container(
            wire, container, lambda: ContainerLog(lambda *_: None), timeout_seconds=0, on_progress=lambda _: None
        )
        try:
            asyncio.run(waiting)
        except ToldToEndError as error:
            ended.append(error.signal)

    with Engine.from_environment() as engine:
        other = start_container(
            engine, spec(TIDIES_UP, name=f"{spec().name}-other"), ContainerLog(lambda *_: None)
        ).container_id
        thread = threading.Thread(target=wait, args=(other,))
        thread.start()
        with pytest.raises(ToldToEndError):
            run_container(engine, spec(TIDIES_UP), shut_down)
        thread.join()
    assert ended == ["SIGTERM"], "a triggerer sees it too"
    gc.collect()


@pytest.mark.rules("CT-9")
@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_component_does_not_come_to_its_end_while_an_engine_that_was_killed_ends_it(
    own_engine: OwnEngine, spec: Callable[..., ContainerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    goes_on = spec(GOES_ON)
    with Engine.from_environment() as engine, pytest.raises(EngineError):
        run_container(engine, goes_on, lambda *_: own_engine.kill())
    own_engine.start()
    with Engine.from_environment() as engine:
        state = engine.client.inspect_container(goes_on.name)["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 137)
    assert not (goes_on.data / "out" / "ended").exists(), "the next attempt would do all of its work again"
    gc.collect()
