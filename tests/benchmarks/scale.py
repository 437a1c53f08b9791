"""(c): what thousands of configurations cost: parsing their DAGs, and starting one task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
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
    starts: dict[int, list[float]] = {}
    for size in (min(SIZES), max(SIZES)):
        with running_airflow(
            folder / f"airflow-{size}", project=projects[size], files={"configurations.py": DAG_FILE}
        ) as it:
            starts[size] = _starts(it)
        print(row(f"{size} configurations: from a task's process to its first step", starts[size]))
    ratio = median(starts[max(SIZES)]) / median(starts[min(SIZES)])
    print(target(f"start of a task with {max(SIZES)} / with {min(SIZES)}", ratio, 1.1, "x"))


def _parse(folder: Path, project: Path) -> tuple[float, float]:
    variables = {**os.environ, **environment(folder / "home", project), "AIRFLOW_HOME": str(folder / "parse")}
    done = subprocess.run([sys.executable, "-c", PARSE], env=variables, check=True, capture_output=True, text=True)
    _, parse, store = json.loads(done.stdout.splitlines()[-1])
    return float(parse), float(store)


def _starts(airflow: LocalAirflow) -> list[float]:
    """Seconds from the start of each task's process until its DAG file was read, for all tasks of some runs."""
    dag_id = f"{COMPONENT}--configuration-00005"
    found: list[float] = []
    for number in range(RUNS + 1):
        result = run_and_follow(airflow, dag_id, timeout=900)
        with airflow.api() as api:
            for task in result.tasks if number else ():
                entries = list(api.log(dag_id, result.run_id, task.task_id, attempt=task.attempt))
                done = [entry["timestamp"] for entry in entries if entry.get("event") == PARSED]
                if task.started and done:
                    found.append((datetime.fromisoformat(done[0]) - task.started).total_seconds())
    return found
