"""Housekeeping while runs begin, pause and build: what is in use stays, whenever it is taken into use."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation
from tests.integration.job.test_housekeeping import NOW, begun, secrets

from docker_runner.engine.container_spec import LABEL_PREFIX, OWNER, OWNER_LABEL
from docker_runner.job.housekeeping import clean
from docker_runner.job.run import at_rest, run_job

pytestmark = pytest.mark.engine


@contextmanager
def container(installation: Installation, job_id: str, folder: Path, *, state: str) -> Iterator[str]:
    """A container of a run, in some state."""
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    labels = {OWNER_LABEL: OWNER, f"{LABEL_PREFIX}jobId": job_id}
    host = client.create_host_config(binds=[f"{folder}:/data"], network_mode="none")
    made = client.create_container(
        SCRIPT_IMAGE, command=["sleep", "600"], labels=labels, host_config=host, entrypoint=[]
    )["Id"]
    try:
        if state != "created":
            client.start(made)
        if state == "paused":
            client.pause(made)
        yield made
    finally:
        with suppress(docker.errors.NotFound):
            client.remove_container(made, force=True)
        client.close()


def exists(container_id: str) -> bool:
    client = docker.APIClient(**docker.utils.kwargs_from_env())
    try:
        return bool(client.containers(all=True, filters={"id": container_id}))
    finally:
        client.close()


def test_a_run_that_begins_while_housekeeping_looks_around_keeps_everything(installation: Installation) -> None:
    asked: list[str] = []

    def is_alive(job_id: str) -> bool:
        """Not when it is looked for, but a moment later: somebody has cleared the run."""
        asked.append(job_id)
        return len(asked) > 2  # once for its folder, once for its container

    with begun(installation, "cleared") as workspace:
        data = workspace.row("").data(0).root
        with container(installation, workspace.job_id, data, state="created") as made:
            done = clean(installation.tools(), NOW, is_alive=is_alive)
            assert (done.containers, done.workspaces) == ([], [])
            assert exists(made)
        assert workspace.folder.exists()
        assert len(secrets(installation)) == 3


@pytest.mark.parametrize(("state", "stays"), [("running", True), ("paused", True), ("created", False)])
def test_of_a_run_that_nobody_knows_stays_what_a_container_still_works_on(
    installation: Installation, state: str, stays: bool
) -> None:
    with begun(installation, "unknown") as workspace:
        data = workspace.row("").data(0).root
        with container(installation, workspace.job_id, data, state=state) as made:
            clean(installation.tools(), NOW, is_alive=lambda _: None)
            assert exists(made) is stays
            assert workspace.folder.exists() is stays


@pytest.fixture
def rests(installation: Installation) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Somebody holds the lock of the run ``cli.test.script.main``: that it does, and when it may give it back."""
    taken, give_back = threading.Event(), threading.Event()
    installation.settings.workspaces.mkdir(parents=True)

    def hold() -> None:
        with at_rest(installation.settings.workspaces, f"cli.{SCRIPT}.main", seconds=60) as resting:
            assert resting
            taken.set()
            give_back.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(120)
    yield taken, give_back
    give_back.set()
    thread.join()


def test_a_run_is_not_refused_because_housekeeping_looks_at_it(
    installation: Installation, rests: tuple[threading.Event, threading.Event]
) -> None:
    installation.script("main", "print('ran')")
    job = replace(installation.job("main"), id=f"cli.{SCRIPT}.main")
    timer = threading.Timer(0.3, rests[1].set)
    timer.start()
    assert run_job(job, installation.tools()).manifests["run_component"]["exit_code"] == 0
    timer.join()


def test_a_run_cannot_begin_in_a_folder_that_is_being_removed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner.job import housekeeping
    from docker_runner.job.run import is_running

    left = installation.settings.workspaces / f"cli.{SCRIPT}.main"
    left.mkdir(parents=True)
    (left / "job.json").write_text(f'{{"id": "cli.{SCRIPT}.main"}}')
    seen: list[bool] = []

    def remove(folder: Path) -> None:
        seen.append(is_running(installation.settings.workspaces, f"cli.{SCRIPT}.main"))
        folder.rename(installation.folder / "removed")

    monkeypatch.setattr(housekeeping, "remove_tree", remove)
    done = clean(installation.tools(), NOW)
    assert done.workspaces == [left.name]
    assert seen == [True], "its lock is held"


def test_source_code_that_killed_builds_left_is_removed_after_a_day(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ages = {"docker-runner-build-old": 25, "docker-runner-git-old": 25, "docker-runner-home-old": 25,
            "docker-runner-build-new": 23, "docker-runner-images.0": 1000, "somebody-elses": 1000}  # fmt: skip
    for name, hours in ages.items():
        (tmp_path / name / "code").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - hours * 3600,) * 2)
    (tmp_path / "docker-runner-git-link").symlink_to(tmp_path / "somebody-elses")
    if os.geteuid() == 0:
        (tmp_path / "docker-runner-git-theirs").mkdir()
        os.utime(tmp_path / "docker-runner-git-theirs", (0, 0))
        os.chown(tmp_path / "docker-runner-git-theirs", 1000, 1000)
    assert len(clean(installation.tools(), NOW, dry_run=True).workspaces) == 3
    assert (tmp_path / "docker-runner-build-old").exists()
    done = clean(installation.tools(), NOW)
    assert done.workspaces == ["docker-runner-build-old", "docker-runner-git-old", "docker-runner-home-old"]
    left = {path.name for path in tmp_path.glob("*") if path.name in ages or "docker-runner-git-" in path.name}
    assert not left & set(done.workspaces)
    assert left >= {"docker-runner-build-new", "docker-runner-images.0", "somebody-elses", "docker-runner-git-link"}
    assert os.geteuid() != 0 or "docker-runner-git-theirs" in left
