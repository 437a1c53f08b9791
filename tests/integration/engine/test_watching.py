"""Containers that outlive whoever started them: followed, left, found again, waited for and stopped."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from docker_runner.engine.client import Engine
from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.containers import (
    ContainerSpec,
    find_container,
    remove_containers,
    start_container,
    stop_containers,
)
from docker_runner.engine.live_output import LiveOutput
from docker_runner.engine.log_position import LogPosition
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.signals import ToldToEndError
from docker_runner.engine.waiting import stop, wait_for_container
from docker_runner.engine.watching import Leaving, watch
from docker_runner.engine.wire import Wire
from docker_runner.errors import EngineError, NotFoundError

pytestmark = pytest.mark.engine

MakeSpec = Callable[..., ContainerSpec]
COUNT = "import time, sys\nfor i in range({n}): print('line', i, flush=True); time.sleep({pause})\n"
# What waits until the test lets it go on: a test never guesses how long a container takes to start.
GATE = "import os, time\nfor _ in range(3000): os.path.exists('/data/go') or time.sleep(0.05)\n"
COUNT_IN_TWO = f"{COUNT.format(n=15, pause=0.1)}{GATE}for i in range(15, 30): print('line', i, flush=True)\n"


@dataclass
class Shown:
    """Lines that were shown, and a log that shows them."""

    lines: list[str] = field(default_factory=list)
    redactor: Redactor | None = None

    def log(self, position: LogPosition | None = None) -> ContainerLog:
        return ContainerLog(lambda stream, lines: self.lines.extend(lines), self.redactor, position=position)


@pytest.fixture
def start(engine: Engine, spec: MakeSpec, labels: dict[str, str]) -> Iterator[Callable[..., str]]:
    def begin(script: str, **changes: Any) -> str:
        return start_container(engine, spec(script, **changes), Shown().log()).container_id

    yield begin
    remove_containers(engine, labels)


@pytest.fixture
def listened(engine: Engine, spec: MakeSpec, labels: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a container to which somebody listens from its first byte."""
    outputs: list[LiveOutput] = []

    def begin(script: str, **room: int) -> tuple[str, LiveOutput]:
        container = engine.client.create_container_from_config(spec(script).to_engine("none"), spec().name)["Id"]
        outputs.append(LiveOutput(Wire.of(engine), container, tmp_path, **room))
        engine.client.start(container)
        return container, outputs[-1]

    yield begin
    for output in outputs:
        output.close()
    remove_containers(engine, labels)


@pytest.fixture
def go(tmp_path: Path) -> Callable[[], None]:
    """Opens the gate of the test's container."""
    return (tmp_path / "data" / "go").touch


def leaving_when(condition: Callable[[], Any]) -> Leaving:
    """Leave a container as soon as something holds."""
    return Leaving(0.2, lambda: bool(condition()), again_seconds=0.2)


@pytest.mark.rules("LG-1", "CT-8")
def test_whoever_comes_next_goes_on_with_the_log_where_it_was_left(
    engine: Engine, start: Callable[..., str], go: Callable[[], None]
) -> None:
    container = start(COUNT_IN_TWO)
    shown = Shown()
    first = shown.log()
    leaving = leaving_when(lambda: len(shown.lines) > 3)
    assert watch(engine, container, first, name="x", timeout_seconds=0, leaving=leaving) is None
    before = len(shown.lines)
    assert 3 < before <= 15
    go()
    second = shown.log(first.position)
    outcome = watch(engine, container, second, name="x", timeout_seconds=0)
    assert outcome is not None
    assert outcome.exit_code == 0
    assert shown.lines == [f"line {n}" for n in range(30)]
    assert len(shown.lines) > before
    assert outcome.stdout_tail == "".join(f"line {n}\n" for n in range(30)), "the message is the whole one"
    assert 1.5 <= outcome.seconds < 120


def test_nobody_is_asked_again_at_once_when_nobody_takes_over(
    engine: Engine, start: Callable[..., str], go: Callable[[], None]
) -> None:
    asked: list[float] = []

    def refuse() -> bool:
        asked.append(time.monotonic())
        if len(asked) == 2:
            go()
        return False

    container = start(GATE)
    leaving = Leaving(0.5, refuse, again_seconds=1)
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=0, leaving=leaving)
    assert outcome is not None
    assert len(asked) >= 2
    assert all(later - earlier >= 1 for earlier, later in pairwise(asked))


