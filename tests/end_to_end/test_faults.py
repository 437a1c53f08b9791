"""Whatever is killed while a run is under way: the run ends well, its component did its work once, nothing is left.

Four faults by default; ``make faults`` strikes 36 times. ``DOCKER_RUNNER_FAULTS`` is their number, and
``DOCKER_RUNNER_FAULTS_SEED`` repeats a sequence.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow_home import LocalAirflow
from filelock import FileLock
from tests.end_to_end.conftest import IMPATIENT, REPOSITORY
from tests.end_to_end.left_behind import held_locks
from tests.end_to_end.own_engine import OwnEngine
from tests.end_to_end.running import Running, states, until
from tests.installation import SCRIPT_IMAGE, Installation, build_script_image

pytestmark = [
    pytest.mark.engine,
    pytest.mark.airflow,
    pytest.mark.faults,
    # A process that is killed with an open file is what this is about.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

COUNT = int(os.environ.get("DOCKER_RUNNER_FAULTS") or 4)
SEED = int(os.environ.get("DOCKER_RUNNER_FAULTS_SEED") or time.time())
SECRET = "hunter2-hunter2-hunter2"
# Each attempt's /data/in is made of hard links to the same loaded files. So a component can count over all attempts of
# a run how often it began and how often it came to its end, as long as the file looks unchanged.
SCRIPT = """
import os, time
def count(place):
    path = '/data/in/tables/t.csv'
    before = os.stat(path)
    with open(path, 'r+b') as file:
        content = file.read()
        at = content.index(b'counter-') + 8 + place
        file.seek(at)
        file.write(bytes([content[at] + 1]))
        content = content[:at] + bytes([content[at] + 1]) + content[at + 1:]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return content[content.index(b'counter-') + 8:][:2].decode()
print('begin', count(0), c['parameters']['#p'], flush=True)
for n in range(12):
    print('tick', n, flush=True)
    time.sleep(0.5)
