"""What becomes of what killed runs left, and of what is not ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation

from docker_runner.engine.container_spec import LABEL_PREFIX, OWNER, OWNER_LABEL
from docker_runner.errors import UserError
from docker_runner.job.housekeeping import Limits, clean, period
from docker_runner.job.steps import clean_up, create_workspace
from docker_runner.job.supervision import RunRecord
from docker_runner.job.workspace import Workspace

pytestmark = pytest.mark.engine

SECRET = "a-secret-of-mine"
WAITS = "import time; print('begun', flush=True); time.sleep(300)"
# Images that were built are the whole engine's, which other tests have at the same time: none is so old.
NO_IMAGES = timedelta(days=36_500)
NOW = Limits(ended=timedelta(), unknown=timedelta(), images=NO_IMAGES)
WEEK = Limits(ended=timedelta(days=7), unknown=timedelta(days=7), images=NO_IMAGES)
CLEAN = ("clean", "--images", f"{NO_IMAGES.days}d")


@contextmanager
def running(installation: Installation, name: str) -> Iterator[subprocess.Popen[str]]:
    """A run on the command line whose component has begun."""
    installation.configuration(name, {"parameters": {"script": WAITS, "#secret": installation.cipher(SECRET)}})
    command = [str(Path(sys.executable).with_name("docker-runner")), "run", f"{SCRIPT}/{name}"]
    environment = {**os.environ, **installation.environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any(line.strip() == "begun" for line in process.stderr)
            yield process
        finally:
            process.kill()
            remove(containers(installation))


def containers(installation: Installation) -> list[str]:
    """Ids of containers that work in this installation's folders."""
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    try:
        found = client.containers(all=True, filters={"label": f"{OWNER_LABEL}={OWNER}"})
    finally:
        client.close()
    root = str(installation.settings.workspaces)
    return [item["Id"] for item in found if any(mount["Source"].startswith(root) for mount in item["Mounts"])]


def remove(ids: list[str]) -> None:
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    try:
        for container in ids:
            client.remove_container(container, force=True)
    finally:
        client.close()


def secrets(installation: Installation) -> list[Path]:
    return [
        path
        for path in installation.settings.workspaces.rglob("*")
        if path.is_file() and SECRET in path.read_text(errors="replace")
    ]


@pytest.mark.rules("CT-9", "LC-39")
def test_what_a_killed_run_left_is_removed_and_what_still_runs_is_not(installation: Installation) -> None:
    with running(installation, "killed") as killed, running(installation, "at-work"):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len(containers(installation)) == 2
        assert len(secrets(installation)) == 2
        told = installation.command(*CLEAN, "--older-than", "0d", "--dry-run")
        assert told.stdout.startswith("Would remove 1 containers, 1 workspaces, 0 images.")
        assert "killed" in told.stdout
        assert len(containers(installation)) == len(secrets(installation)) == 2
        done = installation.command(*CLEAN, "--older-than", "0d")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Removed 1 containers, 1 workspaces, 0 images.")
        assert "0 files of tables, 0 contents of stored files" in done.stdout
        assert "at-work" not in done.stdout
        assert len(containers(installation)) == len(secrets(installation)) == 1
        assert len(installation.workspaces) == 1


def test_what_stirred_a_short_while_ago_stays(installation: Installation) -> None:
    with running(installation, "killed") as killed:
        killed.kill()
        killed.wait()
        assert clean(installation.tools(), WEEK).workspaces == []
        assert len(containers(installation)) == len(secrets(installation)) == 1
        # Its secrets go as soon as nobody can be reading them, neither a process nor its container.
        remove(containers(installation))
        assert len(secrets(installation)) == 1
        told = installation.command(*CLEAN, "--dry-run")
        assert told.stdout.startswith("Would remove 0 containers, 0 workspaces, 0 images.\n  secrets in workspace cli.")
        assert len(secrets(installation)) == 1
        done = clean(installation.tools(), WEEK)
        assert (done.workspaces, len(done.secrets), len(installation.workspaces)) == ([], 1, 1)
        assert secrets(installation) == []
        assert clean(installation.tools(), WEEK).secrets == []