@pytest.mark.rules("LG-22")
def test_a_secret_over_several_lines_is_hidden_whoever_shows_it(
    engine: Engine, start: Callable[..., str], go: Callable[[], None], tmp_path: Path
) -> None:
    key = "-----BEGIN\nMIIEow\nEND-----"
    seen = tmp_path / "data" / "seen"
    container = start(
        f"print('a', flush=True)\n{GATE.replace('/go', '/seen')}"
        f"print({key[:14]!r}, end='', flush=True)\n{GATE}print({key[14:]!r}, 'z')"
    )
    shown = Shown(redactor=Redactor([key]))
    first = shown.log()

    def secret_has_begun() -> bool:
        if shown.lines:
            seen.touch()
        return b"BEGIN" in engine.client.logs(container)

    watch(engine, container, first, name="x", timeout_seconds=0, leaving=leaving_when(secret_has_begun))
    assert shown.lines == ["a"]
    assert first.position.shown["stdout"] == 2
    go()
    watch(engine, container, shown.log(first.position), name="x", timeout_seconds=0)
    assert shown.lines == ["a", "[hidden] z"]


@pytest.mark.rules("CT-12", "CT-31")
def test_the_time_limit_counts_from_the_start_whoever_watches(engine: Engine, start: Callable[..., str]) -> None:
    container = start("import time; print('x', flush=True); time.sleep(60)")
    time.sleep(2)
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=2)
    assert outcome is not None
    assert outcome.timed_out
    assert 2 <= outcome.seconds < 55


@pytest.mark.rules("CT-12", "CT-31")
def test_a_container_that_was_killed_at_its_limit_by_somebody_else_has_timed_out(
    engine: Engine, start: Callable[..., str]
) -> None:
    container = start("import time; time.sleep(60)")
    asyncio.run(_wait(engine, container, Shown(), timeout_seconds=1))
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.timed_out) == (137, True)


@pytest.mark.rules("CT-12")
def test_a_clock_that_is_set_ahead_ends_no_container(
    engine: Engine, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import time\nfor word in ('begun', 'goes on', 'done'): print(word, flush=True); time.sleep(1.5)"
    container, shown = start(script), Shown()

    async def jump() -> None:
        waiting = asyncio.create_task(_wait(engine, container, shown, timeout_seconds=600))
        while not shown.lines:
            assert not waiting.done()
            await asyncio.sleep(0.05)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600)
        await waiting

    asyncio.run(jump())
    assert shown.lines == ["begun", "goes on", "done"]


@pytest.mark.rules("CT-12")
@pytest.mark.parametrize("timeout_seconds", [0, 600])
def test_a_connection_that_is_lost_ends_no_container(
    engine: Engine, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch, timeout_seconds: int
) -> None:
    container, shown = start("import time; print('begun', flush=True); time.sleep(2); print('done')"), Shown()
    read, losses = asyncio.StreamReader.read, [TimeoutError(110, "Connection timed out")]

    async def lossy(self: asyncio.StreamReader, n: int = -1) -> bytes:
        if shown.lines and losses:
            raise losses.pop()
        return await read(self, n)

    monkeypatch.setattr(asyncio.StreamReader, "read", lossy)
    asyncio.run(_wait(engine, container, shown, timeout_seconds=timeout_seconds))
    assert not losses
    assert shown.lines == ["begun", "done"]


