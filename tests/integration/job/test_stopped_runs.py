"""What is left of a run that somebody stops, and of one that cannot write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.engine.containers import LABEL_PREFIX

pytestmark = pytest.mark.engine


def running(name: str) -> list[str]:
    """Names of the containers of a configuration's run on the command line."""
    client = docker.from_env()
    try:
        label = f"{LABEL_PREFIX}jobId=cli.{SCRIPT}.{name}"
        return [item.name for item in client.containers.list(all=True, ignore_removed=True, filters={"label": label})]
    finally:
        client.close()


@pytest.mark.rules("CT-9", "LC-10", "LC-39")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_leaves_no_container_and_no_secret_behind(
    installation: Installation, number: signal.Signals
) -> None:
    name = f"stopped-{number.name.lower()}-{os.getpid()}"
    installation.script(name, "import time; print('begun', flush=True); time.sleep(60)")
    command = [str(Path(sys.executable).with_name("docker-runner")), "run", f"{SCRIPT}/{name}"]
    with subprocess.Popen(
        command, env={**os.environ, **installation.environment}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("begun" in line for line in process.stderr)
        started = time.monotonic()
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    if number is signal.SIGINT:
        assert "\nStopping the container ...\n" in said
        assert said.endswith("The run was stopped. Nothing was stored.\n")
    assert time.monotonic() - started < 55  # its component would end by itself then
    assert running(name) == []
    assert installation.workspaces == []


@pytest.mark.rules("CT-2", "CT-9")
def test_two_installations_on_one_engine_leave_each_others_containers_alone(
    installation: Installation, tmp_path: Path
) -> None:
    name = f"twice-{os.getpid()}"
    other = Installation(tmp_path / "other")
    command = [str(Path(sys.executable).with_name("docker-runner")), "run", f"{SCRIPT}/{name}"]
    installation.script(name, "import time; print('begun', flush=True); time.sleep(60)")
    other.script(name, "print('done')")
    with subprocess.Popen(
        command, env={**os.environ, **installation.environment}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("begun" in line for line in process.stderr)
        assert other.command("run", f"{SCRIPT}/{name}").returncode == 0
        still_running = running(name)
        process.terminate()
        process.stderr.read()
    assert len(still_running) == 1


def test_a_folder_that_cannot_be_written_is_named_without_a_traceback(
    installation: Installation, tmp_path: Path
) -> None:
    installation.script("any", "print(1)")
    file = tmp_path / "file"
    file.write_text("")
    done = installation.command("run", f"{SCRIPT}/any", DOCKER_RUNNER_WORKSPACES=str(file / "workspaces"))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr
