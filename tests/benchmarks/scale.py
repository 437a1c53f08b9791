"""(c): what thousands of configurations cost: parsing their DAGs, and starting one task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from airflow_follow import run_and_follow
from airflow_home import LocalAirflow
from tests.benchmarks.projects import COMPONENT, generate
from tests.benchmarks.setting import DAG_FILE, environment, median, row, running_airflow, target

SIZES = (10, 1000, 2000)
PARSES = 3
RUNS = 8
PARSED = "Worker startup parse complete"

PARSE = """
import gc, json, sys, time
import airflow.sdk, airflow.sdk.definitions.param, docker_runner_airflow.operators
from airflow.serialization.serialized_objects import DagSerialization
from docker_runner_airflow.dag_factory import build_dags
begin = time.perf_counter()
dags = build_dags()
parsed = time.perf_counter()
for dag in dags.values():
    DagSerialization.to_dict(dag)
print(json.dumps([len(dags), parsed - begin, time.perf_counter() - parsed]))
"""


def scale(folder: Path) -> None:
    """Print parse times and start times for projects of different sizes."""
    projects = {size: generate(folder / f"project-{size}", size) for size in SIZES}
    print("\n(c) one DAG file for all configurations of a project, nine tasks each")
    for size, project in projects.items():
        times = [_parse(folder, project) for _ in range(PARSES)]
        print(row(f"{size} configurations: parse", [parse for parse, _ in times]))
        print(row(f"{size} configurations: serialise, which Airflow does for any DAG", [store for _, store in times]))
        if size == max(SIZES):
            print(target(f"{size} configurations: parse", median([parse for parse, _ in times]), 10, "s"))
    small, large = min(SIZES), max(SIZES)
    starts: dict[int, list[float]] = {small: [], large: []}
    with ExitStack() as stack:
        # Both run at the same time and take turns, so that what else the machine does meets both alike.
        running = {
            size: stack.enter_context(
                running_airflow(
                    folder / f"airflow-{size}", project=projects[size], files={"configurations.py": DAG_FILE}
                )
            )
            for size in starts
        }
        for number in range(RUNS + 1):
            for size, airflow in running.items():
                found = _starts(airflow)
                # The first round warms everything up.
                starts[size] += found if number else []
    for size, times in starts.items():
        print(row(f"{size} configurations: from the end of a task to the next one's first step", times))
    print(
        target(f"start of a task with {large} / with {small}", median(starts[large]) / median(starts[small]), 1.1, "x")
    )


def _parse(folder: Path, project: Path) -> tuple[float, float]:
    variables = {**os.environ, **environment(folder / "home", project), "AIRFLOW_HOME": str(folder / "parse")}
    done = subprocess.run([sys.executable, "-c", PARSE], env=variables, check=True, capture_output=True, text=True)
    _, parse, store = json.loads(done.stdout.splitlines()[-1])
    return float(parse), float(store)


def _starts(airflow: LocalAirflow) -> list[float]:
    """Seconds from the end of a task until the next one has read its DAG file, for the tasks of one run."""
    dag_id = f"{COMPONENT}--configuration-00005"
    result = run_and_follow(airflow, dag_id, timeout=900)
    found: list[float] = []
    with airflow.api() as api:
        for before, task in pairwise(result.tasks):
            entries = list(api.log(dag_id, result.run_id, task.task_id, attempt=task.attempt))
            done = [entry["timestamp"] for entry in entries if entry.get("event") == PARSED]
            if done and before.ended and task.started and task.started > before.ended:
                found.append((datetime.fromisoformat(done[0]) - before.ended).total_seconds())
    return found
