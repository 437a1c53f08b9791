"""(c): what thousands of configurations cost: making their DAGs, starting one task, memory of the DAG processor."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from airflow_api import AirflowApi
from airflow_follow import run_and_follow
from airflow_home import LocalAirflow
from tests.benchmarks.parsers import WAYS, Parser
from tests.benchmarks.projects import COMPONENT, generate
from tests.benchmarks.setting import REPOSITORY, environment, median, row, running_airflow, target
from tests.benchmarks.yaml_dags import environment_python, write_yaml

from docker_runner.project.configuration import Project
from docker_runner.project.dag_ids import dag_id
from docker_runner.project.shards import shard_count, shard_of

SMALL, LARGE = 10, 2000
ROUNDS = 2
RUNS = 10
REST_SECONDS = 10.0
REST_SHARE = 0.1
"""Of a core: looking for changes may take a fiftieth, and Airflow's own loop takes about as much."""
PARSED = "Worker startup parse complete"


def scale(folder: Path) -> None:
    """Print what parsing, starting and keeping cost for projects of different sizes."""
    projects = {size: generate(folder / f"project-{size}", size) for size in (SMALL, LARGE)}
    _parsing(folder, projects[LARGE])
    starts: dict[int, list[dict[str, float]]] = {SMALL: [], LARGE: []}
    used: dict[int, list[float]] = {SMALL: [], LARGE: []}
    with ExitStack() as stack:
        # Both run at the same time and take turns, so that what else the machine does meets both alike.
        running = {
            size: stack.enter_context(running_airflow(folder / f"airflow-{size}", project=project, files={}))
            for size, project in projects.items()
        }
        for size, airflow in running.items():
            _wait_for_rest(airflow, dags=size)
        before = {size: _cpu(_process(airflow, "dag-processor")) for size, airflow in running.items()}
        began = time.monotonic()
        for number in range(RUNS + 1):
            for size in running if number % 2 else reversed(running):
                found, seconds = _starts(running[size])
                # The first round warms everything up.
                if number:
                    starts[size].append(found)
                    used[size].append(seconds)
        passed = time.monotonic() - began
        parsing = {size: _cpu(_process(airflow, "dag-processor")) - before[size] for size, airflow in running.items()}
        memory = {size: _memory(airflow) for size, airflow in running.items()}
    print(f"\n(c) tasks and the DAG processor with {SMALL} and with {LARGE} configurations")
    times = {size: [value for found in rounds for value in found.values()] for size, rounds in starts.items()}
    for size in running:
        print(row(f"{size} configurations: from the end of a task to the next one's first step", times[size]))
        print(row(f"{size} configurations: CPU of scheduler, tasks and API server for a run", used[size]))
        share = parsing[size] / passed
        print(f"  {size} configurations: the DAG processor used {share:.1%} of a core meanwhile")
    pairs = [
        large[task] - small[task]
        for small, large in zip(starts[SMALL], starts[LARGE], strict=True)
        for task in small.keys() & large.keys()
    ]
    print(row("difference for the same task of the same round", pairs))
    print(row("difference in CPU for a run", [b - a for a, b in zip(used[SMALL], used[LARGE], strict=True)]))
    ratio = median(times[LARGE]) / median(times[SMALL])
    print(target(f"start of a task with {LARGE} / with {SMALL}", ratio, 1.1, "x"))
    for size, megabytes in memory.items():
        print(row(f"{size} configurations: memory of the DAG processor", [megabytes], "MB"))


