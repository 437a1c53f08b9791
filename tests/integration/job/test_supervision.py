"""Runs whose worker dies: the next attempt goes on with what the first one has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.left_behind import held_locks
from tests.installation import SCRIPT, Installation, container_names

from docker_runner.engine.client import Engine
from docker_runner.engine.watching import Leaving
from docker_runner.errors import ApplicationError, RunnerError, UserError
from docker_runner.job.containers import LABEL_JOB, LABEL_ROW, container_name
from docker_runner.job.images import pull_images
from docker_runner.job.plan import Step, row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.supervision import Following, RunRecord, StillRunningError, follow, has_been_followed
from docker_runner.job.workspace import Workspace

pytestmark = pytest.mark.engine

REPOSITORY = Path(__file__).parents[3]
OUTPUT = {"output": {"tables": [{"source": "r.csv", "destination": "out.c-main.r"}]}}
# Says once that it begins, waits, and leaves a result and a state.
WORK = (
    "import json, os, signal, sys, time\n"
    "def until(name):\n"
    "    for _ in range(3000): os.path.exists('/data/' + name) or time.sleep(0.05)\n"
    "print('begin', os.urandom(8).hex(), c['parameters'].get('#p', ''), flush=True)\n"
    "{wait}\n"
    "open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')\n"
    "json.dump({{'n': 1}}, open('/data/out/state.json', 'w'))\n"
    "print('end', flush=True)\n"
)
# A worker that does one step and is killed at some point.
WORKER = """
import sys
from pathlib import Path
from tests.integration.job.test_supervision import Run
from tests.installation import Installation
Run(Installation(Path(sys.argv[1])), sys.argv[2], sys.argv[3]).step(series=sys.argv[4], point=sys.argv[5])
"""


@dataclass
class Run:
    """A run of which single steps are done, as tasks do them."""

    installation: Installation
    name: str
    job_id: str

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.installation.settings.workspaces, self.job_id)

    def begin(self) -> None:
        job, tools = self.installation.job(self.name), self.installation.tools()
        create_workspace(job, self.workspace, tools)

    def the_step(self) -> Step:
        row = self.workspace.job().rows[0]
        return next(step for step in row_steps(row.configuration, row.component) if step.name == "run_component")

    def step(self, *, series: str = "1", point: str = "", **following: Any) -> dict[str, Any]:
        tools = self.installation.tools()
        if point:
            _die_at(point)
        return perform(
            self.the_step(),
            workspace=self.workspace,
            row_id="",
            tools=tools,
            manifests={"pull_images": pull_images(self.workspace.job(), tools)},
            following=Following(series=series, **following),
        )

    def die(self, point: str, *, series: str = "1") -> None:
        """Do the step in a process that is killed with -9 when it gets to a place in the code."""
        folder = str(self.installation.folder)
        command = [sys.executable, "-c", WORKER, folder, self.name, self.job_id, series, point]
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            command, env={**os.environ, **self.installation.environment, "PYTHONPATH": path}, cwd=REPOSITORY,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr

    @property
    def container(self) -> str:
        job = self.workspace.job()
        return container_name(
            job.rows[0].stages[0], job, job.rows[0], installation=self.installation.settings.installation
        )

    @property
    def record(self) -> RunRecord | None:
        return RunRecord.read(self.workspace.row("").stage(0))

    @property
    def data(self) -> Path:
        return self.workspace.row("").data(0).root

    @property
    def lines(self) -> list[str]:
        return self.installation.lines

    def go(self, name: str = "go") -> None:
        """Let a component that waits go on."""
        (self.data / name).touch()

    @contextmanager
    def going(self, condition: Callable[[], Any]) -> Iterator[None]:
        """Let the component go on as soon as something holds."""
        over = threading.Event()

        def look() -> None:
            while not (holds := condition()) and not over.wait(0.05):
                pass
            if holds:
                self.go()

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

    def said(self, text: str) -> bool:
        """Whether a line has this text."""
        return any(text in line for line in self.lines)

    def begun(self) -> int:
        """How many different containers have shown that they began."""
        return len({line.split()[1] for line in self.lines if line.startswith("begin ")})


def _die_at(point: str) -> None:
    """Be killed when a function is called for the first time, or behind it with ``+``."""
    import importlib

    path, _, after = point.partition("+")
    module_name, _, attribute = path.rpartition(":")
    module = importlib.import_module(module_name)
    original = getattr(module, attribute)

    def dying(*args: Any, **kwargs: Any) -> Any:
        if after or "+" in point:
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, attribute, dying)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.from_environment() as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that may not leave its container yet asks again at once."""
    monkeypatch.setattr("docker_runner.job.supervision.Leaving", partial(Leaving, again_seconds=0.2))


