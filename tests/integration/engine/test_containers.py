"""What a component experiences in its container, and what is left of it."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from docker_runner.engine.client import Engine
from docker_runner.engine.containers import ContainerSpec, Stream, remove_containers, run_container
from docker_runner.engine.redaction import Redactor
from docker_runner.errors import EngineError, UserError

pytestmark = pytest.mark.engine

Run = Callable[..., Any]
MakeSpec = Callable[..., ContainerSpec]
Labels = dict[str, str]

ROW = "com.keboola.docker-runner.rowId"


def names(engine: Engine, labels: Labels) -> list[str]:
    found = engine.client.containers(all=True, filters={"label": [f"{key}={value}" for key, value in labels.items()]})
    return [name for container in found for name in container["Names"]]


@pytest.mark.rules("LG-1", "D14", "CT-8", "CT-9")
def test_both_outputs_are_shown_line_by_line_in_their_order(engine: Engine, spec: MakeSpec, labels: Labels) -> None:
    lines: list[tuple[str, str]] = []

    def take(stream: Stream, line: str) -> None:
        lines.append((stream.value, line))
        (spec().data / line.replace(" ", "")).touch()

    # Each line waits until the one before is shown: two outputs are two streams, whose order nobody knows otherwise.
    outcome = run_container(
        engine,
        spec("""
import os, sys, time
for number in range(3):
    for stream, word in ((sys.stdout, "out"), (sys.stderr, "err")):
        print(word, number, file=stream, flush=True)
        while not os.path.exists(f"/data/{word}{number}"): time.sleep(0.02)
