"""Containers that outlive whoever started them: followed, left, found again, waited for and stopped."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.waiting import stop, wait_for_container
from docker_runner.engine.watching import Leaving, watch
from docker_runner.engine.wire import Wire
from docker_runner.errors import EngineError, NotFoundError

pytestmark = pytest.mark.engine

MakeSpec = Callable[..., ContainerSpec]
COUNT = "import time, sys\nfor i in range({n}): print('line', i, flush=True); time.sleep({pause})\n"


@dataclass
class Shown:
    """Lines that were shown, and a log that shows them."""

    lines: list[str] = field(default_factory=list)
    redactor: Redactor | None = None

    def log(self, shown: dict[str, int] | None = None) -> ContainerLog:
        return ContainerLog(lambda stream, line: self.lines.append(line), self.redactor, shown=shown)


@pytest.fixture
def start(engine: Engine, spec: MakeSpec, labels: dict[str, str]) -> Iterator[Callable[..., str]]:
    def begin(script: str, **changes: Any) -> str:
        return start_container(engine, spec(script, **changes), Shown().log())[0]

    yield begin
    remove_containers(engine, labels)


@pytest.mark.rules("LG-1", "CT-8")
def test_whoever_comes_next_goes_on_with_the_log_where_it_was_left(engine: Engine, start: Callable[..., str]) -> None:
    container = start(COUNT.format(n=30, pause=0.1))
    shown = Shown()
    first = shown.log()
    leaving = Leaving(after_seconds=1, may_leave=lambda: True)
    assert watch(engine, container, first, name="x", timeout_seconds=0, leaving=leaving) is None
    assert 3 < len(shown.lines) < 25
    before = len(shown.lines)
    second = shown.log(first.shown)
    outcome = watch(engine, container, second, name="x", timeout_seconds=0)
    assert outcome is not None
    assert outcome.exit_code == 0
    assert shown.lines == [f"line {n}" for n in range(30)]
    assert len(shown.lines) > before
    assert outcome.stdout_tail == "".join(f"line {n}\n" for n in range(30)), "the message is the whole one"
    assert 2.5 < outcome.seconds < 30


def test_nobody_is_asked_again_at_once_when_nobody_takes_over(engine: Engine, start: Callable[..., str]) -> None:
    asked: list[float] = []

    def refuse() -> bool:
        asked.append(time.monotonic())
        return False

    container = start("import time; time.sleep(3)")
    leaving = Leaving(0.5, refuse, again_seconds=1)
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=0, leaving=leaving)
    assert outcome is not None
    assert 2 <= len(asked) <= 3
    assert asked[1] - asked[0] >= 1


@pytest.mark.rules("LG-22")
def test_a_secret_over_several_lines_is_hidden_whoever_shows_it(engine: Engine, start: Callable[..., str]) -> None:
    key = "-----BEGIN\nMIIEow\nEND-----"
    script = (
        "import time; print('a', flush=True); time.sleep(0.5); "
        f"print({key[:14]!r}, end='', flush=True); time.sleep(3); print({key[14:]!r}, 'z')"
    )
    container = start(script)
    shown = Shown(redactor=Redactor([key]))
    first = shown.log()
    watch(engine, container, first, name="x", timeout_seconds=0, leaving=Leaving(1.5, lambda: True))
    assert shown.lines == ["a"]
    assert first.shown["stdout"] == 2
    watch(engine, container, shown.log(first.shown), name="x", timeout_seconds=0)
    assert shown.lines == ["a", "[hidden] z"]


@pytest.mark.rules("CT-12", "CT-31")
def test_the_time_limit_counts_from_the_start_whoever_watches(engine: Engine, start: Callable[..., str]) -> None:
    container = start("import time; print('x', flush=True); time.sleep(60)")
    time.sleep(2)
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=2)
    assert outcome is not None
    assert outcome.timed_out
    assert 2 <= outcome.seconds < 20


@pytest.mark.rules("CT-12", "CT-31")
def test_a_container_that_was_killed_at_its_limit_by_somebody_else_has_timed_out(
    engine: Engine, start: Callable[..., str]
) -> None:
    container = start("import time; time.sleep(60)")
    asyncio.run(_wait(engine, container, Shown(), timeout_seconds=1))
    outcome = watch(engine, container, Shown().log(), name="x", timeout_seconds=1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.timed_out) == (137, True)


async def _wait(engine: Engine, container: str, shown: Shown, *, timeout_seconds: int = 0) -> dict[str, int]:
    known: dict[str, int] = {}
    await wait_for_container(
        Wire.of(engine),
        container,
        lambda: shown.log(known),
        timeout_seconds=timeout_seconds,
        on_progress=lambda log: known.update(log.shown),
    )
    return known


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
    deadline = time.monotonic() + 20
    while b"ready" not in engine.client.logs(container):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_component_may_tidy_up_when_it_is_stopped(engine: Engine, start: Callable[..., str]) -> None:
    container = start(TRAP)
    _ready(engine, container)
    shown = Shown()

    async def stop_and_wait() -> None:
        waiting = asyncio.create_task(_wait(engine, container, shown))
        await stop(Wire.of(engine), container, seconds=5)
        await waiting
        await stop(Wire.of(engine), "absent", seconds=5)

    asyncio.run(stop_and_wait())
    assert shown.lines == ["ready", "tidied up"]


@pytest.mark.parametrize(
    ("script", "slow"), [(TRAP, False), ("import time; print('ready', flush=True); time.sleep(60)", True)]
)
def test_stopping_by_labels_gives_some_grace_and_then_kills(
    engine: Engine, spec: MakeSpec, start: Callable[..., str], labels: dict[str, str], script: str, slow: bool
) -> None:
    _ready(engine, start(script))
    began = time.monotonic()
    assert stop_containers(engine, labels, seconds=6) == 1
    assert (time.monotonic() - began >= 6) is slow
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
