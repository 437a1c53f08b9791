"""What the HTTP API adds: to the start of a container by a job, and to an action, each beside a bare ``docker run``."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from airflow_home import LocalAirflow
from tests.benchmarks.setting import REPOSITORY, median, row, seconds, target
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation, build_script_image
from tests.integration.api.server import ApiServer

from docker_runner.engine.containers import LABEL_PREFIX

PAIRS = 9
NANOSECONDS = 1e9
SAY = "import json; print(json.dumps([1, 2]))"
JOB = {"configData": {"parameters": {"script": "print('started')"}}}
ACTION = {"configData": {"parameters": {"script": SAY}}}


def api(folder: Path) -> None:
    """Measure jobs, actions and bare containers in turns."""
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    installation = Installation(folder)
    installation.component(SCRIPT, {"network": "none", "synchronous_actions": ["say"]})
    airflow = LocalAirflow(
        home=folder / "home" / "airflow",
        dags_folder=REPOSITORY / "dags",
        plugins_folder=REPOSITORY / "plugins",
        environment=installation.environment,
    )
    times: dict[str, list[float]] = {name: [] for name in ("bare start", "job start", "bare", "action")}
    try:
        airflow.start(timeout=600)
        server = ApiServer(airflow, installation)
        with starts_of_containers(installation.settings.installation) as starts:
            for number in range(PAIRS + 1):
                measured = _measured(server, starts)
                # The first round warms everything up.
                for name, value in measured.items() if number else ():
                    times[name].append(value)
        server.close()
    finally:
        airflow.stop()
    _print(times)


def _measured(server: ApiServer, starts: Queue[tuple[bool, float]]) -> dict[str, float]:
    """One round; seconds."""
    begin = time.time()
    measured = {"bare": seconds(bare_container)}
    measured["bare start"] = _start_after(starts, begin, ours=False) - begin
    begin = time.time()
    job = _posted(server, f"/{SCRIPT}/run", JOB, 202)["id"]
    measured["job start"] = _start_after(starts, begin, ours=True) - begin
    while not server.as_("admin").call("GET", f"/jobs/{job}").json()["isFinished"]:
        time.sleep(0.2)
    measured["action"] = seconds(lambda: _posted(server, f"/{SCRIPT}/action/say", ACTION, 200))
    return measured


def bare_container() -> None:
    """The same container as the action's, by the engine's own command."""
    code = ["python3", "-uc", SAY]
    subprocess.run(["docker", "run", "--rm", "--net", "none", SCRIPT_IMAGE, *code], check=True, capture_output=True)


def _posted(server: ApiServer, path: str, body: dict[str, Any], status: int) -> Any:
    answer = server.as_("admin").call("POST", path, json=body)
    if answer.status_code != status:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return answer.json()


def _start_after(starts: Queue[tuple[bool, float]], begin: float, *, ours: bool) -> float:
    """When the engine started the first container after a moment."""
    while True:
        is_ours, moment = starts.get(timeout=60)
        if moment >= begin and is_ours == ours:
            return moment


@contextmanager
def starts_of_containers(installation: str) -> Iterator[Queue[tuple[bool, float]]]:
    """Times of the containers that the engine starts meanwhile, by its own clock.

    Args:
        installation: its containers are ours; others count when they are bare ones of the same image.
    """
    import docker

    client = docker.APIClient(**docker.utils.kwargs_from_env())
    events = client.events(decode=True, filters={"type": "container", "event": "start"})
    found: Queue[tuple[bool, float]] = Queue()

    def follow() -> None:
        for event in events:
            about = event["Actor"]["Attributes"]
            is_ours = about.get(f"{LABEL_PREFIX}installation") == installation
            if is_ours or about["image"] == SCRIPT_IMAGE:
                found.put((is_ours, event["timeNano"] / NANOSECONDS))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        events.close()
        thread.join(timeout=5)
        client.close()


def _print(times: dict[str, list[float]]) -> None:
    print("\nThe HTTP API beside docker run of the same image")
    print(row("docker run, until its container has started", times["bare start"]))
    print(row("POST /{component}/run, until its container has started", times["job start"]))
    print(target("  more than docker run, median of pairs", _more(times, "job start", "bare start"), 3.0, "s"))
    print(row("docker run, until it has ended", times["bare"]))
    print(row("POST /{component}/action/{action}, until the answer", times["action"]))
    print(target("  more than docker run, median of pairs", _more(times, "action", "bare"), 1.5, "s"))


def _more(times: dict[str, list[float]], ours: str, bare: str) -> float:
    return median([one - other for one, other in zip(times[ours], times[bare], strict=True)])
