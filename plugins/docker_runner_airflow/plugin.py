"""The Airflow plugin. Every process of Airflow loads this module, tasks included: it imports nothing heavy."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class DockerRunnerPlugin(AirflowPlugin):
    """Makes Docker Runner visible under Admin > Plugins."""

    name = "docker_runner"
