"""An engine at a TCP address: the same runs, the same logs, and clear words when the certificates do not fit."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.installation import Installation, build_script_image
from tests.integration.engine.conftest import Ran, point_to
from tests.integration.engine.tls_engine import Authority, engine_at_port

from docker_runner.engine.client import LOCAL_SOCKET, Engine
from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.containers import ContainerSpec, remove_containers, start_container
from docker_runner.engine.waiting import wait_for_container
from docker_runner.engine.wire import Wire
from docker_runner.errors import EngineError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.environ.get("DOCKER_HOST", LOCAL_SOCKET) != LOCAL_SOCKET, reason="forwards the local socket"),
]
LINES = 5000
TALKS = f"import sys\nfor n in range({LINES}): print('line', n)\nprint('wrong', file=sys.stderr)"


def test_a_container_runs_behind_tls_and_its_whole_log_is_shown(
    secured: Engine, spec: Callable[..., ContainerSpec]
) -> None:
    ran = Ran(secured, spec(TALKS))
    assert ran.stdout == [f"line {n}" for n in range(LINES)]
    assert ("stderr", "wrong") in ran.lines
    assert ran.outcome.exit_code == 0


def test_a_silent_container_behind_tls_is_still_ended_at_its_time_limit(
    secured: Engine, spec: Callable[..., ContainerSpec]
) -> None:
    for limit in (2, 10, 60):
        ran = Ran(secured, spec("import time; print('begun', flush=True); time.sleep(600)", timeout_seconds=limit))
        if ran.stdout:
            break
    assert ran.stdout == ["begun"]
    assert ran.outcome.timed_out


def test_the_triggerers_way_of_waiting_works_behind_tls(
    secured: Engine, spec: Callable[..., ContainerSpec], labels: dict[str, str]
) -> None:
    lines: list[str] = []
    log = ContainerLog(lambda _, more: lines.extend(more))
    container = start_container(secured, spec(TALKS), log).container_id
    try:
        state = asyncio.run(
            wait_for_container(
                Wire.of(secured), container, lambda: log, timeout_seconds=60, on_progress=lambda _: None
            )
        )  # fmt: skip
    finally:
        remove_containers(secured, labels)
    assert state.exit_code == 0
    assert [line for line in lines if line != "wrong"] == [f"line {n}" for n in range(LINES)]


@pytest.mark.parametrize("tls", [True, False])
def test_the_command_line_runs_at_a_tcp_address(
    tls: bool, secured_address: str, certificates: Path, tmp_path: Path, base_image: str
) -> None:
    build_script_image(base_image)
    installation = Installation(tmp_path)
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.r"}]}
    script = "print('said over the line'); open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')"
    installation.script("main", script, storage={"output": output})
    with engine_at_port() as open_address:
        variables = {"DOCKER_HOST": secured_address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
        done = installation.command("run", "test.script/main", **(variables if tls else {"DOCKER_HOST": open_address}))
    assert done.returncode == 0, done.stderr
    assert "  said over the line" in done.stderr.splitlines()
    assert installation.rows("out.c-main.r") == [{"n": "1"}]
    assert installation.workspaces == []


def refused(monkeypatch: pytest.MonkeyPatch, address: str, certificates: Path | None) -> str:
    point_to(monkeypatch, address, certificates)
    with pytest.raises(EngineError) as caught:
        Engine.from_environment()
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_an_engine_that_somebody_else_certified_is_not_spoken_to(
    authority: Authority, secured_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = authority.certify(tmp_path / "client", trusts=Authority("another"))
    said = refused(monkeypatch, secured_address, other)
    assert f"The Docker engine at {secured_address} and this machine do not accept each other's certificates" in said
    assert "certificate verify failed" in said
    assert "DOCKER_CERT_PATH must be a folder with ca.pem, cert.pem and key.pem" in said


def test_a_certificate_that_the_engine_does_not_accept_is_named_as_the_reason(
    authority: Authority, secured_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, secured_address, Authority("another").certify(tmp_path / "client", trusts=authority))
    assert "do not accept each other's certificates" in said


def test_missing_certificates_are_named_as_the_reason(
    secured_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refused(monkeypatch, secured_address, tmp_path)
    assert "DOCKER_CERT_PATH must be a folder with ca.pem, cert.pem and key.pem" in said


def test_tls_with_an_engine_that_has_none_says_so(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_at_port() as open_address:
        assert "an engine without TLS needs both unset" in refused(monkeypatch, open_address, certificates)


def test_something_else_than_an_engine_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.integration.engine.git_server import GitServer

    server = GitServer(tmp_path, status=404)
    try:
        address = server.address.replace("http://", "tcp://")
        said = refused(monkeypatch, address, None)
    finally:
        server.stop()
    assert re.search(rf"What listens at {address} does not answer as a Docker engine does: 404", said)


@pytest.mark.parametrize("address", ["ssh://somebody@example.com", "gopher://engine", "example.com:2375"])
def test_an_address_that_logs_cannot_be_followed_at_is_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "DOCKER_HOST must begin with unix:// or tcp://" in refused(monkeypatch, address, None)
