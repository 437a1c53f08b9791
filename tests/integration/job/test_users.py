"""As whom containers run, and whose their files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.engine.client import Engine
from docker_runner.engine.container_spec import ContainerSpec
from docker_runner.errors import ApplicationError, ComponentError
from docker_runner.job import permissions
from docker_runner.job.permissions import normalise_in_container
from docker_runner.job.plan import row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.workspace import Workspace

pytestmark = pytest.mark.engine

ROOT = "test.root"
CLOSE = (
    "import os; print('user', os.getuid(), os.stat('/data').st_uid, os.stat('/data/config.json').st_mode & 0o777)\n"
    "os.makedirs('/data/out/tables/sliced'); open('/data/out/tables/sliced/1', 'w').write('1\\n')\n"
    "open('/data/out/tables/sliced.manifest', 'w').write('{\"columns\": [\"a\"]}')\n"
    "os.symlink('/etc', '/data/out/link')\n"
    "for p in ('/data/out/tables/sliced/1', '/data/out/tables/sliced', '/data/out/tables/sliced.manifest'):\n"
    "    os.chmod(p, 0)\n"
)
OUTPUT = {"output": {"tables": [{"source": "sliced", "destination": "out.c-main.t"}]}}


def user_of(installation: Installation) -> list[str]:
    return next(line.split()[1:] for line in installation.lines if line.startswith("user "))


@pytest.mark.rules("DF-30", "CT-4", "D11")
def test_a_component_is_an_unprivileged_user_who_owns_its_folder(installation: Installation) -> None:
    installation.script("who", "import os; print('user', os.getuid(), os.stat('/data').st_uid, os.stat('/tmp').st_uid)")
    installation.run("who")
    wanted = str(os.geteuid() or installation.settings.container_uid)
    assert user_of(installation) == [wanted] * 3


@pytest.mark.rules("DF-31", "DF-33", "CD-50")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)"])
def test_a_root_component_is_root_and_its_files_are_the_workers_afterwards(
    installation: Installation, ending: str
) -> None:
    installation.component(ROOT, {"network": "none"}, features=["container-root-user"])
    installation.script("who", CLOSE + ending, component=ROOT)
    job, tools = installation.job("who", component=ROOT), installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    try:
        step = next(step for step in row_steps({}, job.rows[0].component) if step.name == "run_component")
        if ending:
            with pytest.raises(ComponentError):
                perform(step, workspace=workspace, row_id="", tools=tools, manifests={})
        else:
            perform(step, workspace=workspace, row_id="", tools=tools, manifests={})
        assert user_of(installation)[0] == "0"
        data = workspace.row("").data(0).root
        seen = {str(path.relative_to(data)): path.lstat() for path in data.rglob("*")}
        assert {status.st_uid for status in seen.values()} == {os.geteuid()}
        assert {name: seen[f"out/tables/{name}"].st_mode & 0o700 for name in ("sliced", "sliced/1")} == {
            "sliced": 0o700, "sliced/1": 0o600,
        }  # fmt: skip
    finally:
        clean_up(workspace, tools)


@pytest.mark.rules("DF-33", "DF-31")
def test_what_a_root_component_closed_is_stored_and_open_to_the_next_image(installation: Installation) -> None:
    installation.component(ROOT, {"network": "none"}, features=["container-root-user"])
    look = "import shutil; shutil.copytree('/data/in/tables', '/data/out/tables', dirs_exist_ok=True)"
    item = {"definition": {"component": SCRIPT}, "parameters": {"script": look}}
    installation.script("closes", CLOSE, component=ROOT, storage=OUTPUT, processors={"after": [item]})
    installation.run("closes", component=ROOT)
    assert installation.rows("out.c-main.t") == [{"a": "1"}]


@pytest.fixture
def closed(tmp_path: Path) -> ContainerSpec:
    """Folders with content that only root can read, and the container that would have made them."""
    for name in ("data/out/deep", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/out/deep/f").write_text("x")
    for name in ("data/out/deep/f", "data/out/deep", "data/out"):
        (tmp_path / name).chmod(0)
    return ContainerSpec(
        name=f"test-permissions-{os.getpid()}", image="docker-runner-test/script", labels={},
        environment={"SECRET": "x"}, data=tmp_path / "data", tmp=tmp_path / "tmp", user=None,
        memory_bytes=100_000_000,
    )  # fmt: skip


@pytest.mark.rules("DF-33")
def test_a_worker_that_is_not_root_lets_root_in_a_container_hand_the_files_over(
    script_image: None, closed: ContainerSpec
) -> None:
    engine = Engine.from_environment()
    normalise_in_container(closed, engine, user="12345:54321")
    for name in ("out", "out/deep", "out/deep/f"):
        status = (closed.data / name).stat()
        assert (status.st_uid, status.st_gid) == (12345, 54321)
        assert status.st_mode & 0o700 == (0o600 if name.endswith("f") else 0o700)


@pytest.mark.rules("DF-33")
def test_files_that_cannot_be_handed_over_in_time_are_an_application_error(
    script_image: None, closed: ContainerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (permissions._SECONDS, permissions._ATTEMPTS, permissions._PAUSE_SECONDS) == (120, 3, (60, 180))
    monkeypatch.setattr(permissions, "_PAUSE_SECONDS", (0, 0.1))
    monkeypatch.setattr(permissions, "_SECONDS", 1)
    monkeypatch.setattr(permissions, "_COMMANDS", "sleep 30 # {user}")
    attempts: list[ContainerSpec] = []
    once = permissions._normalise_once

    def counted(spec: ContainerSpec, engine: Engine) -> None:
        attempts.append(spec)
        once(spec, engine)

    monkeypatch.setattr(permissions, "_normalise_once", counted)
    engine = Engine.from_environment()
    with pytest.raises(ApplicationError, match="could not be normalised within 1 seconds"):
        normalise_in_container(closed, engine, user="1:1")
    assert len(attempts) == 3
    monkeypatch.setattr(permissions, "_COMMANDS", "echo no such user {user} >&2; exit 4")
    with pytest.raises(ApplicationError, match="could not be normalised: no such user 1:1"):
        normalise_in_container(closed, engine, user="1:1")
    assert len(attempts) == 4
