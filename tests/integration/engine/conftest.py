from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.engine.tls_engine import Authority, engine_at_port

from docker_runner.engine.client import Engine
from docker_runner.engine.containers import ContainerOutcome, ContainerSpec, Stream, remove_containers, run_container
from docker_runner.engine.redaction import Redactor

LABEL = "com.keboola.docker-runner.test"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.from_environment() as opened:
        yield opened


@pytest.fixture(scope="session")
def base_image() -> str:
    """An image with python3 and a shell, made by the project's set-up."""
    return os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest"


@pytest.fixture(scope="session")
def build(engine: Engine, base_image: str) -> Iterator[Callable[..., str]]:
    """Builds images from Dockerfile lines on top of the base image; they are removed at the end."""
    import io

    built: list[str] = []

    def make(*lines: str, base: str = base_image) -> str:
        tag = f"docker-runner-test/{uuid.uuid4().hex[:12]}:latest"
        dockerfile = "\n".join((f"FROM {base}", *lines)).encode()
        for progress in engine.client.build(fileobj=io.BytesIO(dockerfile), tag=tag, rm=True, decode=True):
            assert "error" not in progress, progress["error"]
        built.append(tag)
        return tag

    yield make
    for tag in built:
        engine.client.remove_image(tag, force=True)


@pytest.fixture(scope="session")
def script_image(build: Callable[..., str]) -> str:
    """An image that runs the Python code of its environment variable SCRIPT."""
    return build(r"""CMD ["python3", "-uc", "import os; exec(os.environ['SCRIPT'])"]""")


@pytest.fixture
def labels(engine: Engine) -> Iterator[dict[str, str]]:
    """Labels of this test's containers alone; what the test leaves behind is removed."""
    own = {LABEL: uuid.uuid4().hex}
    yield own
    remove_containers(engine, own)


@pytest.fixture
def spec(tmp_path: Path, script_image: str, labels: dict[str, str]) -> Callable[..., ContainerSpec]:
    """Makes specifications: small limits, an unprivileged user who owns both folders, no network."""
    for name in ("data", "tmp"):
        (tmp_path / name).mkdir()
        if os.getuid() == 0:
            os.chown(tmp_path / name, 1000, 1000)
    user = "1000:1000" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"

    def make(script: str = "", **changes: object) -> ContainerSpec:
        values: dict[str, object] = {
            "name": f"docker-runner-test-{labels[LABEL]}",
            "image": script_image,
            "labels": labels,
            "environment": {"SCRIPT": script},
            "data": tmp_path / "data",
            "tmp": tmp_path / "tmp",
            "user": user,
            "memory_bytes": 128 * 2**20,
            "cpus": 1,
            "network": "none",
            "timeout_seconds": 60,
            **changes,
        }
        return ContainerSpec(**values)  # type: ignore[arg-type]

    return make


class Ran:
    """A container that was run, and the lines that it showed."""

    def __init__(self, engine: Engine, spec: ContainerSpec, redactor: Redactor | None = None) -> None:
        self.lines: list[tuple[str, str]] = []
        self.outcome: ContainerOutcome = run_container(engine, spec, self._take, redactor=redactor)

    def _take(self, stream: Stream, line: str) -> None:
        self.lines.append((stream.value, line))

    @property
    def stdout(self) -> list[str]:
        return [line for stream, line in self.lines if stream == "stdout"]


@pytest.fixture
def run(engine: Engine, spec: Callable[..., ContainerSpec]) -> Callable[..., Ran]:
    """Runs a script in a container."""

    def start(script: str, *, redactor: Redactor | None = None, **changes: object) -> Ran:
        return Ran(engine, spec(script, **changes), redactor)

    return start


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("the engine's")


@pytest.fixture(scope="session")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority.certify(tmp_path_factory.mktemp("tls") / "client")


@pytest.fixture(scope="session")
def secured_address(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine behind TLS."""
    with engine_at_port(authority.certify(tmp_path_factory.mktemp("tls") / "server")) as address:
        yield address


@pytest.fixture
def secured(secured_address: str, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A connection to it, on a machine whose environment speaks of the internet."""
    monkeypatch.setenv(
        "REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    )
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    point_to(monkeypatch, secured_address, certificates)
    with Engine.from_environment() as engine:
        yield engine


def point_to(monkeypatch: pytest.MonkeyPatch, address: str, certificates: Path | None) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    if certificates is not None:
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(certificates))
