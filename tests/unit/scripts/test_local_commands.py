"""What the local Airflow's commands say, where no Airflow needs to run for it."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow_follow
import airflow_local
import pytest
import run_sample
from airflow_home import AirflowStartError, LocalAirflow, Status

RUN = ("sample.a--b", "manual__2026")


class Api:
    """Airflow's API with one run under way, at which somebody presses Ctrl-C."""

    url = "http://127.0.0.1:8081"

    def __init__(self) -> None:
        self.paused: list[bool] = []

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def trigger(self, *_: object) -> str:
        return RUN[1]

    def set_paused(self, _dag_id: str, paused: bool) -> None:
        self.paused.append(paused)

    def wait(self, *_: object, **__: object) -> str:
        raise KeyboardInterrupt

    def running(self) -> list[tuple[str, str]]:
        return [RUN]


class Airflow:
    """A local Airflow that runs."""

    def __init__(self, *, healthy: bool = True) -> None:
        self.client = Api()
        self._healthy = healthy

    def status(self) -> Any:
        return SimpleNamespace(healthy=self._healthy)

    def start(self) -> None:
        pass

    def stop(self) -> bool:
        return True

    def api(self) -> Api:
        if not self._healthy:
            raise AssertionError("it does not answer")
        return self.client


def local_airflow(home: Path, port: int) -> LocalAirflow:
    (home / "passwords.json").write_text(json.dumps({"admin": "secret"}))
    return LocalAirflow(home=home, dags_folder=home, plugins_folder=home, port=port)


def test_where_airflow_is_when_another_program_has_its_port_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        airflow_local.show(local_airflow(tmp_path, port), Status(url=f"http://127.0.0.1:{port + 1}", pid=1))
        moved = f"Port {port} is in use by another program; Airflow is at {port + 1}.\n"
        assert moved in capsys.readouterr().out
        airflow_local.show(local_airflow(tmp_path, port), Status(url=f"http://127.0.0.1:{port}", pid=1))
        assert "in use" not in capsys.readouterr().out
    # It runs at a port that somebody chose before, and the usual one is free.
    airflow_local.show(local_airflow(tmp_path, port), Status(url=f"http://127.0.0.1:{port + 1}", pid=1))
    assert "in use" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dag", "how"),
    [
        ({"is_paused": True, "timetable_summary": None}, "goes on in Airflow. "),
        ({"is_paused": False, "timetable_summary": "0 5 * * *"}, "goes on in Airflow. "),
        ({"is_paused": True, "timetable_summary": "0 5 * * *"}, "waits in Airflow until its DAG is switched on. "),
    ],
)
def test_ctrl_c_says_in_one_line_that_the_run_goes_on_and_where(
    dag: dict[str, Any], how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow()
    monkeypatch.setattr(airflow_follow, "known_dag", lambda *_: dag)
    monkeypatch.setattr(LocalAirflow, "of_repository", lambda: airflow)
    monkeypatch.setattr(sys, "argv", ["run_sample.py", RUN[0]])
    assert run_sample.main() == 130
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert said.startswith(f"Run {RUN[1]} {how}")
    assert f"http://127.0.0.1:8081/dags/{RUN[0]}/runs/{RUN[1]} " in said
    assert (True in airflow.client.paused) == ("waits" in how)
    assert airflow_local.main(["run", RUN[0]]) == 130
    assert capsys.readouterr().err.strip() == said


def test_ctrl_c_before_there_is_a_run_says_how_to_stop_airflow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow()

    def press() -> None:
        raise KeyboardInterrupt

    airflow.start = press  # type: ignore[method-assign]
    monkeypatch.setattr(LocalAirflow, "of_repository", lambda: airflow)
    monkeypatch.setattr(sys, "argv", ["run_sample.py", RUN[0]])
    assert run_sample.main() == 130
    assert capsys.readouterr().err.strip().endswith("stop it with: make down")


def test_stopping_airflow_names_the_runs_that_were_under_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow()
    monkeypatch.setattr(LocalAirflow, "of_repository", lambda: airflow)
    assert airflow_local.main(["down"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Airflow has stopped.\n")
    assert "go on with the next `make up`" in said
    assert f"  {RUN[0]}  {RUN[1]}\n" in said
    assert airflow_local.main(["down", "--for-good"]) == 0
    assert capsys.readouterr().out == "Airflow has stopped.\n"


@pytest.mark.parametrize("problem", ["unhealthy", "refused", "gone"])
def test_airflow_is_stopped_also_when_it_cannot_tell_what_it_runs(
    problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow = Airflow(healthy=problem != "unhealthy")

    def fail() -> list[tuple[str, str]]:
        raise AirflowStartError("refused") if problem == "refused" else ConnectionError(problem)

    airflow.client.running = fail  # type: ignore[method-assign]
    monkeypatch.setattr(LocalAirflow, "of_repository", lambda: airflow)
    assert airflow_local.main(["down"]) == 0
    assert capsys.readouterr().out == "Airflow has stopped.\n"
