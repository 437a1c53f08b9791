"""(c): what thousands of configurations cost: making their DAGs, starting one task, memory of the DAG processor."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
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
RUNS = 8
PARSED = "Worker startup parse complete"


def scale(folder: Path) -> None:
    """Print what parsing, starting and keeping cost for projects of different sizes."""
    projects = {size: generate(folder / f"project-{size}", size) for size in (SMALL, LARGE)}
    _parsing(folder, projects[LARGE])
    starts: dict[int, list[float]] = {SMALL: [], LARGE: []}
    with ExitStack() as stack:
        # Both run at the same time and take turns, so that what else the machine does meets both alike.
        running = {
            size: stack.enter_context(running_airflow(folder / f"airflow-{size}", project=project, files={}))
            for size, project in projects.items()
        }
        for number in range(RUNS + 1):
            for size, airflow in running.items():
                found = _starts(airflow)
                # The first round warms everything up.
                starts[size] += found if number else []
        memory = {size: _memory(airflow) for size, airflow in running.items()}
    print(f"\n(c) tasks and the DAG processor with {SMALL} and with {LARGE} configurations")
    for size, times in starts.items():
        print(row(f"{size} configurations: from the end of a task to the next one's first step", times))
    ratio = median(starts[LARGE]) / median(starts[SMALL])
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


def _starts(airflow: LocalAirflow) -> list[float]:
    """Seconds from the end of a task until the next one has read its DAG file, for the tasks of one run."""
    name = dag_id(COMPONENT, "configuration-00005")
    result = run_and_follow(airflow, name, timeout=900)
    found: list[float] = []
    with airflow.api() as api:
        for before, task in pairwise(result.tasks):
            done = _read(api, name, result.run_id, task)
            if done and before.ended and task.started and task.started > before.ended:
                found.append((done - before.ended).total_seconds())
    return found


def _read(api: AirflowApi, name: str, run_id: str, task: Any) -> datetime | None:
    """When a task had read its DAG file."""
    entries = api.log(name, run_id, task.task_id, attempt=task.attempt)
    done = [entry["timestamp"] for entry in entries if entry.get("event") == PARSED]
    return datetime.fromisoformat(done[0]) if done else None


def _memory(airflow: LocalAirflow) -> float:
    """What the DAG processor uses for itself alone, without the processes that parse single files, in MB."""
    started = re.findall(r"dag-processor started as process (\d+)", airflow.log_file("server").read_text())
    return float(psutil.Process(int(started[-1])).memory_full_info().uss) / 2**20
