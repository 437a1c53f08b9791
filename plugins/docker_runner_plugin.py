"""Shows Airflow the plugin when this folder is its plugins folder and the package is not installed."""

from docker_runner_airflow.plugin import DockerRunnerPlugin

__all__ = ["DockerRunnerPlugin"]
