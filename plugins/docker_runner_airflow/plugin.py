"""The Airflow plugin. Every process of Airflow loads this module, tasks included: it imports nothing heavy."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/docker-runner"


class DockerRunnerPlugin(AirflowPlugin):
    """Serves the HTTP API, and makes Docker Runner visible under Admin > Plugins."""

    name = "docker_runner"
    external_views = [  # noqa: RUF012 - as Airflow's own class has it
        {
            "name": "Docker Runner API",
            # Relative to where Airflow's UI is, which may be below a path.
            "href": f"{URL_PREFIX}/docs".removeprefix("/"),
            "destination": "nav",
            "category": "browse",
            "url_route": "docker-runner-api",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The HTTP API; made when the API server asks for it, and nowhere else."""
        from docker_runner.settings import Settings
        from docker_runner_airflow.api.application import create_application
        from docker_runner_airflow.flow_listener import FLOW_LISTENER

        settings = Settings.from_environment()
        FLOW_LISTENER.settings = settings
        app = create_application(settings)
        return [{"app": app, "url_prefix": URL_PREFIX, "name": "Docker Runner"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[Any]:  # type: ignore[override]
        """What keeps the API server answering when Airflow's database is a SQLite file."""
        from docker_runner_airflow.one_writer import middlewares

        return middlewares(apart=URL_PREFIX)

    @cached_property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """What hears of flows that somebody stops."""
        from docker_runner_airflow.flow_listener import FLOW_LISTENER

        return [FLOW_LISTENER]