@pytest.fixture
def make(installation: Installation) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(wait: str, name: str = "work", script: str = WORK, **nodes: Any) -> Run:
        content = {"parameters": {"script": script.format(wait=wait)}, "storage": OUTPUT, **nodes}
        content["parameters"]["#p"] = installation.cipher("hunter2-hunter2")
        installation.configuration(name, content)
        run = Run(installation, name, installation.job(name).id)
        run.begin()
        runs.append(run)
        return run

    yield begin
    for run in runs:
        clean_up(run.workspace, installation.tools())


@pytest.mark.rules("CT-9", "LG-1")
def test_a_container_that_still_runs_is_followed_by_the_next_attempt(make: Callable[..., Run]) -> None:
    run = make("until('go')")
    run.die("docker_runner.job.stages:_watch")
    assert run.container in container_names()
    assert (run.data / "config.json").exists(), "it may still be read"
    with run.going(lambda: run.said("following it.")):
        manifest = run.step()
    assert manifest["exit_code"] == 0
    assert "Found the container of an earlier attempt still running; following it." in run.lines
    assert run.begun() == 1
    assert [line for line in run.lines if "begin" in line or "end" in line][-1] == "end"
    assert run.container not in container_names()
    assert not (run.data / "config.json").exists()
    assert "hunter2" not in "".join(run.lines)


@pytest.mark.parametrize(
    "point",
    [
        "docker_runner.engine.watching:LogReader",
        "docker_runner.job.stages:finish_stage",
        "docker_runner.job.stages:keep_new_state+",
        "docker_runner.job.steps:release_stage",
        "docker_runner.job.stages:remove_container",
        "docker_runner.job.stages:remove_container+",
    ],
)
def test_a_component_that_has_done_its_work_is_not_run_again_whenever_its_worker_died(
    make: Callable[..., Run], point: str
) -> None:
    run = make("")
    run.die(point)
    manifest = run.step()
    assert manifest["exit_code"] == 0
    assert run.begun() <= 1
    assert any("earlier attempt" in line for line in run.lines)
    assert "still running" not in "".join(run.lines) or point.endswith("LogReader")
    assert run.container not in container_names()
    assert not [path for path in run.data.rglob("*") if path.name in ("config.json", "state.json")]
    # The results are there for the next step.
    assert (run.data / "out/tables/r.csv").read_text() == "n\n1\n"
    assert run.workspace.row("").done("new_state") == {"n": 1}


@pytest.mark.rules("LC-47", "CT-33")
def test_after_an_application_error_the_component_is_run_again(make: Callable[..., Run]) -> None:
    run = make("import sys; sys.exit(3)")
    for _ in range(2):
        with pytest.raises(ApplicationError, match=r"failed: \(3\)"):
            run.step()
    assert run.begun() == 2
    assert run.container not in container_names()


def test_a_failure_that_nobody_could_tell_any_more_is_told_by_the_next_attempt(make: Callable[..., Run]) -> None:
    run = make("import sys; print('No such account.', file=sys.stderr); sys.exit(1)")
    run.die("docker_runner.job.stages:finish_stage")
    with pytest.raises(UserError, match=r"No such account\."):
        run.step()
    assert run.begun() == 0, "what the first attempt has shown is not shown again"
    assert run.container not in container_names()


def test_a_container_that_was_made_but_never_started_is_replaced(make: Callable[..., Run], engine: Engine) -> None:
    run = make("")
    run.die("docker_runner.engine.containers:_create+")
    assert run.container in container_names()
    assert run.step()["exit_code"] == 0
    assert run.begun() == 1
    assert not any("earlier attempt" in line for line in run.lines)


