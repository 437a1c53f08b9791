"""Containers that run for long: they hold no worker, outlive whatever dies, and end when they are cancelled."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.end_to_end.running import WAIT, Running, states, until
from tests.installation import SCRIPT

from docker_runner.engine.containers import LABEL_PREFIX

pytestmark = [pytest.mark.engine, pytest.mark.airflow]

TASK = "run_component"
LEFT = "Leaving the container to the triggerer; the worker is free."
OUTPUT = {"output": {"tables": [{"source": "r.csv", "destination": "out.c-main.{name}", "incremental": True}]}}
# Goes on until the test has seen what it wants to see, and so many ticks more.
TICKS = (
    "import os, time\n"
    "print('begin', os.urandom(8).hex(), c['parameters'].get('#p'), flush=True)\n"
    "n, more = 0, 4\n"
    "while more and n < 800:\n"
    "    print('tick', n, flush=True); time.sleep(0.5)\n"
    "    n, more = n + 1, more - os.path.exists('/data/go')\n"
    "open('/data/out/tables/r.csv', 'w').write(f'n\\n{n}\\n')\n"
)
# A component that tidies up when it is told to end, which takes until the test has seen it.
TRAPS = (
    "import os, signal, sys, time\n"
    "def end(*_):\n"
    "    open('/data/out/tables/told', 'w').close()\n"
    "    while not os.path.exists('/data/go'): time.sleep(0.05)\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('begun', flush=True); time.sleep(300)\n"
)


def configure(running: Running, name: str) -> None:
    output = json.loads(json.dumps(OUTPUT).replace("{name}", name))
    parameters = {"script": TICKS, "#p": running.installation.cipher("hunter2-hunter2")}
    running.installation.configuration(name, {"parameters": parameters, "storage": output})


def task(running: Running, dag: str, run: str) -> dict[str, Any]:
    with running.airflow.api() as api:
        return next(item for item in api.tasks(dag, run) if item["task_id"] == TASK)


def log(running: Running, dag: str, run: str, attempt: int = 1) -> list[str]:
    with running.airflow.api() as api:
        return [str(entry.get("event", "")) for entry in api.log(dag, run, TASK, attempt=attempt)]


def containers(name: str) -> list[dict[str, Any]]:
    """The containers of a configuration's runs."""
    client = docker.from_env()
    try:
        label = f"{LABEL_PREFIX}jobId"
        found = client.api.containers(all=True, filters={"label": label})
        return [item for item in found if f"{SCRIPT}--{name}/" in item["Labels"][label]]
    finally:
        client.close()


def until_deferred(running: Running, dag: str, run: str) -> None:
    until(lambda: task(running, dag, run)["state"] == "deferred")


def ticks(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("tick")]


def all_ticks(running: Running, name: str) -> list[str]:
    """What a component that has stored its number of ticks once must have shown."""
    (row,) = running.installation.rows(f"out.c-main.{name}")
    return [f"tick {n}" for n in range(int(row["n"]))]


def shown_by_all_attempts(running: Running, dag: str, run: str) -> list[str]:
    last = task(running, dag, run)["try_number"]
    return [line for attempt in range(1, last + 1) for line in log(running, dag, run, attempt)]


@pytest.mark.rules("LG-1", "LG-22", "D14")
def test_a_long_run_holds_no_worker_and_its_log_is_live_and_whole(running: Running) -> None:
    configure(running, "long")
    dag, run = running.trigger("long")
    until_deferred(running, dag, run)
    # While it waits its lines come in.
    seen = ticks(log(running, dag, run))
    until(lambda: len(ticks(log(running, dag, run))) > len(seen) + 4)
    assert task(running, dag, run)["state"] == "deferred"
    running.go(dag, run)
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    lines = log(running, dag, run)
    assert ticks(lines) == all_ticks(running, "long")
    assert not any("hunter2" in line for line in lines)
    assert len([line for line in lines if line.startswith("begin")]) == 1
    assert next(item.attempt for item in result.tasks if item.task_id == TASK) == 1
    assert running.xcom(result, TASK)["exit_code"] == 0
    assert containers("long") == []
    assert running.installation.workspaces == []


@pytest.mark.thorough
def test_what_is_stored_of_a_waiting_container_holds_no_secret(running: Running) -> None:
    configure(running, "stored")
    dag, run = running.trigger("stored")
    until_deferred(running, dag, run)
    dump = running.database()
    assert "ContainerTrigger" in dump
    assert "hunter2" not in dump
    running.go(dag, run)
    assert running.wait(dag, run).succeeded


