"""The API server that all tests of the HTTP API share.

It is started once in each process of pytest. Tests that use it carry the marker ``airflow``: those all run in one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_home import LocalAirflow
from tests.installation import Installation, build_script_image
from tests.integration.api.server import USERS, ApiServer
from tests.integration.api.world import build_world

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
