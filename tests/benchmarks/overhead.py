"""(a) and (b): what a run costs beside the bare containers, and beside a DAG that does nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_follow import RunResult, run_and_follow
from airflow_home import LocalAirflow
from tests.benchmarks.setting import (
    CONFIGURATION,
    DAG,
    REPOSITORY,
    environment,
    manifest_json,
    median,
    row,
    running_airflow,
    seconds,
    target,
    with_sample_data,
)

from docker_runner.storage import open_storage
from docker_runner.storage.base import Operator, Where

PROJECT = REPOSITORY / "include" / "project"
PAIRS = 7
CONTAINER_STEPS = ("before_1", "run_component", "after_1")

NOOP_FILE = """from airflow.sdk import DAG, BaseOperator


class NoOperator(BaseOperator):
    def execute(self, context):
        return None


with DAG("noop", schedule=None, is_paused_upon_creation=False) as dag:
    tasks = [NoOperator(task_id=f"step_{number}") for number in range(8)]
    for first, second in zip(tasks, tasks[1:]):
        first >> second
"""


def overhead(folder: Path) -> None:
    """Measure the bare containers, the command line and Airflow in turn, and a no-op DAG against ours."""
    home = with_sample_data(folder / "cli")
    bare = BareContainers(folder / "bare", home)
    variables = {**os.environ, **environment(home, PROJECT)}
    command = [str(Path(sys.executable).with_name("docker-runner")), "run", CONFIGURATION]
    times: dict[str, list[float]] = {name: [] for name in ("bare", "cli", "airflow", "containers", "noop", "ours")}
    files = {"noop.py": NOOP_FILE}
    with running_airflow(folder / "running", project=PROJECT, files=files) as airflow:
        for number in range(PAIRS + 1):
            measured = {
                "bare": seconds(bare.run),
                "cli": seconds(lambda: subprocess.run(command, env=variables, check=True, capture_output=True)),
                "noop": _dag_seconds(airflow, "noop")[0],
            }
            measured["ours"], result = _dag_seconds(airflow, DAG)
            measured["airflow"] = result.seconds
            measured["containers"] = _container_seconds(airflow, result)
            # The first round warms everything up.
            for name, value in measured.items() if number else ():
                times[name].append(value)
    _print_overhead(times)


def _print_overhead(times: dict[str, list[float]]) -> None:
    print("\n(a) the sample configuration: three containers, 27,004 rows in Storage")
    print(row("bare: docker run of the three images on prepared data", times["bare"]))
    print(row("docker-runner run, from shell to shell", times["cli"]))
    print(row("through Airflow, from request to the end of the last task", times["airflow"]))
    print(target("command line over bare containers", median(_differences(times["cli"], times["bare"])), 1.5, "s"))
    print("\n(b) the sample's DAG (nine tasks, eight in a row) beside a chain of eight tasks that do nothing")
    print(row("no-op DAG, from start to end of the run", times["noop"]))
    print(row("our DAG, from start to end of the run", times["ours"]))
    print(row("  of which its containers ran", times["containers"]))
    triples = list(zip(times["ours"], times["noop"], times["containers"], strict=True))
    whole = [ours / (noop + containers) for ours, noop, containers in triples]
    rest = [(ours - containers) / noop for ours, noop, containers in triples]
    print(target("our DAG / (no-op DAG + containers)", median(whole), 1.3, "x"))
    print(row("(our DAG - containers) / no-op DAG", rest, "x"))


def _differences(first: list[float], second: list[float]) -> list[float]:
    return [one - other for one, other in zip(first, second, strict=True)]


def _dag_seconds(airflow: LocalAirflow, dag_id: str) -> tuple[float, RunResult]:
    """Seconds from the start to the end of a run, as Airflow records them."""
    result = run_and_follow(airflow, dag_id, timeout=300)
    if not result.succeeded:
        raise RuntimeError(f"{dag_id} failed: {result}")
    with airflow.api() as api:
        run = api.run(dag_id, result.run_id)
    begin, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (end - begin).total_seconds(), result


def _container_seconds(airflow: LocalAirflow, result: RunResult) -> float:
    with airflow.api() as api:
        manifests = [manifest_json(api.xcom(result.dag_id, result.run_id, step)) for step in CONTAINER_STEPS]
    return sum(float(str(manifest["seconds"])) for manifest in manifests)


class BareContainers:
    """The sample's three images run by ``docker run``, on data that were exported once before."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.source = folder / "flights.csv"
        folder.mkdir(parents=True)
        file = PROJECT / "main/transformation/sample.daily-delays/new-york/config.json"
        self.configuration: dict[str, Any] = json.loads(file.read_text())
        item = self.configuration["storage"]["input"]["tables"][0]
        where = Where(item["where_column"], tuple(item["where_values"]), Operator(item.get("where_operator", "eq")))
        storage = open_storage(f"ducklake:sqlite:{home}/storage/catalog.sqlite")
        storage.export_table(item["source"], self.source, columns=item["columns"], where=where)
        storage.close()

    def run(self) -> None:
        """Run the three images one after the other on the same folder."""
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        for name in ("in/tables", "in/files", "out/tables", "out/files"):
            (data / name).mkdir(parents=True)
        shutil.copy(self.source, data / "in/tables/flights.csv")
        processors = self.configuration["processors"]
        stages: list[tuple[str, dict[str, Any]]] = [
            ("processor-skip-rows", processors["before"][0]),
            ("daily-delays", self.configuration),
            ("processor-add-column", processors["after"][0]),
        ]
        for image, content in stages:
            (data / "config.json").write_text(json.dumps({"parameters": content["parameters"], "storage": {}}))
            variables = ["-e", "KBC_DATADIR=/data/", "-e", "KBC_CONFIGID=bench", "-e", "KBC_RUNID=bench"]
            mounted = ["-v", f"{data}:/data", "--net", "none"]
            command = ["docker", "run", "--rm", *mounted, *variables, f"docker-runner/{image}:latest"]
            subprocess.run(command, check=True, capture_output=True)
            if image != "processor-add-column":
                shutil.rmtree(data / "in")
                (data / "out").rename(data / "in")
                for name in ("out/tables", "out/files"):
                    (data / name).mkdir(parents=True)