def test_an_engine_that_vanishes_from_the_network_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(f"tcp://127.0.0.1:{listening.getsockname()[1]}", "1.41")

        async def opened() -> int:
            _, writer = await wire.open()
            with closing(writer):
                return int(writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

        assert asyncio.run(opened())
        with wire.connect() as connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 100


async def _wait(
    engine: Engine, container: str, shown: Shown, *, timeout_seconds: int = 0, known: LogPosition | None = None
) -> dict[str, int]:
    position = known or LogPosition()

    def remember(log: ContainerLog) -> None:
        nonlocal position
        position = log.position

    await wait_for_container(
        Wire.of(engine),
        container,
        lambda: shown.log(position),
        timeout_seconds=timeout_seconds,
        on_progress=remember,
    )
    return dict(position.shown)


@pytest.mark.rules("LG-1")
def test_many_containers_are_waited_for_at_once(engine: Engine, spec: MakeSpec, start: Callable[..., str]) -> None:
    name = spec().name
    containers = [start(COUNT.format(n=5, pause=0.3), name=f"{name}-{number}") for number in range(5)]
    showing = [Shown() for _ in containers]

    async def wait_for_all() -> None:
        await asyncio.gather(*(_wait(engine, *pair) for pair in zip(containers, showing, strict=True)))

    asyncio.run(wait_for_all())
    assert all(shown.lines == [f"line {n}" for n in range(5)] for shown in showing)


@pytest.mark.parametrize("ending", ["", "\n"])
def test_the_last_line_is_shown_also_without_a_line_end(engine: Engine, start: Callable[..., str], ending: str) -> None:
    script = f"import sys; sys.stdout.write('y' * 40_000 + '\\nend' + {ending!r})"
    # The engine loses that line sometimes only.
    for wait_in_asyncio in (False, True) * 4:
        container, shown = start(script), Shown()
        if wait_in_asyncio:
            assert asyncio.run(_wait(engine, container, shown))["stdout"] == 40_004 + len(ending)
        else:
            watch(engine, container, shown.log(), name="x", timeout_seconds=0)
        assert [len(line) for line in shown.lines] == [40_000, 3]


def test_a_container_that_is_gone_is_no_success(engine: Engine, start: Callable[..., str]) -> None:
    container = start("import time; time.sleep(60)")
    engine.client.remove_container(container, force=True)
    with pytest.raises(NotFoundError, match="No such container"):
        asyncio.run(_wait(engine, container, Shown()))
    with pytest.raises(EngineError, match="No such container"):
        watch(engine, container, Shown().log(), name="x", timeout_seconds=0)


TRAP = (
    "import signal, sys, time\n"
    "def end(*_): print('tidied up', flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(60)\n"
)


def _ready(engine: Engine, container: str) -> None:
    deadline = time.monotonic() + 120
    while b"ready" not in engine.client.logs(container):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_component_may_tidy_up_when_it_is_stopped(engine: Engine, start: Callable[..., str]) -> None:
    container = start(TRAP)
    _ready(engine, container)
    shown = Shown()

    async def stop_and_wait() -> None:
        waiting = asyncio.create_task(_wait(engine, container, shown))
        await stop(Wire.of(engine), container, seconds=30)
        with pytest.raises(ToldToEndError, match="SIGTERM"):
            await waiting
        await stop(Wire.of(engine), "absent", seconds=5)

    asyncio.run(stop_and_wait())
    assert shown.lines == ["ready", "tidied up"]


@pytest.mark.parametrize("watched", [False, True])
def test_a_component_that_ends_well_because_somebody_stopped_it_has_not_done_its_work(
    engine: Engine, start: Callable[..., str], watched: bool
) -> None:
    container = start(TRAP)
    _ready(engine, container)
    stopping = threading.Timer(1.0 if watched else 0.0, subprocess.run, [["docker", "stop", "--time", "30", container]])
    stopping.start()
    if not watched:
        stopping.join()
    with pytest.raises(ToldToEndError, match=r"told to end from outside \(SIGTERM\)"):
        watch(engine, container, Shown().log(), name="x", timeout_seconds=0)
    assert engine.client.inspect_container(container)["State"]["ExitCode"] == 0
    stopping.join()


def test_an_engine_whose_clock_is_ahead_tells_all_the_same_who_was_stopped(
    engine: Engine, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = start(TRAP)
    _ready(engine, container)
    subprocess.run(["docker", "stop", "--time", "30", container], check=True)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    with pytest.raises(ToldToEndError, match="SIGTERM"):
        watch(engine, container, Shown().log(), name="x", timeout_seconds=0)


def test_a_signal_that_does_not_mean_the_end_changes_nothing(
    engine: Engine, start: Callable[..., str], go: Callable[[], None]
) -> None:
    container = start(
        "import signal; signal.signal(signal.SIGHUP, lambda *_: print('reads anew', flush=True))\n"
        f"print('ready', flush=True)\n{GATE}"
    )
    _ready(engine, container)
    engine.client.kill(container, "SIGHUP")
    go()
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=0)
    assert outcome is not None
    assert (outcome.exit_code, outcome.stdout_tail) == (0, "ready\nreads anew\n")


@pytest.mark.parametrize(
    ("script", "slow"), [(TRAP, False), ("import time; print('ready', flush=True); time.sleep(60)", True)]
)
def test_stopping_by_labels_gives_some_grace_and_then_kills(
    engine: Engine, spec: MakeSpec, start: Callable[..., str], labels: dict[str, str], script: str, slow: bool
) -> None:
    _ready(engine, start(script))
    grace = 4 if slow else 60
    began = time.monotonic()
    assert stop_containers(engine, labels, seconds=grace) == 1
    assert (time.monotonic() - began >= grace) is slow
    assert find_container(engine, spec().name) is None
    assert stop_containers(engine, labels) == 0


def test_somebody_elses_container_is_never_found(engine: Engine, spec: MakeSpec, base_image: str) -> None:
    name = f"{spec().name}-theirs"
    other = engine.client.create_container_from_config({"Image": base_image, "Labels": {"theirs": "1"}}, name)["Id"]
    try:
        assert find_container(engine, name) is None
    finally:
        engine.client.remove_container(other, force=True)


def test_an_engine_that_is_not_there_is_named() -> None:
    wire = Wire("unix:///nowhere/docker.sock", "1.41")
    with pytest.raises(EngineError, match=re.escape("unix:///nowhere/docker.sock does not answer")):
        asyncio.run(stop(wire, "x", seconds=1))


# Lines of every length that the engine treats differently, and all kinds of ends.
AWKWARD = (
    "import sys\n"
    "out, size = sys.stdout.buffer, 16 * 1024\n"
    "for n in (0, 1, 99, size - 2, size, size + 1, 2 * size, 3 * size + 5, 70_000): out.write(b'y' * n + b'|\\n')\n"
    "out.write(b'a\\rb\\r\\n\\n\\0\\xff\\xc5\\xbe\\n'); out.flush()\n"
    "sys.stderr.write('last ' + 'e' * 40_000 + '\\nno end')\n"
)


@pytest.mark.rules("LG-1", "LG-2", "LG-3")
def test_what_is_heard_live_is_what_the_stored_log_says(listened: Callable[..., Any], engine: Engine) -> None:
    live, stored = Shown(), Shown()
    container, output = listened(AWKWARD)
    first, second = live.log(), stored.log()
    outcome = watch(engine, container, first, name="x", timeout_seconds=0, output=output)
    again = watch(engine, container, second, name="x", timeout_seconds=0)
    assert outcome is not None
    assert again is not None
    assert sorted(live.lines) == sorted(stored.lines)
    assert first.position.shown == second.position.shown
    assert (outcome.stdout_tail, outcome.stderr_tail) == (again.stdout_tail, again.stderr_tail)


NUMBERS = "import sys\nfor n in range({n}): sys.stdout.write('%099d\\n' % n)"


@pytest.mark.rules("LG-1")
@pytest.mark.parametrize("room", [2**30, 100_000])
def test_a_component_is_not_slowed_by_a_slow_reader_and_no_line_is_lost_or_shown_twice(
    listened: Callable[..., Any], engine: Engine, room: int
) -> None:
    count = 60_000
    container, output = listened(NUMBERS.format(n=count), memory_bytes=50_000, file_bytes=room)
    # Nobody takes anything until the component has ended.
    assert engine.client.wait(container, timeout=240)["StatusCode"] == 0
    shown = Shown()
    outcome = watch(engine, container, shown.log(), name="x", timeout_seconds=0, output=output)
    assert outcome is not None
    assert output.fell_behind is (room < 2**30)
    assert list(map(int, shown.lines)) == list(range(count))


@pytest.mark.rules("LG-1")
def test_who_listened_leaves_to_somebody_who_reads(
    listened: Callable[..., Any], engine: Engine, go: Callable[[], None]
) -> None:
    container, output = listened(COUNT_IN_TWO)
    shown = Shown()
    first = shown.log()
    leaving = leaving_when(lambda: len(shown.lines) > 3)
    assert watch(engine, container, first, name="x", timeout_seconds=0, output=output, leaving=leaving) is None
    assert 3 < len(shown.lines) <= 15
    go()
    asyncio.run(_wait(engine, container, shown, known=first.position))
    assert shown.lines == [f"line {n}" for n in range(30)]


SMALL = 200_000  # bytes that a file of the engine's log may have here


@pytest.mark.rules("LG-1")
@pytest.mark.parametrize("in_asyncio", [False, True])
def test_what_the_engine_has_dropped_is_said_to_be_missing(
    engine: Engine,
    start: Callable[..., str],
    go: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    in_asyncio: bool,
) -> None:
    container = start(f"print('a' * 9_000, flush=True)\n{GATE}{NUMBERS.format(n=20_000)}", log_file_bytes=SMALL)
    shown = Shown()
    first = shown.log()
    _until_written(engine, container, 9_001)
    leaving = leaving_when(lambda: shown.lines)
    assert watch(engine, container, first, name="x", timeout_seconds=0, leaving=leaving) is None
    first.begins(_first_moment(engine, container))
    assert shown.lines == ["a" * 9_000]
    go()
    engine.client.wait(container, timeout=240)
    if in_asyncio:
        asyncio.run(_wait(engine, container, shown, known=first.position))
    else:
        watch(engine, container, shown.log(first.position), name="x", timeout_seconds=0)
    numbers = list(map(int, shown.lines[1:]))
    assert numbers == list(range(numbers[0], 20_000)), "what it has is shown, all of it, and once"
    assert 0 < len(numbers) < 8_000
    (told,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert re.search(r"has dropped the beginning .* What was written from \d\d:.* UTC \(\d+\.\d s\) is missing", told)


def _until_written(engine: Engine, container: str, size: int) -> None:
    """Wait until the engine has so many bytes of a container, however long it takes to start."""
    deadline = time.monotonic() + 120
    while len(engine.client.logs(container, tail="all")) < size:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _first_moment(engine: Engine, container: str) -> str:
    return str(engine.client.logs(container, timestamps=True, tail="all").split(b" ")[0].decode())


@pytest.mark.rules("LG-1")
def test_a_log_that_was_dropped_behind_what_was_shown_goes_on_without_a_gap(
    engine: Engine, start: Callable[..., str], go: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    lines = "import sys, time\nfor n in range({n}): sys.stdout.write('%099d\\n' % n); sys.stdout.flush()\n"
    container = start(f"{lines.format(n=6_000)}{GATE}print(6000)", log_file_bytes=SMALL)
    shown = Shown()
    first = shown.log()
    leaving = leaving_when(lambda: shown.lines and int(shown.lines[-1]) == 5_999)
    assert watch(engine, container, first, name="x", timeout_seconds=0, leaving=leaving) is None
    first.begins("2000-01-01T00:00:00Z")
    go()
    engine.client.wait(container, timeout=240)
    watch(engine, container, shown.log(first.position), name="x", timeout_seconds=0)
    assert int(shown.lines[-1]) == 6_000
    assert any("Nothing is missing here" in record.message for record in caplog.records)


@pytest.mark.rules("LG-1")
@pytest.mark.parametrize("in_asyncio", [False, True])
def test_an_output_of_more_than_the_engine_keeps_does_not_end_as_if_it_were_whole(
    engine: Engine, start: Callable[..., str], caplog: pytest.LogCaptureFixture, in_asyncio: bool
) -> None:
    container = start(NUMBERS.format(n=20_000), log_file_bytes=SMALL)
    engine.client.wait(container, timeout=240)
    shown = Shown()
    if in_asyncio:
        asyncio.run(_wait(engine, container, shown))
    else:
        watch(engine, container, shown.log(), name="x", timeout_seconds=0)
    assert len(shown.lines) < 20_000
    assert any("whether that is all cannot be told" in record.message for record in caplog.records)