def test_secrets_of_a_run_of_airflow_go_as_soon_as_airflow_says_that_it_has_ended(installation: Installation) -> None:
    with begun(installation, "ended") as workspace:
        stage = workspace.row("").stage(0)
        RunRecord("series").write(stage)
        for state, left in ((None, 3), (True, 3), (False, 0)):
            assert clean(installation.tools(), WEEK, is_alive=lambda _, state=state: state).workspaces == []  # type: ignore[misc]
            assert len(secrets(installation)) == left
            # A container whose new state is gone is run again when somebody clears its task.
            assert (RunRecord.read(stage) is None) == (left == 0)
        assert workspace.folder.exists()


@contextmanager
def begun(installation: Installation, name: str) -> Iterator[Workspace]:
    """A run as Airflow begins one, with a secret in its data folder."""
    installation.script(name, "print(1)")
    job = installation.job(name)
    tools = installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    for folder in ("", "in/", "out/"):
        file = workspace.row("").make_stage(0).root if not folder else workspace.row("").data(0).root
        (file / f"{folder}{'state' if folder else 'config'}.json").write_text(SECRET)
    yield workspace
    clean_up(workspace, tools)


def test_a_run_of_airflow_is_cleaned_up_when_airflow_says_that_it_has_ended(installation: Installation) -> None:
    asked: list[str] = []

    def is_alive(job_id: str) -> bool:
        asked.append(job_id)
        return job_id.endswith("/alive")

    with begun(installation, "alive") as alive, begun(installation, "ended") as ended:
        done = clean(installation.tools(), NOW, is_alive=is_alive)
        assert done.workspaces == [ended.folder.name]
        assert (alive.folder.exists(), ended.folder.exists()) == (True, False)
        assert sorted(set(asked)) == [f"{installation.name}/alive", f"{installation.name}/ended"]
        assert len(secrets(installation)) == 3


def test_a_run_that_outlives_its_dag_run_is_stopped_unless_nobody_knows_whether_it_does(
    installation: Installation,
) -> None:
    with running(installation, "outlives"):
        for state in (True, None):
            assert clean(installation.tools(), NOW, is_alive=lambda _, state=state: state).containers == []  # type: ignore[misc]
        done = clean(installation.tools(), NOW, is_alive=lambda _: False)
        assert len(done.containers) == len(done.workspaces) == 1
        assert containers(installation) == installation.workspaces == []


def test_what_nobody_knows_of_is_removed_when_it_is_old(installation: Installation) -> None:
    limits = Limits(ended=timedelta(), unknown=timedelta(days=7), images=NO_IMAGES)
    with begun(installation, "unknown") as workspace:
        assert clean(installation.tools(), limits).workspaces == []
        for path in (workspace.folder, *workspace.folder.rglob("*")):
            os.utime(path, (time.time() - 8 * 86_400,) * 2)
        assert clean(installation.tools(), limits).workspaces == [workspace.folder.name]