def test_a_component_that_was_stopped_and_tidied_up_is_run_again(
    make: Callable[..., Run], engine: Engine, impatient: None
) -> None:
    trap = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); open('/data/out/ready', 'w').close()"
    run = make(f"{trap}; time.sleep(300)")
    run.die("docker_runner.job.stages:_watch")
    wait_until((run.data / "out/ready").exists)
    engine.client.stop(run.container, timeout=60)
    with pytest.raises(ApplicationError, match="told to end from outside"):
        run.step()
    assert run.record is not None
    assert run.record.told_to_end
    with pytest.raises(StillRunningError):
        run.step(leave_after=0.2, may_leave=lambda: run.begun() == 2)
    assert run.begun() == 2
    assert any("was stopped from outside (exit code 0); it is run again" in line for line in run.lines)
    assert not run.record.told_to_end


def test_a_container_that_was_stopped_while_nobody_watched_is_run_again(
    make: Callable[..., Run], engine: Engine
) -> None:
    run = make("until('go')")
    run.die("docker_runner.job.stages:_watch")
    (killed,) = container_names_of(engine, run.container)
    engine.client.kill(run.container)
    with run.going(lambda: [found for found in container_names_of(engine, run.container) if found != killed]):
        assert run.step()["exit_code"] == 0
    assert any("was stopped from outside (exit code 137); it is run again" in line for line in run.lines)


def test_whoever_repeats_a_step_by_hand_gets_it_done_anew(make: Callable[..., Run]) -> None:
    run = make("time.sleep(2)")
    run.die("docker_runner.job.stages:_watch", series="1")
    assert run.step(series="2")["exit_code"] == 0
    assert not any("earlier attempt" in line for line in run.lines)
    assert run.step(series="3")["exit_code"] == 0
    assert run.begun() == 2


def test_a_folder_that_was_made_anew_gets_a_container_of_its_own(make: Callable[..., Run]) -> None:
    run = make("time.sleep(3)")
    run.die("docker_runner.job.stages:_watch")
    (run.workspace.row("").stage(0) / "attempt").write_text("another")
    assert run.step()["exit_code"] == 0
    assert not any("earlier attempt" in line for line in run.lines)


@pytest.mark.rules("CT-12", "CT-31")
def test_a_container_that_outlived_its_time_limit_is_killed_when_it_is_found(make: Callable[..., Run]) -> None:
    run = make("time.sleep(300)", runtime={"process_timeout": 2})
    run.die("docker_runner.job.stages:_watch")
    time.sleep(2)
    with pytest.raises(UserError, match="exceeded the timeout of 2 seconds"):
        run.step()


def test_a_container_is_left_and_taken_over_again_with_its_log_whole(make: Callable[..., Run], impatient: None) -> None:
    run = make("for i in range(20): print('tick', i, flush=True); time.sleep(0.1); i == 10 and until('go')")
    with pytest.raises(StillRunningError) as left:
        run.step(leave_after=0.2, may_leave=lambda: run.said("tick 3"))
    run.go()
    assert left.value.container_id
    assert run.record is not None
    assert run.record.position.shown["stdout"] > 0
    assert (run.data / "config.json").exists()
    assert run.step(resumed=True, watched=True)["exit_code"] == 0
    assert [line for line in run.lines if line.startswith("tick")] == [f"tick {n}" for n in range(20)]
    assert "Found the container" not in "".join(run.lines)


def test_a_container_that_is_gone_when_its_step_goes_on_is_an_application_error(
    make: Callable[..., Run], engine: Engine
) -> None:
    run = make("time.sleep(30)")
    with pytest.raises(StillRunningError):
        run.step(leave_after=0.5)
    engine.client.remove_container(run.container, force=True)
    with pytest.raises(ApplicationError, match="The container is gone"):
        run.step(resumed=True, watched=False)
    with pytest.raises(ApplicationError, match="The engine is away"):
        run.step(resumed=True, problem="The engine is away.")


def test_stopping_one_row_leaves_the_others_alone(make: Callable[..., Run], engine: Engine) -> None:
    from docker_runner.job.steps import stop_containers

    run = make("time.sleep(30)")
    with pytest.raises(StillRunningError):
        run.step(leave_after=0.5)
    tools = run.installation.tools()
    assert stop_containers(run.workspace.job_id, tools, row_id="other") == 0
    labels = engine.client.inspect_container(run.container)["Config"]["Labels"]
    assert labels[LABEL_JOB] == run.workspace.job_id
    assert labels[LABEL_ROW] == ""
    assert stop_containers(run.workspace.job_id, tools, row_id="") == 1


