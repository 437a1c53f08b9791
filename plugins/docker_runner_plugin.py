"""Shows Airflow the plugin when this folder is its plugins folder and the package is not installed.

An installed package shows it by its entry point; Airflow tells users of an error when it meets a plugin twice.
"""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="docker_runner"):
    from docker_runner_airflow.plugin import DockerRunnerPlugin

    __all__ = ["DockerRunnerPlugin"]
