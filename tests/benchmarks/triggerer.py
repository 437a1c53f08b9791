"""(e): what a real triggerer needs for many containers, and what Airflow's log costs a task that prints a lot."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
from airflow_follow import known_dag, run_and_follow
from airflow_home import LocalAirflow
from tests.benchmarks.containers import LABELS, WAIT_SECONDS, WAITING, sleepers
from tests.benchmarks.setting import REPOSITORY, manifest_json, row, target
from tests.installation import SCRIPT, Installation, build_script_image

from docker_runner.engine.client import Engine
from docker_runner.engine.containers import remove_containers
from docker_runner.job.steps import clean_up, create_workspace
from docker_runner.job.supervision import RunRecord
from docker_runner.job.workspace import Workspace
from docker_runner.project.dag_ids import dag_id

PRINTED_MEGABYTES = 20
PRINTS = f"import sys\nfor _ in range({PRINTED_MEGABYTES * 100}): sys.stdout.write(('x' * 99 + '\\n') * 100)"
WAITS_FILE = """import json
from pathlib import Path

from airflow.sdk import DAG, BaseOperator

given = json.loads(Path(__file__).with_name("containers.json").read_text())


class Wait(BaseOperator):
    def __init__(self, *, container, **kwargs):
        super().__init__(**kwargs)
        self.container = container

    def execute(self, context):
        from docker_runner_airflow.triggers import ContainerTrigger

        trigger = ContainerTrigger(job_id=given["job"], row_id="", position=0, container_id=self.container)
        self.defer(trigger=trigger, method_name="done")

    def done(self, context, event=None):
        return None


for name, ids in (("waits-for-one", given["containers"][:1]), ("waits-for-many", given["containers"][1:])):
    with DAG(name, schedule=None, is_paused_upon_creation=False, max_active_tasks=1000):
        Wait.partial(task_id="wait").expand(container=ids)
"""


def triggerer(folder: Path) -> None:
    """Let a real triggerer wait for many containers, and a real task print a lot."""
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    print("\n(e) inside of a real Airflow")
    installation = Installation(folder / "installation")
    installation.script("prints", PRINTS)
    installation.script("bench", "pass")
    job, tools = installation.job("bench"), installation.tools()
    workspace = Workspace(installation.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    workspace.row("").stage(0).mkdir(parents=True, exist_ok=True)
    RunRecord("bench").write(workspace.row("").stage(0))
    dags = folder / "dags"
    dags.mkdir(parents=True)
    file = "from docker_runner_airflow.dag_factory import build_dags\n\nglobals().update(build_dags())\n"
    (dags / "configurations.py").write_text(file)
    airflow = LocalAirflow(
        home=folder / "airflow",
        dags_folder=dags,
        plugins_folder=REPOSITORY / "plugins",
        environment=installation.environment,
    )
    airflow.start(timeout=300)
    try:
        _printing(airflow)
        with Engine.from_environment() as engine:
            try:
                ids = sleepers(installation, engine)
                (dags / "containers.json").write_text(json.dumps({"job": job.id, "containers": ids}))
                (dags / "waits.py").write_text(WAITS_FILE)
                _waiting(airflow)
            finally:
                remove_containers(engine, LABELS)
    finally:
        airflow.stop()
        clean_up(workspace, tools)


def _printing(airflow: LocalAirflow) -> None:
    result = run_and_follow(airflow, dag_id(SCRIPT, "prints"), timeout=600)
    with airflow.api() as api:
        task = next(item for item in api.tasks(result.dag_id, result.run_id) if item["task_id"] == "run_component")
        component = manifest_json(api.xcom(result.dag_id, result.run_id, "run_component"))["seconds"]
    begin, end = (datetime.fromisoformat(task[name]) for name in ("start_date", "end_date"))
    whole = (end - begin).total_seconds()
    print(row(f"a task whose component prints {PRINTED_MEGABYTES} MB, until all was in Airflow's log", [whole]))
    print(row("  of which the component ran", [float(str(component))]))


def _waiting(airflow: LocalAirflow) -> None:
    process = _triggerer_process(airflow)
    empty = _memory(process)
    alone = _wait_for(airflow, process, "waits-for-one", 1)
    many = _wait_for(airflow, process, "waits-for-many", WAITING)
    cpu = sum(sum(one.cpu_times()[:2]) for one in _tree(process))
    time.sleep(WAIT_SECONDS)
    share = (sum(sum(one.cpu_times()[:2]) for one in _tree(process)) - cpu) / WAIT_SECONDS * 100
    print(row("the triggerer (all its processes) that waits for nothing", [empty], "MB"))
    print(row("the same with 1 container", [alone], "MB"))
    print(row(f"the same with {WAITING} containers", [many], "MB"))
    print(target("memory of each container more", (many - alone) / (WAITING - 1) * 1024, 1024, "KB"))
    print(row(f"CPU of the triggerer with {WAITING} containers", [share], "%"))


def _wait_for(airflow: LocalAirflow, process: psutil.Process, dag: str, number: int) -> float:
    """The triggerer's memory when it waits for so many containers."""
    with airflow.api() as api:
        known_dag(airflow, api, dag)
        api.trigger(dag)
    _until(lambda: _deferred(airflow) >= number, 900)
    time.sleep(WAIT_SECONDS)
    return _memory(process)


def _triggerer_process(airflow: LocalAirflow) -> psutil.Process:
    lines = airflow.log_file("server").read_text().splitlines()
    started = [line for line in lines if "triggerer started as process" in line]
    return psutil.Process(int(started[-1].rpartition(" ")[2]))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _memory(process: psutil.Process) -> float:
    """Memory that only these processes use, in MB: what they share is counted once."""
    return sum(one.memory_full_info().pss for one in _tree(process)) / 2**20


def _deferred(airflow: LocalAirflow) -> int:
    with sqlite3.connect(airflow.home / "airflow.db", timeout=30) as database:
        (count,) = database.execute("select count(*) from task_instance where state = 'deferred'").fetchone()
    return int(count)


def _until(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it did not happen in time")
        time.sleep(1)
