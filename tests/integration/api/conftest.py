"""The API server that all tests of the HTTP API share.

It is started once in each process of pytest. Tests that use it carry the marker ``airflow``: those all run in one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_home import LocalAirflow
from sqlalchemy.orm import Session
from tests.end_to_end.running import TEST_AIRFLOW
from tests.installation import Installation, build_script_image
from tests.integration.api.records import airflow_tables
from tests.integration.api.server import USERS, ApiServer
from tests.integration.api.world import build_world
from tests.servers import PASSWORD, PostgresServer

from docker_runner_airflow.api.own_dags import OwnDags

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An Airflow API server with a DAG processor and without a scheduler: runs that are started stay queued."""
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    folder = tmp_path_factory.mktemp("api")
    installation = Installation(folder)
    build_world(installation)
    airflow = LocalAirflow(
        home=folder / "home" / "airflow",
        dags_folder=REPOSITORY / "dags",
        plugins_folder=REPOSITORY / "plugins",
        environment={
            **installation.environment,
            **TEST_AIRFLOW,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
            # Thousands of requests come from one caller.
            "DOCKER_RUNNER_API_RATE": "100000/minute",
            "DOCKER_RUNNER_API_MAX_BODY_BYTES": "100000",
        },
        parts=("dag-processor",),
    )
    airflow.start(timeout=400)
    server = ApiServer(airflow, installation)
    try:
        yield server
    finally:
        server.close()
        airflow.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Airflow's own tables, in each database that it runs on."""
    if request.param == "sqlite":
        with airflow_tables(f"sqlite:///{tmp_path_factory.mktemp('airflow') / 'airflow.db'}") as engine:
            yield engine
        return
    server = PostgresServer()
    try:
        server.execute("CREATE DATABASE airflow")
        with airflow_tables(f"postgresql+psycopg://lake:{PASSWORD}@127.0.0.1:{server.port}/airflow") as engine:
            yield engine
    finally:
        server.close()


@pytest.fixture
def session(database: Any) -> Iterator[Session]:
    """What a test adds is undone."""
    with Session(database) as session:
        yield session
        session.rollback()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The installation whose runs Airflow's tables have."""
    installation = Installation(tmp_path_factory.mktemp("installation"))
    installation.script("stored", "")
    installation.script("other", "")
    (installation.folder / "project" / "feature").mkdir()
    flow = installation.folder / "project" / "main" / "flow" / "keboola.flow" / "nightly" / "config.json"
    flow.parent.mkdir(parents=True)
    flow.write_text('{"phases": [], "tasks": []}')
    return installation


@pytest.fixture
def dags(recorded: Installation) -> OwnDags:
    """The DAGs of its configurations."""
    return OwnDags.of(recorded.settings)
