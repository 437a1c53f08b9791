"""What a task makes of what Airflow's API server answers, or of its silence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.servers import free_port

from docker_runner.job.plan import Kind, Step

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class ApiServer:
    """Answers as much as Airflow's API server does without a login."""

    def __init__(self) -> None:
        self.code = 200
        self.triggerer: str | None = "healthy"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path in ("/air/api/v2/monitor/health", "/air/api/v2/version")
                body = json.dumps({"triggerer": {"status": outer.triggerer}}).encode()
                self.send_response(outer.code if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/air"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    made = ApiServer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{made.url}/execution/")
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def stops_its_container(monkeypatch: pytest.MonkeyPatch) -> bool:
    from docker_runner_airflow.operators import RunComponentOperator
    from docker_runner_airflow.retries import StepFailed

    stopped: list[bool] = []
    monkeypatch.setattr(RunComponentOperator, "stop", lambda _: stopped.append(True))
    task = RunComponentOperator.of(Step("run_component", Kind.RUN_COMPONENT, stage=0))
    vars(task)["_job_id"] = "dag/run"
    with pytest.raises(StepFailed) as failed:
        task.on_kill()
    assert failed.value.can_be_repeated
    return bool(stopped)


@pytest.mark.parametrize("code", [200, 401, 500])
def test_a_task_that_its_airflow_stops_stops_its_container(
    api: ApiServer, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.code = code
    assert stops_its_container(monkeypatch)


@pytest.mark.parametrize("code", [0, 503])
def test_a_task_that_is_stopped_because_its_airflow_is_gone_leaves_its_container_to_the_next_attempt(
    api: ApiServer, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.code = code
    if not code:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{free_port()}/execution/")
    assert not stops_its_container(monkeypatch)


@pytest.mark.parametrize(("state", "runs"), [("healthy", True), ("unhealthy", False), (None, False)])
def test_a_container_is_left_to_a_triggerer_that_is_alive(api: ApiServer, state: str | None, runs: bool) -> None:
    from docker_runner_airflow.api_server import triggerer_runs

    api.triggerer = state
    assert triggerer_runs() is runs


def test_without_an_address_for_tasks_the_one_for_people_is_asked(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner_airflow.api_server import triggerer_runs

    monkeypatch.delenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{api.url}/")
    assert triggerer_runs()


def test_a_task_that_cannot_find_out_whether_a_triggerer_runs_says_so(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    from docker_runner_airflow.api_server import triggerer_runs

    api.code = 500
    with caplog.at_level("INFO", "docker_runner"):
        assert not triggerer_runs()
    assert "whether a triggerer runs cannot be found out" in caplog.text