def _parsing(folder: Path, project: Path) -> None:
    """Make all DAGs, file by file, in three ways that take turns; CPU seconds, which a busy machine disturbs least."""
    python = environment_python(REPOSITORY / ".local" / "benchmarks" / "dag-factory")
    shards = _numbers(project)
    variables = {
        **os.environ,
        **environment(folder / "home", project),
        "AIRFLOW_HOME": str(folder / "parse"),
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "scripts", REPOSITORY / "include"))),
    }
    parsers = {way: Parser(way, python if way == "yaml" else sys.executable, variables) for way in WAYS}
    made: dict[str, list[float]] = {way: [] for way in WAYS}
    whole: dict[str, list[float]] = {way: [] for way in WAYS}
    tasks: dict[str, int] = dict.fromkeys(WAYS, 0)
    for number in range(ROUNDS):
        for shard, numbers in enumerate(shards):
            file = folder / f"shard-{shard}.yaml"
            write_yaml(file, numbers)
            for way in WAYS if shard % 2 else reversed(WAYS):
                order = {"shard": shard, "numbers": numbers, "file": str(file)}
                count, making, storing = parsers[way].parse(order)
                made[way].append(making)
                whole[way].append(making + storing)
                tasks[way] += count if not number else 0
    for parser in parsers.values():
        parser.stop()
    print(f"\n(c) {LARGE} configurations with rows, variables and schedules in {len(shards)} files, CPU seconds of all")
    print(f"  tasks: {', '.join(f'{way} {count}' for way, count in tasks.items())}")
    names = {"ours": "read from the project", "plain": "a plain loop that reads no file", "yaml": "dag-factory"}
    for way in WAYS:
        print(row(f"{names[way]}: making", _rounds(made[way], len(shards))))
        print(row(f"{names[way]}: making and serialising", _rounds(whole[way], len(shards))))
    for what, times in (("making", made), ("making and serialising", whole)):
        print(target(f"{what} / the plain loop's", _ratio(times, "plain"), 1.3, "x"))
        print(target(f"{what} / dag-factory's", _ratio(times, "yaml"), 0.25, "x"))


def _ratio(times: dict[str, list[float]], other: str) -> float:
    return median([ours / theirs for ours, theirs in zip(times["ours"], times[other], strict=True)])


def _rounds(times: list[float], files: int) -> list[float]:
    return [sum(times[begin : begin + files]) for begin in range(0, len(times), files)]


def _numbers(project: Path) -> list[list[int]]:
    """The numbers of the configurations in each file."""
    keys = Project(project).runnable()
    count = shard_count(len(keys))
    shards: list[list[int]] = [[] for _ in range(count)]
    for key in keys:
        shards[shard_of(key, count)].append(int(key[1].rpartition("-")[2]))
    return shards


def _wait_for_rest(airflow: LocalAirflow, *, dags: int) -> None:
    """Wait until the DAG processor has stored all DAGs and has nothing left to do but to look for changes."""
    with airflow.api() as api:
        process, deadline = _process(airflow, "dag-processor"), time.monotonic() + 1800
        while time.monotonic() < deadline:
            before = _cpu(process)
            time.sleep(REST_SECONDS)
            is_quiet = _cpu(process) - before < REST_SHARE * REST_SECONDS
            if is_quiet and api.call("GET", "/dags?limit=1")["total_entries"] == dags:
                return
    raise TimeoutError(f"The DAG processor has not come to rest with {dags} DAGs.")


def _starts(airflow: LocalAirflow) -> tuple[dict[str, float], float]:
    """Of one run, for each task: seconds from the end of the one before until it has read its DAG file.

    And the CPU seconds of the scheduler with its tasks and of the API server.
    """
    name = dag_id(COMPONENT, "configuration-00005")
    processes = [_process(airflow, part) for part in ("scheduler", "api-server")]
    before = sum(map(_cpu, processes))
    result = run_and_follow(airflow, name, timeout=900)
    used = sum(map(_cpu, processes)) - before
    found: dict[str, float] = {}
    with airflow.api() as api:
        for earlier, task in pairwise(result.tasks):
            done = _read(api, name, result.run_id, task)
            if done and earlier.ended and task.started and task.started > earlier.ended:
                found[task.task_id] = (done - earlier.ended).total_seconds()
    return found, used


def _read(api: AirflowApi, name: str, run_id: str, task: Any) -> datetime | None:
    """When a task had read its DAG file."""
    entries = api.log(name, run_id, task.task_id, attempt=task.attempt)
    done = [entry["timestamp"] for entry in entries if entry.get("event") == PARSED]
    return datetime.fromisoformat(done[0]) if done else None


def _memory(airflow: LocalAirflow) -> float:
    """What the DAG processor uses for itself alone, without the processes that parse single files, in MB."""
    return float(_process(airflow, "dag-processor").memory_full_info().uss) / 2**20


def _process(airflow: LocalAirflow, part: str) -> psutil.Process:
    """The process of a part of an Airflow."""
    started = re.findall(rf"{part} started as process (\d+)", airflow.log_file("server").read_text())
    return psutil.Process(int(started[-1]))


def _cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and of all that it has started, whether they have ended or not."""
    used = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:4])
    return used
