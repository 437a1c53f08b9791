"""Airflow's own calls go on when several of them write at once, over a SQLite database."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.installation import SCRIPT
from tests.integration.api.server import ApiServer

from docker_runner.project.dag_ids import dag_id
from docker_runner_airflow.one_writer import OneWriterAtATime, middlewares

CALLERS, CALLS = 4, 5


@pytest.mark.airflow
def test_runs_that_many_start_at_once_are_all_started_and_nobody_waits_for_long(server: ApiServer) -> None:
    server.installation.script("popular", "pass")
    server.known("popular")
    path = f"/dags/{dag_id(SCRIPT, 'popular')}/dagRuns"

    def start(caller: int) -> None:
        with server.airflow_api() as api:
            for number in range(CALLS):
                api.call("POST", path, json={"logical_date": None, "dag_run_id": f"run-{caller}-{number}"})

    began = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(start, range(CALLERS)))
    # Two that wait for each other give up after half a minute.
    assert time.monotonic() - began < 25
    with server.airflow_api() as api:
        assert api.call("GET", path)["total_entries"] == CALLERS * CALLS


class Application:
    """Notes when its calls begin and end, and how many it answers at once."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = f"{scope['method']} {scope['path']}"
        self.events.append(f"{name} begins")
        self.bodies.append((await receive())["body"])
        await asyncio.sleep(0.02)
        self.events.append(f"{name} has written")
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body"})


def served(*calls: tuple[str, str], slow_to_send: str = "", slow_to_read: str = "") -> Application:
    """Make calls side by side; those of one path take longer to send their body, or to read their answer."""
    application = Application()
    gate = OneWriterAtATime(application, apart="/docker-runner")

    async def call(method: str, path: str) -> None:
        messages = [
            {"type": "http.request", "body": b"1", "more_body": True},
            {"type": "http.request", "body": b"2"},
        ]

        async def receive() -> Any:
            if len(messages) == 1 and path == slow_to_send:
                await asyncio.sleep(0.1)
            return messages.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start" and path == slow_to_read:
                await asyncio.sleep(0.1)
                application.events.append(f"{method} {path} was read")

        await gate({"type": "http", "method": method, "path": f"/air{path}", "root_path": "/air"}, receive, send)

    async def all_calls() -> None:
        await asyncio.gather(*(call(*each) for each in calls))

    asyncio.run(all_calls())
    return application


def test_a_call_that_writes_begins_when_the_one_before_has_written() -> None:
    application = served(("POST", "/api/v2/a"), ("PATCH", "/execution/b"))
    assert application.events == [
        "POST /air/api/v2/a begins",
        "POST /air/api/v2/a has written",
        "PATCH /air/execution/b begins",
        "PATCH /air/execution/b has written",
    ]
    assert application.bodies == [b"1", b"1"]


@pytest.mark.parametrize("other", [("GET", "/api/v2/b"), ("POST", "/docker-runner/jobs")])
def test_calls_that_only_read_and_those_of_docker_runner_wait_for_nobody(other: tuple[str, str]) -> None:
    application = served(("POST", "/api/v2/a"), other)
    assert [event.rpartition(" ")[2] for event in application.events] == ["begins", "begins", "written", "written"]


def test_nobody_waits_for_a_caller_that_is_slow_to_send_what_is_to_be_written() -> None:
    application = served(("POST", "/slow"), ("POST", "/quick"), slow_to_send="/slow")
    assert application.events[0] == "POST /air/quick begins"


def test_nobody_waits_for_a_caller_that_is_slow_to_read_its_answer() -> None:
    application = served(("POST", "/slow"), ("POST", "/quick"), slow_to_read="/slow")
    assert application.events.index("POST /air/quick has written") < application.events.index("POST /slow was read")


def test_a_call_that_fails_lets_the_next_one_in() -> None:
    entered: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        entered.append(scope["path"])
        raise ConnectionError

    gate = OneWriterAtATime(application, apart="/docker-runner")

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def both() -> None:
        for path in ("/a", "/b"):
            with pytest.raises(ConnectionError):
                await gate({"type": "http", "method": "POST", "path": path}, receive, receive)

    asyncio.run(asyncio.wait_for(both(), 5))
    assert entered == ["/a", "/b"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("database", "turns"), [("sqlite:////a.db", 1), ("postgresql+psycopg2://h/d", 0)])
def test_only_a_sqlite_database_needs_turns(monkeypatch: pytest.MonkeyPatch, database: str, turns: int) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database)
    assert len(middlewares(apart="/docker-runner")) == turns
