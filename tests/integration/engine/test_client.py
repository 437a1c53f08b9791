from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from docker_runner.engine.client import Engine
from docker_runner.errors import EngineError


def test_an_engine_that_is_down_is_named_with_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineError) as caught:
        Engine.from_environment()
    message = str(caught.value)
    assert "unix:///nonexistent/docker.sock does not answer" in message
    assert "No such file or directory" in message
    assert "systemctl start docker" in message
    assert "DOCKER_HOST" in message
    assert "\n" not in message


def test_an_engine_at_an_address_where_nothing_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    with pytest.raises(EngineError, match=rf"tcp://127.0.0.1:{port} does not answer .*refused"):
        Engine.from_environment()


def test_a_malformed_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "gopher://engine")
    with pytest.raises(EngineError, match="gopher://engine"):
        Engine.from_environment()


def test_a_user_without_permission_learns_which_group_is_needed(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to give up its rights")
    address = tmp_path / "docker.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(address))
    server.listen()
    address.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    script = (
        "import os\n"
        "from docker_runner.engine.client import Engine\n"
        "import docker, docker.utils\n"
        "os.setuid(12345)\n"
        "try: Engine.from_environment()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {**os.environ, "DOCKER_HOST": f"unix://{address}", "HOME": "/nonexistent"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    server.close()
    assert ran.stdout.startswith(f"EngineError The Docker engine at unix://{address} may not be used by this user")
    assert "group docker" in ran.stdout


def test_the_package_is_imported_without_docker_py() -> None:
    script = (
        "import sys\n"
        "import docker_runner.engine.containers, docker_runner.engine.images, docker_runner.engine.networks\n"
        "import docker_runner.interface.result\n"
        "print(sorted({'docker', 'requests', 'tenacity', 'urllib3'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.engine
def test_the_engines_own_version_is_spoken(engine: Engine) -> None:
    assert engine.client.api_version == engine.client.version()["ApiVersion"]


@pytest.mark.engine
def test_the_high_level_client_is_taken_as_well() -> None:
    import docker

    with Engine(docker.from_env()) as engine:
        assert engine.client.ping()
        assert "docker" in repr(engine)
