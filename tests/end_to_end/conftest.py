from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow_home import LocalAirflow
from tests.end_to_end.grown import grown_servers
from tests.end_to_end.running import TEST_AIRFLOW, Running
from tests.installation import Installation, build_script_image

REPOSITORY = Path(__file__).parents[2]
# A task whose worker was killed is noticed after two minutes as shipped, and a container is left to the triggerer after
# half a minute; a test does not wait that long.
IMPATIENT = {
    **TEST_AIRFLOW,
    "DOCKER_RUNNER_DEFER_AFTER": "6",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    # Long enough for a machine that stands still for a while: a task must not be taken for dead because of that.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its Airflow was doing."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            used = value if isinstance(value, Running) else getattr(value, "running", None)
            if isinstance(used, Running):
                report.sections.append(("Airflow at the time of the failure", used.report()))
                break
    return report


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real Airflow over an installation of its own, both made for these tests.

    It is as ``make up`` starts it; with ``DOCKER_RUNNER_GROWN`` set, as one that has grown (``make grown``).
    """
    with running_airflow(tmp_path_factory.mktemp("airflow"), grown=has_grown()) as running:
        yield running


@pytest.fixture(scope="module")
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An Airflow that has grown: on PostgreSQL and object storage, with the stock executor and two API processes."""
    if has_grown():
        yield request.getfixturevalue("running")
        return
    with running_airflow(tmp_path_factory.mktemp("grown"), grown=True) as running:
        yield running


def has_grown() -> bool:
    """Whether all tests are to run on an Airflow that has grown."""
    return bool(os.environ.get("DOCKER_RUNNER_GROWN"))


@contextmanager
def running_airflow(folder: Path, *, grown: bool) -> Iterator[Running]:
    """Start an Airflow, and stop it afterwards."""
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    with ExitStack() as stack:
        servers = stack.enter_context(grown_servers()) if grown else None
        installation = Installation(folder, variables={"DOCKER_RUNNER_STORAGE": servers.lake} if servers else {})
        airflow = LocalAirflow(
            home=folder / "home" / "airflow",
            dags_folder=REPOSITORY / "dags",
            plugins_folder=REPOSITORY / "plugins",
            environment={**installation.environment, **IMPATIENT, **(servers.environment if servers else {})},
        )
        stack.callback(airflow.stop)
        airflow.start(timeout=400)
        yield Running(airflow, installation, servers)