@pytest.fixture
def foreign(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Containers that are not this installation's: another one's of the same run, and somebody's with our labels."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    ours = {OWNER_LABEL: OWNER, f"{LABEL_PREFIX}jobId": "some/run"}
    inside = installation.settings.workspaces / "some~2frun" / "data"
    inside.mkdir(parents=True)
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    made = []
    try:
        for labels, source in (
            (ours, elsewhere),
            (ours, Path(f"{installation.settings.workspaces}-other")),
            ({}, inside),
            (ours, None),
        ):
            if source:
                source.mkdir(exist_ok=True)
            host = client.create_host_config(binds=[f"{source}:/data"] if source else [])
            made.append(client.create_container(SCRIPT_IMAGE, labels=labels, host_config=host)["Id"])
        yield made
    finally:
        for container in made:
            client.remove_container(container, force=True)
        client.close()


def test_containers_folders_and_files_of_others_stay(installation: Installation, foreign: list[str]) -> None:
    root = installation.settings.workspaces
    (root / "notes").mkdir()
    (root / "notes" / "mine.txt").write_text("")
    (root / "notes.txt").write_text("")
    (root / "link").symlink_to(installation.settings.project)
    done = clean(installation.tools(), NOW, is_alive=lambda _: False)
    assert (done.containers, done.workspaces) == ([], [])
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    try:
        assert [client.inspect_container(container)["Id"] for container in foreign] == foreign
    finally:
        client.close()
    assert sorted(path.name for path in root.iterdir()) == ["link", "notes", "notes.txt", "some~2frun"]
    assert installation.settings.project.exists()


def test_secrets_go_first_even_when_nothing_else_can_be_removed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner.errors import ApplicationError
    from docker_runner.job import housekeeping

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(housekeeping, "remove_tree", refuse)
    with begun(installation, "ended") as workspace:
        assert len(secrets(installation)) == 3
        with pytest.raises(ApplicationError, match=r"Permission denied.*ended"):
            clean(installation.tools(), NOW, is_alive=lambda _: False)
        assert secrets(installation) == []
        assert workspace.folder.exists()


def test_secrets_go_also_when_the_engine_is_down_but_nothing_that_may_be_at_work(installation: Installation) -> None:
    from docker_runner.engine.client import Engine
    from docker_runner.errors import ApplicationError, EngineError
    from docker_runner.job.tools import Tools

    def down() -> Engine:
        raise EngineError("The Docker engine does not answer.")

    tools = Tools(installation.settings, connect=down)
    with begun(installation, "ended") as workspace:
        for state, left in ((None, 3), (False, 0)):
            with pytest.raises(ApplicationError, match=r"^The Docker engine does not answer\.$"):
                clean(tools, NOW, is_alive=lambda _, state=state: state)  # type: ignore[misc]
            assert len(secrets(installation)) == left
        assert not workspace.folder.exists()


def test_a_run_of_airflow_that_stirred_today_stays_whatever_the_command_line_says(installation: Installation) -> None:
    with begun(installation, "between-two-tasks") as workspace:
        done = installation.command(*CLEAN, "--older-than", "0h")
        assert done.stdout.startswith("Removed 0 containers, 0 workspaces")
        assert workspace.folder.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7d", timedelta(days=7)), ("12h", timedelta(hours=12)), ("30m", timedelta(minutes=30)), ("2", timedelta(days=2))],
)
def test_times_are_written_with_their_unit(text: str, expected: timedelta) -> None:
    assert period(text, option="--older-than") == expected


@pytest.mark.parametrize("text", ["", "d", "-1d", "1.5h", "1w", "\u0663d", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--older-than must be a time such as 7d, 12h or 30m"):
        period(text, option="--older-than")


class TaskInstance:
    """As much of Airflow's as the housekeeping asks."""

    def __init__(self, alive: set[tuple[str, str]]) -> None:
        self.alive = alive

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        assert states == ["queued", "running"]
        return sum((dag_id, run_id) in self.alive for run_id in run_ids)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_dag_asks_airflow_for_each_run_and_is_paused_at_first(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner_airflow.housekeeping import housekeeping_dag

    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    dag = housekeeping_dag()
    assert dag.is_paused_upon_creation
    # What is only just beginning cannot be told from what nobody knows.
    assert dag.params.get_param("unknown_days").schema["minimum"] == 1
    params: dict[str, Any] = {name: param.value for name, param in dag.params.items()}
    params |= {"ended_hours": 0, "image_days": NO_IMAGES.days}
    context = {"params": params, "ti": TaskInstance({(installation.name, "alive")})}
    with begun(installation, "alive") as alive, begun(installation, "ended") as ended:
        said = dag.get_task("clean").execute(context)
        assert said.startswith("Removed 0 containers, 1 workspaces, 0 images.")
        assert (alive.folder.exists(), ended.folder.exists()) == (True, False)
        dag.get_task("maintain_storage").execute(context)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_dag_cannot_remove_is_told_once_and_tried_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from docker_runner_airflow.housekeeping import housekeeping_dag
    from docker_runner_airflow.retries import StepFailed

    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    dag = housekeeping_dag()
    context = {"params": {name: param.value for name, param in dag.params.items()}, "ti": TaskInstance(set())}
    with pytest.raises(StepFailed, match="does not answer") as failed:
        dag.get_task("clean").execute(context)
    assert failed.value.can_be_repeated
    assert "does not answer" in caplog.text


def test_job_identities_are_read_only_from_where_they_belong(installation: Installation) -> None:
    with begun(installation, "one") as workspace:
        (workspace.folder / "job.json").write_text(json.dumps({"id": "other/run"}))
        done = clean(installation.tools(), NOW, is_alive=lambda job_id: job_id != "")
        assert done.workspaces == [workspace.folder.name]
