"""Connections: the Docker engine and registries as Airflow's users have configured them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from docker_runner.engine.client import Engine
from docker_runner.errors import EngineError

if TYPE_CHECKING:
    from docker_runner.settings import Settings

LOCAL_ENGINE = "unix://var/run/docker.sock"


def connect_engine(settings: Settings) -> Engine:
    """The Docker engine of this worker.

    With ``DOCKER_RUNNER_DOCKER_CONN_ID`` the engine is logged in to the registry of that Airflow connection through
    the Docker provider's hook; without it, ``DOCKER_HOST`` or the local socket is used and nothing of the provider is
    imported.

    Raises:
        EngineError: the engine does not answer.
    """
    if not settings.docker_conn_id:
        return Engine.from_environment()
    from airflow.providers.docker.hooks.docker import DockerHook

    address = os.environ.get("DOCKER_HOST") or LOCAL_ENGINE
    try:
        client = DockerHook(docker_conn_id=settings.docker_conn_id, base_url=address).api_client
    except Exception as error:
        # Airflow's and the registry's errors alike: a connection that is missing, a login that is refused.
        raise EngineError(f"The Docker connection {settings.docker_conn_id!r} cannot be used: {error}") from error
    return Engine(client, address=address)