# A worker that follows a container until it is told to end as Airflow does it, and says what it did then.
FOLLOWER = """
import signal, sys
from pathlib import Path
from tests.integration.job.test_supervision import Run
from tests.installation import Installation
from docker_runner_airflow import api_server
from docker_runner_airflow.operators import RunComponentOperator
from docker_runner.job.supervision import Following
api_server.answers = lambda: True
run = Run(Installation(Path(sys.argv[1])), sys.argv[2], sys.argv[3])
task = RunComponentOperator.of(run.the_step())
task._job_id, task.following = run.job_id, Following(series="1", attempt=sys.argv[4])
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
run.step(attempt=sys.argv[4])
print("done", flush=True)
"""


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_worker_that_was_suspended_too_long_does_not_stop_what_the_next_attempt_follows(
    make: Callable[..., Run], engine: Engine, tmp_path: Path
) -> None:
    run = make("until('go')")
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")])
    environment = {
        **os.environ, **run.installation.environment, "PYTHONPATH": path, "AIRFLOW_HOME": str(tmp_path / "airflow"),
    }  # fmt: skip
    folder = run.workspace.row("").folder

    def follower(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FOLLOWER, str(run.installation.folder), run.name, run.job_id, name]
        worker = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        workers.enter_context(killed_at_last(worker))
        wait_until(lambda: worker.poll() is not None or followed_by() == name)
        assert worker.poll() is None
        return worker

    def followed_by() -> str:
        return (folder / "follower").read_text() if (folder / "follower").exists() else ""

    def state() -> str:
        return str(engine.client.inspect_container(run.container)["State"]["Status"])

    with ExitStack() as workers:
        first = follower("first")
        wait_until(lambda: run.record and container_names_of(engine, run.container))
        # It must not hold a lock while it is suspended, which would hold up the second one.
        wait_until(lambda: suspended(first, run.installation.folder))
        second = follower("second")
        # It wakes, and its supervisor tells it to end. (A signal that waits for the wake may reach another thread.)
        first.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=120)
        assert first.returncode not in (0, -signal.SIGTERM)
        assert state() == "running"
        # The one that follows now is told to end: it stops the container.
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=120)
        assert second.returncode != 0
        assert not container_names_of(engine, run.container)


@contextmanager
def killed_at_last(process: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no process behind when the test fails."""
    with process:
        try:
            yield
        finally:
            process.kill()


def suspended(process: subprocess.Popen[str], folder: Path) -> bool:
    """Suspend a process, unless it holds a lock of a file in a folder."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    # That of its own scratch folder holds nobody up.
    if not [name for name in held_locks(folder, without=folder / "airflow") if "/scratch/" not in name]:
        return True
    process.send_signal(signal.SIGCONT)
    return False


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until something holds, however slow the machine is."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def container_names_of(engine: Engine, name: str) -> list[str]:
    """Ids of the container of that name, when it runs."""
    return [item["Id"] for item in engine.client.containers(filters={"name": f"^/{name}$"})]


def test_of_a_whole_run_the_row_that_was_begun_last_tells_who_follows(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "run")
    for row, attempt in (("a", "first"), ("b", "second")):
        workspace.row(row).folder.mkdir(parents=True)
        follow(workspace.row(row), Following(attempt=attempt))
    assert has_been_followed(workspace, "first")
    assert not has_been_followed(workspace, "second")
    assert not has_been_followed(workspace, "first", row_id="a")
    assert has_been_followed(workspace, "first", row_id="b")
    assert not has_been_followed(Workspace(tmp_path, "gone"), "first")


def test_the_command_line_never_takes_over(installation: Installation) -> None:
    installation.script("plain", "print('begin', 1)")
    assert installation.run("plain").manifests["run_component"]["exit_code"] == 0
    with pytest.raises(RunnerError):
        installation.run("absent")
    assert not [name for name in container_names() if SCRIPT in name and installation.name in name]
