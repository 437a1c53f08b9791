"""A private Airflow for tests: ``with private_airflow(folder, dags=...) as airflow``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from airflow_follow import RunResult, TaskResult, run_and_follow
from airflow_home import AirflowStartError, LocalAirflow
from tests.end_to_end.running import TEST_AIRFLOW

__all__ = ["AirflowStartError", "LocalAirflow", "RunResult", "TaskResult", "private_airflow", "run_and_follow"]


@contextmanager
def private_airflow(
    folder: Path,
    *,
    dags: Path,
    plugins: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LocalAirflow]:
    """Start an Airflow that shares nothing with any other, and stop it afterwards.

    Args:
        folder: empty folder for its home and for ``DOCKER_RUNNER_HOME``.
        dags: folder with its DAG files.
        plugins: folder with its plugins; an empty one by default.
        environment: more variables, e.g. ``DOCKER_RUNNER_PROJECT``.
    """
    if plugins is None:
        plugins = folder / "plugins"
        plugins.mkdir(parents=True, exist_ok=True)
    airflow = LocalAirflow(
        home=folder / "airflow",
        dags_folder=dags,
        plugins_folder=plugins,
        environment={**TEST_AIRFLOW, "DOCKER_RUNNER_HOME": str(folder), **(environment or {})},
    )
    try:
        airflow.start(timeout=400)
        yield airflow
    finally:
        airflow.stop()