"""),
        take,
    )
    assert lines == [(s, f"{s[3:]} {n}") for n in range(3) for s in ("stdout", "stderr")]
    assert (outcome.exit_code, outcome.oom_killed, outcome.timed_out) == (0, False, False)
    assert outcome.stdout_tail == "out 0\nout 1\nout 2\n"
    assert outcome.stderr_tail == "err 0\nerr 1\nerr 2\n"
    assert 0 < outcome.seconds < 60
    assert names(engine, labels) == []


@pytest.mark.rules("LG-1", "D14")
def test_a_line_is_shown_while_the_component_still_runs(engine: Engine, spec: MakeSpec) -> None:
    seen: list[str] = []

    def see(stream: Stream, line: str) -> None:
        seen.append(line)
        (spec().data / "seen").touch()

    script = (
        "import os, time; print('first', flush=True); until = time.monotonic() + 30\n"
        "while not os.path.exists('/data/seen') and time.monotonic() < until: time.sleep(0.05)\n"
        "print('seen:', os.path.exists('/data/seen'))"
    )
    run_container(engine, spec(script), see)
    assert seen == ["first", "seen: True"]


@pytest.mark.rules("CT-32", "CT-33")
@pytest.mark.parametrize("exit_code", [0, 1, 2, 20, 255])
def test_the_exit_code_is_the_components_own(run: Run, exit_code: int) -> None:
    ran = run(f"import sys; print('why', file=sys.stderr); sys.exit({exit_code})")
    assert ran.outcome.exit_code == exit_code
    assert ran.outcome.stderr_tail == "why\n"


@pytest.mark.rules("CT-31")
def test_a_component_that_is_killed_ends_with_137_and_not_for_time_or_memory(engine: Engine, spec: MakeSpec) -> None:
    def kill(stream: Stream, line: str) -> None:
        engine.client.kill(spec().name)

    outcome = run_container(engine, spec("import time; print('x', flush=True); time.sleep(60)"), kill)
    assert (outcome.exit_code, outcome.oom_killed, outcome.timed_out) == (137, False, False)


@pytest.mark.rules("CT-30", "CT-8")
def test_a_component_that_needs_too_much_memory_is_recognised(run: Run) -> None:
    ran = run("a = bytearray(400 * 2**20)", memory_bytes=32 * 2**20, memory_swap_bytes=32 * 2**20)
    assert (ran.outcome.exit_code, ran.outcome.oom_killed) == (137, True)


@pytest.mark.rules("CT-12", "CT-9")
def test_a_component_is_killed_at_its_time_limit_and_what_it_said_is_kept(
    run: Run, engine: Engine, labels: Labels
) -> None:
    # Long enough for it to say something; on a busy machine that takes longer.
    for limit in (2, 10, 60):
        ran = run("import time; print('working', flush=True); time.sleep(600)", timeout_seconds=limit)
        assert (ran.outcome.exit_code, ran.outcome.timed_out) == (137, True)
        assert limit <= ran.outcome.seconds < 300
        if ran.stdout:
            break
    assert ran.stdout == ["working"]
    assert names(engine, labels) == []


@pytest.mark.rules("CT-12")
def test_the_time_limit_holds_for_a_component_that_never_stops_talking(run: Run) -> None:
    ran = run("while True: print('x' * 1000)", timeout_seconds=1)
    assert ran.outcome.timed_out
    assert ran.outcome.seconds < 120


@pytest.mark.rules("CT-12")
def test_the_time_limit_holds_for_a_component_that_closed_its_outputs(run: Run) -> None:
    ran = run("import os, time; os.close(1); os.close(2); time.sleep(600)", timeout_seconds=2)
    assert (ran.outcome.exit_code, ran.outcome.timed_out) == (137, True)
    assert ran.outcome.seconds < 120


@pytest.mark.rules("D9")
def test_a_time_limit_of_0_is_none(run: Run) -> None:
    assert run("import time; time.sleep(1.5)", timeout_seconds=0).outcome.exit_code == 0


def test_fifty_megabytes_of_output_pass_quickly_in_bounded_memory(engine: Engine, spec: MakeSpec) -> None:
    lines = 0

    def count(stream: Stream, line: str) -> None:
        nonlocal lines
        lines += 1

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    outcome = run_container(
        engine,
        spec("import sys\nline = 'x' * 99 + '\\n'\nfor i in range(5000): sys.stdout.write(line * 100)"),
        count,
        redactor=Redactor(["a-secret", "another-secret"]),
    )
    assert outcome.exit_code == 0
    assert lines == 500_000
    assert len(outcome.stdout_tail) == 1_000_000
    assert time.process_time() - began < 20  # measured: 1.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


@pytest.mark.rules("LG-3")
def test_broken_characters_and_very_long_lines_are_shown(run: Run) -> None:
    ran = run(r"import sys; sys.stdout.buffer.write(b'caf\xc3\xa9 \xff\xfe broken\n' + b'y' * 150_000 + b'\nend')")
    assert ran.stdout[0] == "caf\u00e9  broken"
    assert [len(line) for line in ran.stdout[1:]] == [60_010, 60_010, 30_000, 3]


@pytest.mark.rules("LG-22", "D12")
def test_secrets_are_hidden_across_writes_and_lines_in_lines_and_tails(run: Run) -> None:
    key = "-----BEGIN-----\nMIIEow\n-----END-----"
    script = f"""
import sys, time
for part in ("my pass", "word-123 ", {key[:20]!r}, {key[20:]!r}, "\\n", "done"):
    print(part, end="", flush=True); time.sleep(0.05)
