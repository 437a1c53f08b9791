"""A private installation for measurements: a Storage with the sample data, an Airflow, a folder for DAG files."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from airflow_home import LocalAirflow

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, TableLoad

REPOSITORY = Path(__file__).parents[2]
FLIGHTS = REPOSITORY / "include" / "sample_data" / "flights.csv"
CONFIGURATION = "sample.daily-delays/new-york-delays"
DAG = "sample.daily-delays--new-york-delays"


def environment(home: Path, project: Path) -> dict[str, str]:
    """Variables of the runner for a home and a project."""
    return {
        "DOCKER_RUNNER_HOME": str(home),
        "DOCKER_RUNNER_PROJECT": str(project),
        "DOCKER_RUNNER_COMPONENTS": str(REPOSITORY / "include" / "components"),
    }


def with_sample_data(home: Path) -> Path:
    """Load the flights into the Storage of a home."""
    with contextlib.closing(open_storage(f"ducklake:sqlite:{home}/storage/catalog.sqlite")) as storage:
        storage.commit(Commit(key="flights", tables=(TableLoad("in.c-nycflights.flights", FLIGHTS),)))
    return home


@contextlib.contextmanager
def running_airflow(folder: Path, *, project: Path, files: dict[str, str]) -> Iterator[LocalAirflow]:
    """An Airflow of its own with some DAG files."""
    dags = folder / "dags"
    dags.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (dags / name).write_text(text)
    home = with_sample_data(folder / "home")
    airflow = LocalAirflow(
        home=folder / "airflow",
        dags_folder=dags,
        plugins_folder=REPOSITORY / "plugins",
        environment=environment(home, project),
    )
    try:
        # With thousands of configurations on a busy machine it takes its time; what has begun to start is stopped too.
        airflow.start(timeout=600)
        yield airflow
    finally:
        airflow.stop()


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def median(values: Sequence[float]) -> float:
    """The middle of some measurements."""
    return statistics.median(values)


def row(name: str, values: Sequence[float], unit: str = "s") -> str:
    """A line with the median and the range of some measurements."""
    return f"  {name:<58} {median(values):8.3f} {unit}   ({min(values):.3f} … {max(values):.3f}, n={len(values)})"


def target(name: str, value: float, limit: float, unit: str = "") -> str:
    """A line that says whether a target was met."""
    return f"  {name:<58} {value:8.3f} {unit}   target < {limit:g} {unit}: {'met' if value < limit else 'MISSED'}"


def manifest_json(value: object) -> dict[str, object]:
    """What a task returned, as a map."""
    found = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}
