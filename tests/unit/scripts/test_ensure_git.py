"""The set-up brings git along, and goes on without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "ensure_git.sh"


def program(folder: Path, name: str, text: str = "") -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with nothing of this machine on it, where everybody may be root."""
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "env", 'while [[ $1 == *=* ]]; do shift; done; "$@"')
    return tmp_path


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["/bin/bash", str(SCRIPT)]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


def test_git_that_is_there_is_left_alone(path: Path) -> None:
    program(path, "git")
    program(path, "apt-get", f"echo >>{path}/called")
    done = run(path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (path / "called").exists()


def test_git_that_is_missing_is_installed(path: Path) -> None:
    program(
        path,
        "apt-get",
        f'echo "$@" >>{path}/called; [ -e {path}/updated ] || [ "$1" = update ] && echo >{path}/updated',
    )
    done = run(path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "git: installing git ...\n", "")
    called = (path / "called").read_text().splitlines()
    assert [line.split()[0] for line in called] == ["install", "update", "install"]
    assert "git" in called[-1].split()


@pytest.mark.parametrize("apt", [True, False])
def test_where_it_cannot_be_installed_the_set_up_goes_on_and_says_what_needs_it(path: Path, apt: bool) -> None:
    if apt:
        program(path, "apt-get", "exit 100")
    done = run(path)
    assert done.returncode == 0
    assert "components whose image is built from a git repository need it" in done.stderr
