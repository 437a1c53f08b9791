"""The parts of the local Airflow's scripts that need no Airflow to run."""

from __future__ import annotations

import functools
import importlib.util
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from airflow_environment import airflow_variables, read_env_file, write_secrets
from airflow_follow import component_lines, failure, shortened
from airflow_local import parse_conf
from airflow_processes import locked
from airflow_wakeup import DatabaseVersion
from rich.text import Text

REPOSITORY = Path(__file__).resolve().parents[3]


@functools.cache
def _options_of_airflow() -> dict[str, dict[str, object]]:
    package = importlib.util.find_spec("airflow")
    assert package is not None
    assert package.origin is not None
    template = Path(package.origin).parent / "config_templates" / "config.yml"
    return {section: part["options"] for section, part in yaml.safe_load(template.read_text()).items()}


def _all_settings() -> dict[str, str]:
    home = Path("/nowhere")
    variables = airflow_variables(home=home, dags_folder=home, plugins_folder=home, port=8080)
    ours = {name: value for name, value in variables.items() if os.environ.get(name) != value}
    return {name: value for name, value in ours.items() if name.startswith("AIRFLOW__")}


@pytest.mark.parametrize("name", sorted(_all_settings()))
def test_every_setting_exists_in_the_installed_airflow(name: str) -> None:
    _, section, option = name.split("__")
    assert option.lower() in _options_of_airflow()[section.lower()]


def test_the_shipped_settings_are_plain_lines_that_docker_compose_reads_alike() -> None:
    for line in (REPOSITORY / "airflow.env").read_text().splitlines():
        assert not line or line.startswith("#") or line.partition("=")[0].isupper(), line
        # Readers differ in quoted values and expansions; quotes inside a value, as JSON has them, are all left alone.
        value = line.partition("=")[2]
        differing = "'$`\\" if value.startswith("[") else "'\"$`\\"
        assert line.startswith("#") or not set(line) & set(differing), f"quoting differs between readers: {line}"
        assert line.startswith("#") or " #" not in line, f"a comment behind a value: {line}"


def test_the_settings_are_what_airflow_then_reads() -> None:
    settings = read_env_file(REPOSITORY / "airflow.env")
    code = (
        "import sys; from airflow.configuration import conf\n"
        "for line in sys.stdin.read().split():\n"
        "    _, section, option = line.split('__'); print(conf.get(section.lower(), option.lower()))"
    )
    names = [name for name in settings if name.startswith("AIRFLOW__")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | settings
    result = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(names),
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    assert result.stdout.split() == [settings[name] for name in names]


def test_a_variable_of_the_caller_wins_over_the_file_but_places_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "3")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", "/of/another/project")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    variables = airflow_variables(home=tmp_path, dags_folder=tmp_path / "dags", plugins_folder=tmp_path, port=1)
    assert variables["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert variables["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "dags")
    assert "PYTHONDONTWRITEBYTECODE" not in variables


def test_passwords_and_keys_are_made_once(tmp_path: Path) -> None:
    write_secrets(tmp_path, "admin:admin")
    first = (tmp_path / "passwords.json").read_text(), (tmp_path / "airflow.cfg").read_text()
    write_secrets(tmp_path, "admin:admin")
    assert ((tmp_path / "passwords.json").read_text(), (tmp_path / "airflow.cfg").read_text()) == first
    write_secrets(tmp_path, "admin:admin,vera:viewer")
    assert (tmp_path / "passwords.json").read_text().startswith(first[0].rstrip().rstrip("}"))
    assert "vera" in (tmp_path / "passwords.json").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_scheduler_wakes_when_another_connection_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE t (x)")
    version = DatabaseVersion.of(f"sqlite:///{path}?timeout=30")
    assert version is not None

    def insert() -> None:
        writer.execute("INSERT INTO t VALUES (1)")

    def insert_later() -> None:
        timer = threading.Timer(0.2, insert)
        timers.append(timer)
        timer.start()

    timers: list[threading.Timer] = []
    # A busy machine may be late, but not every time.
    assert any(_seconds_of(version, insert) < 0.1 for _ in range(10)), "what changed before the wait counts"
    assert any(0.15 < _seconds_of(version, insert_later) < 0.6 for _ in range(10))
    for timer in timers:
        timer.join()
    version.wait_for_change(until=lambda: False)
    assert any(0.8 < _seconds_of(version) < 1.5 for _ in range(10)), "without a change it goes on at the next second"
    version.close()
    writer.close()


def _seconds_of(version: DatabaseVersion, before: Callable[[], object] = lambda: None) -> float:
    # From the start of a full second, at whose end the wait would end anyway.
    time.sleep(1.01 - time.time() % 1)
    before()
    started = time.monotonic()
    version.wait_for_change(until=lambda: False)
    return time.monotonic() - started


def test_other_databases_are_not_watched() -> None:
    assert DatabaseVersion.of("postgresql+psycopg2://airflow@db/airflow") is None


def test_a_lock_is_held_for_as_long_as_any_process_that_inherited_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, wait=0) as lock:
        assert lock is not None
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with locked(path, wait=0, shared=True) as second:
        assert second is None
    child.communicate(b"\n")
    with locked(path, wait=0) as third:
        assert third is not None


def test_params_are_json_or_text_and_win_over_conf() -> None:
    assert parse_conf('{"a": 1, "b": 2}', ["b=[3]", "c=in.c-main.orders", "d="]) == {
        "a": 1,
        "b": [3],
        "c": "in.c-main.orders",
        "d": "",
    }


@pytest.mark.parametrize(("conf", "params"), [("[1]", []), ("{", []), ("{}", ["a"]), ("{}", ["=1"])])
def test_params_of_a_wrong_form_are_refused(conf: str, params: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--conf|--param"):
        parse_conf(conf, params)


def test_a_long_log_shows_its_beginning_and_its_end() -> None:
    lines = [line.plain for line in shortened(Text(str(number)) for number in range(1000))]
    assert lines[0] == "0"
    assert lines[39:42] == ["39", "... 800 more lines, all of them in the UI ...", "840"]
    assert lines[-1] == "999"
    assert [line.plain for line in shortened([Text("a")])] == ["a"]


def test_a_log_shows_the_components_lines_without_airflows() -> None:
    moment = "2026-01-02T03:04:05Z"
    entries = [
        {"event": "::group::Log message source details", "sources": ["/x"]},
        {"timestamp": moment, "event": "Filling up the DagBag", "logger": "airflow.dag_processing.dagbag"},
        {"timestamp": moment, "event": "::endgroup::", "logger": "task"},
        {"timestamp": moment, "event": "loaded [3] rows", "logger": "docker_runner.component", "level": "info"},
        {"timestamp": moment, "event": "printed", "logger": "task.stdout", "level": "info"},
    ]
    assert [line.plain.partition(" ")[2] for line in component_lines(entries)] == ["loaded [3] rows", "printed"]


def test_the_error_that_ended_a_task_is_told_without_its_traceback() -> None:
    entries = [
        {"event": "a line of the component", "level": "error"},
        {"event": "Task failed with exception", "error_detail": [{"exc_type": "UserError", "exc_value": "no table x"}]},
        {"event": "later", "level": "error"},
    ]
    assert failure(entries) == "no table x"
    assert failure(entries[:1]) == "a line of the component"
    assert failure([]) == ""
