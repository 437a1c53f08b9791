"""Runs whose tasks are on two Celery workers, each with a folder of its own and only the folder of runs in common."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from airflow_api import ApiError
from tests.end_to_end.grown import grown_servers
from tests.end_to_end.many_machines import ManyMachines
from tests.end_to_end.running import until
from tests.installation import SCRIPT, Installation, build_script_image, container_names
from tests.servers import free_port

from docker_runner.project.dag_ids import dag_id

pytestmark = [pytest.mark.airflow, pytest.mark.engine, pytest.mark.thorough]

REPOSITORY = Path(__file__).parents[2]
COPY = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')"
SLOW = "import time\nfor n in range(30): print('tick', n, flush=True); time.sleep(0.5)\n" + COPY
# name: script, how it runs
CONFIGURATIONS = {
    **{f"copy{n}": (COPY, "steps") for n in range(3)},
    "slow": (SLOW, "steps"),
    "whole": (SLOW, "merged"),
}
ROWS = [{"id": "1"}, {"id": "2"}]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of an ``airflow`` with the Celery provider."""
    made = subprocess.run([REPOSITORY / "scripts/ensure_celery.sh"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.split()[-1])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    redis.terminate()
    redis.wait()


@pytest.fixture(scope="module")
def machines(programs: Path, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyMachines]:
    """A control plane, two workers that share the folder of runs, and one that does not."""
    build_script_image("docker-runner/base:latest")
    folder = tmp_path_factory.mktemp("machines")
    with grown_servers() as servers:
        installation = Installation(folder / "source", variables={"DOCKER_RUNNER_STORAGE": servers.lake})
        installation.load("in.c-main.t", "id\n1\n2\n")
        for name, (script, granularity) in CONFIGURATIONS.items():
            mapping = {
                "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
                "output": {"tables": [{"source": "t.csv", "destination": f"out.c-main.{name}", "incremental": True}]},
            }
            installation.script(name, script, storage=mapping, runtime={"granularity": granularity})
        machines = ManyMachines(
            folder, installation, servers, programs, broker, {"DOCKER_RUNNER_DEFER_AFTER": "5"}
        )  # fmt: skip
        try:
            machines.start(one={}, two={})
            until(lambda: healthy(machines), seconds=400)
            yield machines
        finally:
            machines.stop()


def healthy(machines: ManyMachines) -> bool:
    for machine in machines.machines.values():
        for name, process in machine.processes.items():
            assert process.poll() is None, machine.log(name)[-3000:]
    try:
        with machines.api() as api:
            state = api.call("GET", "/monitor/health")
            known = all(api.dag(dag_id(SCRIPT, name)) for name in CONFIGURATIONS)
    except (requests.ConnectionError, requests.Timeout, ApiError):
        return False
    return known and all(state[part]["status"] == "healthy" for part in ("scheduler", "triggerer"))


def test_runs_go_from_worker_to_worker_and_to_the_triggerer_and_leave_nothing(machines: ManyMachines) -> None:
    with machines.api() as api:
        runs = {}
        for name in CONFIGURATIONS:
            api.set_paused(dag_id(SCRIPT, name), False)
            runs[name] = api.trigger(dag_id(SCRIPT, name))
        states = {name: api.wait(dag_id(SCRIPT, name), run, timeout=400) for name, run in runs.items()}
        lines = [
            str(entry.get("event")) for entry in api.log(dag_id(SCRIPT, "slow"), runs["slow"], "run_component")
        ]  # fmt: skip
    assert states == dict.fromkeys(CONFIGURATIONS, "success")
    for name in CONFIGURATIONS:
        assert machines.installation.rows(f"out.c-main.{name}") == ROWS, name
    assert "Leaving the container to the triggerer; the worker is free." in lines
    assert [line for line in lines if line.startswith("tick")] == [f"tick {n}" for n in range(30)]
    for worker in ("one", "two"):
        assert "succeeded in" in machines.machines[worker].log("celery"), f"the worker {worker} did nothing"
        # Each machine made only the DAG files for itself.
        assert [path.name for path in (machines.machines[worker].folder / "runner").iterdir()] == ["dags"]
    assert [path.name for path in (machines.folder / "shared" / "workspaces").iterdir()] == [".identity"]
    assert not any(f"{SCRIPT}--copy" in name or f"{SCRIPT}--slow" in name for name in container_names())


def test_a_worker_with_a_folder_of_runs_of_its_own_refuses_what_began_elsewhere(machines: ManyMachines) -> None:
    machines.machines["one"].stop()
    machines.add_worker("wrong", DOCKER_RUNNER_WORKSPACES="")
    wrong = machines.machines["wrong"]
    until(lambda: "ready." in wrong.log("celery"), seconds=200)
    names = [f"copy{n}" for n in range(3)]
    said = []
    with machines.api() as api:
        runs = {dag: api.trigger(dag) for dag in (dag_id(SCRIPT, name) for name in names)}
        states = {api.wait(dag, run, timeout=300) for dag, run in runs.items()}
        for dag, run in runs.items():
            for task in api.tasks(dag, run):
                if task["state"] == "failed":
                    assert task["try_number"] == 1, "trying again helps nobody"
                    lines = api.log(dag, run, task["task_id"])
                    said += [str(entry.get("event")) for entry in lines if entry.get("level") == "error"]
    # Tasks go to whichever worker is free; of eight that follow each other some go to the other one.
    assert "failed" in states
    assert any("Set DOCKER_RUNNER_WORKSPACES to one folder" in line for line in said), said
