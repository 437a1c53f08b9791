"""Airflow's own tables, with DAG runs that nobody has run: what one can find out about jobs is read from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session
from tests.installation import SCRIPT

from docker_runner.project.dag_ids import dag_id
from docker_runner.settings import Settings
from docker_runner.storage.tokens import Permissions, Token
from docker_runner_airflow.api.callers import Caller
from docker_runner_airflow.jobs_dag import JOBS_DAG

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
STORED, OTHER = dag_id(SCRIPT, "stored"), dag_id(SCRIPT, "other")
FLOW = dag_id("keboola.flow", "nightly")
"""The DAGs of the configurations that the fixture ``recorded`` has."""


@contextmanager
def airflow_tables(url: str) -> Iterator[Engine]:
    """A database with the tables of Airflow."""
    from airflow.models.base import Base
    from airflow.utils.db import import_all_models

    import_all_models()
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def add_run(
    session: Session,
    number: int,
    *,
    dag: str = JOBS_DAG,
    state: str = "success",
    run_id: str = "",
    started: datetime | None = NOON,
    seconds: float | None = 10.0,
    note: str | None = None,
    **columns: Any,
) -> None:
    """Add a DAG run.

    Args:
        session: of the database.
        number: its number.
        dag: its DAG.
        state: its state.
        run_id: its id; told by its number by default.
        started: when it began; None has not.
        seconds: how long it took; None has not ended.
        note: what a person, or the API, has noted.
        columns: other columns of the table.
    """
    from airflow.models.dagrun import DagRun, DagRunNote

    begin = started or NOON
    values = {
        "id": number,
        "dag_id": dag,
        "run_id": run_id or f"run-{number}",
        "state": state,
        "run_type": "manual",
        "created_at": begin,
        "run_after": begin,
        "start_date": started,
        "end_date": begin + timedelta(seconds=seconds) if seconds is not None else None,
        "clear_number": 0,
        "conf": {},
        "span_status": "x",
        **columns,
    }
    table = DagRun.__table__
    session.execute(insert(table), [{("state" if key == "_state" else key): value for key, value in values.items()}])
    if note is not None:
        session.execute(insert(DagRunNote.__table__), [{"dag_run_id": number, "content": note}])


def holder(token_id: int, *, can_manage: bool = False) -> Caller:
    """Who calls with a token."""
    permissions = Permissions(can_manage=can_manage)
    return Caller(token=Token(token_id, "of a test", NOON, "test", permissions))


MANAGER = holder(1, can_manage=True)


def request_of(settings: Settings) -> Any:
    """As much of a request as a document needs."""
    return SimpleNamespace(
        app=SimpleNamespace(state=SimpleNamespace(settings=settings)), base_url="http://airflow.example/"
    )