counted = count(1)
row = ','.join([os.environ['KBC_RUNID'], *counted])
open('/data/out/tables/r.csv', 'w').write('run,begun,ended\\n' + row + '\\n')
print('end', flush=True)
"""


@dataclass
class Ground:
    """An Airflow and an engine, each of its own, that may be killed."""

    running: Running
    engine: OwnEngine
    told: list[str] = field(default_factory=list)

    def tasks(self) -> list[tuple[int, int]]:
        """The processes of tasks that run now, or next, each with its supervisor; none when nothing follows."""
        until = time.monotonic() + 8
        while not (found := self._tasks()) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def _tasks(self) -> list[tuple[int, int]]:
        with self.running.airflow.api() as api:
            runs = api.call("GET", "/dags/~/dagRuns/~/taskInstances?state=running")["task_instances"]
        found = []
        for pid in filter(None, (item["pid"] for item in runs)):
            with suppress(psutil.Error):
                found.append((pid, psutil.Process(pid).ppid()))
        return found


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def a_task(ground: Ground) -> None:
    kill(*(pid for pid, _ in ground.tasks()))


def a_supervisor(ground: Ground) -> None:
    kill(*(parent for _, parent in ground.tasks() if parent > 1))


def a_worker(ground: Ground) -> None:
    kill(*(pid for pair in ground.tasks() for pid in reversed(pair) if pid > 1))


def the_scheduler(ground: Ground) -> None:
    kill(ground.running.process("scheduler"))


def the_triggerer(ground: Ground) -> None:
    pid = ground.running.process("triggerer")
    with suppress(psutil.Error):
        kill(pid, *(child.pid for child in psutil.Process(pid).children(recursive=True)))


def the_api_server(ground: Ground) -> None:
    pid = ground.running.process("api-server")
    with suppress(psutil.Error):
        kill(pid, *(child.pid for child in psutil.Process(pid).children(recursive=True)))
    # It is started again, as systemd does it elsewhere; who asks for the run's state needs it.
    until(lambda: ground.running.process("api-server") != pid and answers(ground))


def answers(ground: Ground) -> bool:
    try:
        with ground.running.airflow.api() as api:
            api.call("GET", "/version")
    except Exception:
        return False
    return True


def the_engine(ground: Ground) -> None:
    ground.engine.kill()
    time.sleep(random.uniform(0, 2))
    ground.engine.start()


# The first four are those that no other test kills while a run is under way.
FAULTS: list[Callable[[Ground], None]] = [
    the_scheduler, the_engine, the_triggerer, a_supervisor, a_worker, a_task, the_api_server,
]  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    folder = tmp_path_factory.mktemp("faults")
    (folder / "tmp").mkdir()
    engine = OwnEngine(f"{SCRIPT_IMAGE}:latest")
    installation = Installation(folder)
    airflow = LocalAirflow(
        home=folder / "home" / "airflow",
        dags_folder=REPOSITORY / "dags",
        plugins_folder=REPOSITORY / "plugins",
        environment={
            **installation.environment,
            **IMPATIENT,
            "DOCKER_RUNNER_DEFER_AFTER": "2",
            # A task that is taken for dead by mistake does no harm here.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
            "DOCKER_HOST": engine.address,
            # What lies in here was left by these runs and nobody else's.
            "TMPDIR": str(folder / "tmp"),
        },
    )
    try:
        engine.start().load()
        airflow.start(timeout=300)
        yield Ground(Running(airflow, installation), engine)
    finally:
        airflow.stop()
        engine.stop()


@pytest.mark.rules("CT-9", "LC-47")
def test_every_run_ends_well_and_its_component_did_its_work_once(ground: Ground) -> None:
    chance = random.Random(SEED)
    installation = ground.running.installation
    installation.load("in.c-main.t", "id,v\n1,counter-00\n")
    storage = {
        "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
        "output": {"tables": [{"source": "r.csv", "destination": "out.c-main.faults", "incremental": True}]},
    }
    parameters = {"script": SCRIPT, "#p": installation.cipher(SECRET)}
    installation.configuration("faults", {"parameters": parameters, "storage": storage})
    ground.running.run("faults")
    for number in range(COUNT):
        fault = FAULTS[number % len(FAULTS)]
        moment = chance.uniform(0, 14)
        dag, run = ground.running.trigger("faults")
        time.sleep(moment)
        fault(ground)
        said = f"fault {number + 1} of {COUNT} (seed {SEED}): {fault.__name__} killed after {moment:.1f} s"
        check(ground, dag, run, said)


def check(ground: Ground, dag: str, run: str, said: str) -> None:
    """The run ends well, its component began once unless the engine was killed, and ended once; nothing is left.

    Nothing: no container or volume in an engine that has no other user, no folder, no secret, no lock that is held.
    """
    began = time.monotonic()
    result = ground.running.wait(dag, run)
    installation = ground.running.installation
    attempts = {task.task_id: task.attempt for task in result.tasks if task.attempt > 1}
    print(f"{said}: {result.state} after {time.monotonic() - began:.0f} s more; tried again: {attempts or 'nothing'}")
    if result.state != "success":
        print(logs(ground, dag, run, result.tasks), ground.engine.log(), sep="\n")
    assert result.state == "success", (said, states(result))
    rows = [row for row in installation.rows("out.c-main.faults") if row["run"] == run]
    assert len(rows) == 1, (said, rows)
    assert rows[0]["ended"] == "1", (said, rows)
    assert rows[0]["begun"] == "1" or "the_engine" in said, (said, rows)
    assert installation.workspaces == [], said
    with ground.engine.client() as client:
        assert [item.name for item in client.containers.list(all=True)] == [], said
        assert client.volumes.list() == [], said
    # A process that was killed lets go of its locks when the kernel has taken it away.
    until(lambda: not locks_held(ground))
    assert list((installation.folder / "tmp").glob("docker-runner-*-*")) == [], said
    assert not secrets_on_disk(installation.folder), said


def locks_held(ground: Ground) -> dict[str, list[str]]:
    """Locks of the runner: of the Storage, of runs, of images and builds."""
    return held_locks(ground.running.installation.folder, without=ground.running.airflow.home)


def test_a_lock_that_somebody_holds_is_seen(ground: Ground) -> None:
    file = ground.running.installation.folder / "home" / "storage" / "a.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file):
        assert locks_held(ground) == {"home/storage/a.lock": [str(os.getpid())]}
    assert locks_held(ground) == {}


def secrets_on_disk(folder: Path) -> list[Path]:
    """Files with the secret in plain text, Airflow's database and logs included."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                found.append(path)
    return found


def logs(ground: Ground, dag: str, run: str, tasks: Any) -> str:
    """The end of the logs of all attempts of what did not go well."""
    text = []
    with ground.running.airflow.api() as api:
        for task in tasks:
            if task.state == "failed":
                for attempt in range(1, task.attempt + 1):
                    lines = [str(entry.get("event", "")) for entry in api.log(dag, run, task.task_id, attempt=attempt)]
                    text += [f"--- {task.task_id}, attempt {attempt}", *lines[-15:]]
    return "\n".join(text)