print("bad password-123", file=sys.stderr)
"""
    ran = run(script, redactor=Redactor(["password-123", key]))
    assert ran.stdout == ["my [hidden] [hidden]", "done"]
    assert ran.outcome.stdout_tail == "my [hidden] [hidden]\ndone"
    assert ran.outcome.stderr_tail == "bad [hidden]\n"


@pytest.mark.rules("CT-9")
def test_a_container_that_a_crashed_attempt_left_is_replaced(engine: Engine, spec: MakeSpec, run: Run) -> None:
    left = engine.client.create_container_from_config(
        spec("import time; time.sleep(600)").to_engine("none"), spec().name
    )
    engine.client.start(left["Id"])
    ran = run("print('new')")
    assert (ran.stdout, ran.outcome.exit_code) == (["new"], 0)
    assert ran.outcome.container_id != left["Id"]


def test_somebody_elses_container_of_the_same_name_is_left_alone(
    engine: Engine, spec: MakeSpec, run: Run, base_image: str
) -> None:
    name = spec().name
    other = engine.client.create_container_from_config({"Image": base_image, "Labels": {"theirs": "1"}}, name)["Id"]
    try:
        with pytest.raises(EngineError, match=f"not Docker Runner's.*docker rm -f {name}"):
            run("")
        assert engine.client.inspect_container(other)["Name"] == f"/{name}"
    finally:
        engine.client.remove_container(other, force=True)


class LogLostError(Exception):
    pass


@pytest.mark.rules("CT-9")
@pytest.mark.parametrize("error", [LogLostError, KeyboardInterrupt])
def test_no_container_is_left_when_taking_a_line_fails(
    engine: Engine, spec: MakeSpec, labels: Labels, error: type[BaseException]
) -> None:
    def fail(stream: Stream, line: str) -> None:
        raise error

    with pytest.raises(error):
        run_container(engine, spec("import time; print('x', flush=True); time.sleep(600)"), fail)
    assert names(engine, labels) == []


@pytest.mark.rules("CT-9")
def test_no_container_is_left_after_ctrl_c_while_it_is_silent(engine: Engine, spec: MakeSpec, labels: Labels) -> None:
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_container(engine, spec("import time; time.sleep(600)"), lambda stream, line: None)
    timer.join()
    assert names(engine, labels) == []


def test_a_container_that_is_removed_from_outside_ends_the_run(engine: Engine, spec: MakeSpec, labels: Labels) -> None:
    removed: list[int] = []

    def remove(stream: Stream, line: str) -> None:
        removed.append(remove_containers(engine, labels))

    script = "import time; print('x', flush=True); time.sleep(600)"
    with pytest.raises(EngineError, match="Running the container"):
        run_container(engine, spec(script), remove)
    assert removed == [1]


def test_containers_are_removed_by_all_of_their_labels(engine: Engine, spec: MakeSpec, labels: Labels) -> None:
    for number, row in enumerate(("1", "1", "2")):
        one = replace(spec("import time; time.sleep(600)"), name=f"{spec().name}-{number}")
        one = replace(one, labels={**labels, ROW: row})
        container = engine.client.create_container_from_config(one.to_engine("none"), one.name)["Id"]
        if number:
            engine.client.start(container)
    assert remove_containers(engine, {**labels, ROW: "1"}) == 2
    assert names(engine, labels) == [f"/{spec().name}-2"]
    assert remove_containers(engine, labels) == 1
    assert remove_containers(engine, labels) == 0
    with pytest.raises(ValueError, match="every container"):
        remove_containers(engine, {})


@pytest.mark.rules("CT-41")
@pytest.mark.parametrize(
    ("line", "exit_code", "message"),
    [
        ('ENTRYPOINT ["/no/such/program"]', 127, "/no/such/program"),
        ('ENTRYPOINT ["/etc/passwd"]', 126, "permission denied"),
    ],
)
def test_an_image_whose_program_cannot_be_run_says_so(
    run: Run, build: Callable[..., str], line: str, exit_code: int, message: str
) -> None:
    ran = run("", image=build(line))
    assert ran.outcome.exit_code == exit_code
    assert "could not be started" in ran.outcome.stderr_tail
    assert message in ran.outcome.stderr_tail
    assert ran.lines == [("stderr", ran.outcome.stderr_tail.strip())]


def test_a_folder_that_the_engine_does_not_see_is_named(run: Run, spec: MakeSpec) -> None:
    with pytest.raises(EngineError, match="/nowhere/data"):
        run("", data="/nowhere/data")


def test_what_the_engine_calls_impossible_is_the_users_to_mend(run: Run) -> None:
    with pytest.raises(UserError, match=r"The engine refuses the container .*memory"):
        run("", memory_bytes=1_000_000)


def test_an_image_that_is_not_there_is_named(run: Run) -> None:
    with pytest.raises(EngineError, match=r"docker-runner-test/absent"):
        run("", image="docker-runner-test/absent:1")