@pytest.mark.rules("LC-46", "CT-32")
@pytest.mark.thorough
def test_a_component_that_fails_after_long_gives_its_message(running: Running) -> None:
    script = f"import sys\n{WAIT}print('No such account.', file=sys.stderr); sys.exit(1)"
    running.installation.script("fails-late", script)
    dag, run = running.trigger("fails-late")
    until_deferred(running, dag, run)
    running.go(dag, run)
    result = running.wait(dag, run)
    assert result.state == "failed"
    assert task(running, dag, run)["try_number"] == 1
    assert log(running, dag, run).count("No such account.") == 2, "once as its line, once as the message"


@pytest.mark.thorough
@pytest.mark.rules("CT-12", "CT-31")
def test_the_time_limit_holds_also_while_no_worker_is_there(running: Running) -> None:
    running.installation.script("endless", "import time; time.sleep(300)", runtime={"process_timeout": 12})
    dag, run = running.trigger("endless")
    result = running.wait(dag, run)
    assert result.state == "failed"
    assert LEFT in log(running, dag, run)
    assert any("exceeded the timeout of 12 seconds" in line for line in log(running, dag, run))


@pytest.mark.parametrize("deferred", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_marking_a_task_as_failed_stops_its_container_with_grace(running: Running, deferred: bool) -> None:
    name = f"cancelled-{deferred}".lower()
    running.installation.script(name, TRAPS)
    dag, run = running.trigger(name)
    until(lambda: containers(name))
    told = running.data(dag, run) / "out/tables/told"
    until(lambda: "begun" in log(running, dag, run))
    if deferred:
        until_deferred(running, dag, run)
    with running.airflow.api() as api:
        api.call("PATCH", f"/dags/{dag}/dagRuns/{run}/taskInstances/{TASK}", json={"new_state": "failed"})
    until(lambda: told.exists() or not containers(name))
    assert told.exists(), "the component was asked to end before it was killed"
    running.go(dag, run)
    until(lambda: not containers(name))
    assert running.wait(dag, run).state == "failed"
    assert running.installation.workspaces == []


@pytest.mark.thorough
def test_clearing_a_task_that_waits_stops_its_container_and_starts_another(running: Running) -> None:
    configure(running, "cleared-early")
    dag, run = running.trigger("cleared-early")
    until_deferred(running, dag, run)
    first = {item["Id"] for item in containers("cleared-early")}
    with running.airflow.api() as api:
        api.clear(dag, run, [TASK])
    until(lambda: {item["Id"] for item in containers("cleared-early")} - first)
    assert not {item["Id"] for item in containers("cleared-early")} & first
    running.go(dag, run)
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    assert len(running.installation.rows("out.c-main.cleared-early")) == 1


def test_a_worker_that_is_killed_loses_no_container_and_no_line(running: Running) -> None:
    # On a busy machine a worker may have left its container before it can be killed; then another run is its victim.
    for number in range(4):
        name = f"killed-worker-{number}"
        configure(running, name)
        dag, run = running.trigger(name)
        until(lambda: containers(name))  # noqa: B023
        until(lambda: len(ticks(log(running, dag, run))) > 1)  # noqa: B023
        if kill_task(running, dag, run):
            break
        running.go(dag, run)
        assert running.wait(dag, run).succeeded
    found = "Found the container of an earlier attempt still running; following it."
    until(lambda: found in shown_by_all_attempts(running, dag, run))
    running.go(dag, run)
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    lines = shown_by_all_attempts(running, dag, run)
    written = all_ticks(running, name)
    assert set(ticks(lines)) == set(written)
    assert len(ticks(lines)) <= len(written) + 4
    assert len({line for line in lines if line.startswith("begin")}) == 1, "it ran once"


@pytest.mark.thorough
def test_a_triggerer_that_is_killed_is_replaced_and_the_log_goes_on(running: Running) -> None:
    configure(running, "killed-triggerer")
    dag, run = running.trigger("killed-triggerer")
    until_deferred(running, dag, run)
    seen = len(ticks(log(running, dag, run)))
    until(lambda: len(ticks(log(running, dag, run))) > seen + 2)
    killed = running.process("triggerer")
    running.kill("triggerer")
    until(lambda: running.process("triggerer") != killed)
    seen = len(ticks(log(running, dag, run)))
    until(lambda: len(ticks(log(running, dag, run))) > seen + 2)
    running.go(dag, run)
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    lines = shown_by_all_attempts(running, dag, run)
    assert set(ticks(lines)) == set(all_ticks(running, "killed-triggerer"))
    assert len({line for line in lines if line.startswith("begin")}) == 1


def kill_task(running: Running, dag: str, run: str) -> bool:
    """Kill the process of a task and its supervisor; false if it has left its container already."""
    now = task(running, dag, run)
    try:
        parent = int(Path(f"/proc/{now['pid']}/stat").read_text().rpartition(")")[2].split()[1])
        for victim in (parent, now["pid"]):
            os.kill(victim, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return now["state"] == "running" and LEFT not in log(running, dag, run)
