"""What is stopped when a job is terminated, and when somebody marks the run of a flow failed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import docker
import pytest
from airflow.models import TaskInstance
from sqlalchemy import insert, update
from sqlalchemy.orm import Session
from tests.installation import Installation
from tests.integration.api.records import FLOW, MANAGER, OTHER, STORED, add_run

from docker_runner.engine.client import Engine
from docker_runner.job.containers import LABEL_INSTALLATION, LABEL_JOB
from docker_runner.job.workspace import Workspace
from docker_runner_airflow.api import terminating
from docker_runner_airflow.api.beginnings import Beginning
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.job_parts import Part, parts_of
from docker_runner_airflow.api.job_status import note_of_termination
from docker_runner_airflow.api.left_behind import LeftBehind
from docker_runner_airflow.api.own_dags import OwnDags
from docker_runner_airflow.api.stopping import has_work
from docker_runner_airflow.api.terminating import stop_what_flow_started, terminate
from docker_runner_airflow.flow_listener import FlowListener
from docker_runner_airflow.jobs_dag import JOBS_DAG

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WAITING: dict[str, Any] = {"state": "queued", "started": None, "seconds": None}
RUNNING: dict[str, Any] = {"state": "running", "seconds": None}
OTHER_FLOW = "keboola.orchestrator--weekly"


def of_flow(dag: str, run: str) -> dict[str, Any]:
    """What a run has that a task of a flow's run has started."""
    return {"conf": {"orchestration_id": f"{dag}/{run}"}, "triggered_by": "OPERATOR"}


@pytest.mark.rules("LC-86")
def test_jobs_that_are_a_part_of_another_one_are_known_by_its_run_id(session: Session, dags: OwnDags) -> None:
    from airflow.models import DagRun

    add_run(session, 1, run_id="api-parent", conf={"parent_run_id": "top"}, **RUNNING)
    add_run(session, 2, conf={"parent_run_id": "top.api-parent"}, **WAITING)
    add_run(session, 3, conf={"parent_run_id": "top.api-parent.child"}, **WAITING)
    add_run(session, 4, conf={"parent_run_id": "top.api-parents"}, **WAITING)
    add_run(session, 5, conf={"parent_run_id": "top.api-parent"})
    add_run(session, 6, dag=FLOW, run_id="nightly", **RUNNING)
    add_run(session, 7, dag=STORED, **of_flow(FLOW, "nightly"), **WAITING)
    add_run(session, 8, dag="somebody_elses", conf={"parent_run_id": "top.api-parent"}, **WAITING)
    add_run(session, 9, dag=OTHER, conf={"orchestration_id": f"{FLOW}/nightly"}, triggered_by="REST_API", **WAITING)
    add_run(session, 10, dag=STORED, **of_flow(FLOW, "weekly"), **WAITING)
    add_run(session, 11, dag=STORED, **of_flow(FLOW, "nightly"))
    runs = {number: session.get(DagRun, number) for number in (1, 6)}
    assert parts_of(session, runs[1], dags) == [Part(2, of_flow=False), Part(3, of_flow=False)]  # type: ignore[arg-type]
    assert parts_of(session, runs[6], dags) == [Part(7, of_flow=True), Part(9, of_flow=False)]  # type: ignore[arg-type]


@pytest.mark.rules("LC-86")
def test_of_runs_with_one_id_no_one_takes_the_children_of_another(session: Session, dags: OwnDags) -> None:
    from airflow.models import DagRun

    for number, dag in ((1, STORED), (2, OTHER)):
        add_run(session, number, dag=dag, run_id="scheduled__noon", **RUNNING)
    add_run(session, 3, conf={"parent_run_id": "scheduled__noon"}, **WAITING)
    first = session.get(DagRun, 1)
    assert first is not None
    assert parts_of(session, first, dags) == []


@pytest.fixture
def stopped(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Which runs were stopped, and on whose behalf; what Airflow does then is left out."""
    from airflow.models import DagRun

    found: list[tuple[int, str]] = []

    @contextmanager
    def locked(number: int) -> Iterator[Any]:
        yield session, session.get(DagRun, number)

    def stop(_session: Session, run: Any, who: str) -> LeftBehind | None:
        if run.state not in ("queued", "running"):
            raise ApiError(400, "ended")
        found.append((run.id, who))
        session.execute(update(DagRun).where(DagRun.id == run.id).values(state="failed"))
        return None

    monkeypatch.setattr(terminating, "locked_run", locked)
    monkeypatch.setattr(terminating, "stop_run", stop)
    monkeypatch.setattr(terminating, "_LOOKS_AGAIN_AFTER_SECONDS", 3600.0)
    monkeypatch.setattr("airflow.utils.session.create_session", lambda **_: nullcontext(session))
    return found


def user(*dags: str) -> Any:
    """An Airflow user who may change the runs of some DAGs."""
    return SimpleNamespace(name="ann", token=None, may=lambda dag, method, of_run: dag in dags)


def flow_with_runs(session: Session) -> None:
    """A flow that has started a run and another flow, whose own run is under way; and jobs beside them."""
    add_run(session, 1, dag=FLOW, run_id="nightly", **RUNNING)
    add_run(session, 2, dag=STORED, **of_flow(FLOW, "nightly"), **RUNNING)
    add_run(session, 3, dag=OTHER_FLOW, run_id="inner", **of_flow(FLOW, "nightly"), **RUNNING)
    add_run(session, 4, dag=OTHER, **of_flow(OTHER_FLOW, "inner"), **WAITING)
    add_run(session, 5, dag=OTHER, **of_flow(FLOW, "yesterday"), **RUNNING)
    add_run(session, 6, conf={"component": "a.b", "parent_run_id": "nightly"}, **WAITING)
    add_run(session, 7, dag=OTHER, conf={"orchestration_id": f"{FLOW}/nightly"}, triggered_by="REST_API", **WAITING)


@pytest.mark.rules("LC-86", "LC-85")
def test_who_may_stop_a_flow_stops_what_it_has_started_and_of_other_parts_only_what_they_may_stop_themselves(
    session: Session, recorded: Installation, dags: OwnDags, stopped: list[tuple[int, str]]
) -> None:
    flow_with_runs(session)
    terminate(1, caller=user(FLOW), dags=dags, settings=recorded.settings)
    assert sorted(stopped) == [(number, "ann") for number in (1, 2, 3, 4)]
    with pytest.raises(ApiError):
        terminate(6, caller=user(FLOW), dags=dags, settings=recorded.settings)


@pytest.mark.rules("LC-86")
def test_a_token_that_may_stop_a_flow_stops_all_of_its_parts(
    session: Session, recorded: Installation, dags: OwnDags, stopped: list[tuple[int, str]]
) -> None:
    flow_with_runs(session)
    terminate(1, caller=MANAGER, dags=dags, settings=recorded.settings)
    assert sorted(number for number, _ in stopped) == [1, 2, 3, 4, 6, 7]


@pytest.mark.rules("LC-86")
def test_what_somebody_elses_flow_has_started_is_not_stopped_with_a_job_that_the_flow_is_a_part_of(
    session: Session, recorded: Installation, dags: OwnDags, stopped: list[tuple[int, str]]
) -> None:
    add_run(session, 1, dag=STORED, run_id="mine", **RUNNING)
    add_run(session, 2, dag=FLOW, run_id="theirs", conf={"parent_run_id": "mine"}, **RUNNING)
    add_run(session, 3, dag=OTHER, **of_flow(FLOW, "theirs"), **RUNNING)
    terminate(1, caller=user(STORED), dags=dags, settings=recorded.settings)
    assert [number for number, _ in stopped] == [1]


@pytest.mark.rules("LC-86")
def test_what_a_flow_starts_while_it_is_stopped_is_stopped_a_moment_later_unless_the_flow_was_begun_anew(
    session: Session,
    recorded: Installation,
    dags: OwnDags,
    stopped: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.models import DagRun

    late: list[Any] = []
    timer = SimpleNamespace(start=lambda: None)
    monkeypatch.setattr(terminating.threading, "Timer", lambda seconds, call: late.append((seconds, call)) or timer)
    add_run(session, 1, dag=FLOW, run_id="nightly", **RUNNING)
    terminate(1, caller=user(FLOW), dags=dags, settings=recorded.settings)
    add_run(session, 2, dag=STORED, **of_flow(FLOW, "nightly"), **WAITING)
    ((_, look_again),) = late
    session.execute(update(DagRun).where(DagRun.id == 1).values(clear_number=1, state="running"))
    look_again()
    assert stopped == [(1, "ann")]
    session.execute(update(DagRun).where(DagRun.id == 1).values(clear_number=0, state="failed"))
    look_again()
    assert stopped == [(1, "ann"), (2, "ann")]


@pytest.mark.rules("LC-86")
def test_marking_the_run_of_a_flow_failed_stops_what_it_has_started_once_that_is_stored(
    session: Session, recorded: Installation, stopped: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import DagRun

    from docker_runner_airflow.api import marked_failed

    begun: list[Beginning] = []
    monkeypatch.setattr(marked_failed, "stop_what_flow_started", lambda flow, settings: begun.append(flow))
    flow_with_runs(session)
    flow = session.get(DagRun, 1)
    other = session.get(DagRun, 2)
    assert flow is not None
    assert other is not None
    listener = FlowListener()
    listener.on_dag_run_failed(flow)
    session.dispatch.after_commit(session)
    assert begun == [], "the scheduler ends runs whose tasks have ended"
    listener.settings = recorded.settings
    listener.on_dag_run_failed(other)
    listener.on_dag_run_failed(flow)
    assert begun == []
    session.dispatch.after_commit(session)
    deadline = time.monotonic() + 120
    while not begun and time.monotonic() < deadline:
        time.sleep(0.01)
    assert begun == [Beginning(FLOW, "nightly", 0)]
    stop_what_flow_started(begun[0], recorded.settings)
    assert stopped == [], "its failure was taken back"
    session.execute(update(DagRun).where(DagRun.id == 1).values(state="failed"))
    stop_what_flow_started(begun[0], recorded.settings)
    assert sorted(stopped) == [(number, f"Marking {FLOW} failed") for number in (2, 3, 4)]


@pytest.mark.rules("LC-86")
def test_a_flow_that_the_api_terminates_is_not_taken_for_one_that_was_marked_in_airflow(
    session: Session, recorded: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import DagRun

    from docker_runner_airflow.api import marked_failed

    begun: list[Any] = []
    monkeypatch.setattr(marked_failed.threading, "Thread", lambda **what: begun.append(what) or Mock())
    note = note_of_termination("", who="ann", clear_number=0)
    for number, text in ((1, note), (2, note_of_termination("", who="ann", clear_number=1)), (3, None)):
        add_run(session, number, dag=FLOW, run_id=f"run-{number}", note=text, **RUNNING)
        run = session.get(DagRun, number)
        assert run is not None
        marked_failed.stop_with_flow(run, recorded.settings)
    session.dispatch.after_commit(session)
    assert [what["args"][0].run_id for what in begun] == ["run-2", "run-3"]


def add_task(session: Session, dag: str, task: str, state: str, operator: str = "") -> None:
    values = {"dag_id": dag, "run_id": "run-1", "task_id": task, "map_index": -1, "state": state, "pool": "p",
              "pool_slots": 1, "max_tries": 0, "id": uuid4(), "span_status": "x", "try_number": 0,
              "operator": operator}  # fmt: skip
    session.execute(insert(TaskInstance.__table__), [values])


@pytest.mark.rules("LC-85")
def test_a_job_that_only_cleans_up_has_nothing_to_terminate(session: Session) -> None:
    from airflow.models import DagRun

    add_run(session, 1, dag=STORED, **RUNNING)
    run = session.get(DagRun, 1)
    assert run is not None
    dag = SimpleNamespace(
        task_dict={"work": SimpleNamespace(is_teardown=False), "clean_up": SimpleNamespace(is_teardown=True)}
    )

    add_task(session, STORED, "clean_up", "running")
    add_task(session, STORED, "work", "success")
    assert not has_work(session, run, dag)
    session.execute(update(TaskInstance).where(TaskInstance.task_id == "work").values(state=None))
    assert has_work(session, run, dag)
    session.execute(update(TaskInstance).where(TaskInstance.task_id == "work").values(state="deferred"))
    assert has_work(session, run, dag)


@pytest.mark.rules("LC-85")
def test_a_job_whose_container_may_have_nobody_is_looked_after(session: Session) -> None:
    from airflow.models import DagRun

    add_run(session, 1, dag=JOBS_DAG, **RUNNING)
    run = session.get(DagRun, 1)
    assert run is not None
    add_task(session, JOBS_DAG, "run_job", "queued", "JobOperator")
    add_task(session, JOBS_DAG, "phase_1.task_1", "queued", "MergedOperator")
    add_task(session, JOBS_DAG, "other", "deferred", "RunConfigurationOperator")
    assert LeftBehind.of(session, run) is None, "it has no container yet"
    beginning, whole = Beginning(JOBS_DAG, "run-1", run.clear_number), f"{JOBS_DAG}/run-1"
    left = LeftBehind(beginning, (whole, f"{whole}/phase_1.task_1"))
    for state, found in {"running": left, "deferred": left, "up_for_retry": left, None: left, "failed": None}.items():
        session.execute(update(TaskInstance).values(state=state, try_number=1))
        assert LeftBehind.of(session, run) == found, state
    assert not beginning.ended_run(session)
    session.execute(update(DagRun).values(state="failed"))
    assert beginning.ended_run(session)
    session.execute(update(DagRun).values(clear_number=run.clear_number + 1))
    assert not beginning.ended_run(session), "somebody has begun it anew"


@pytest.mark.engine
@pytest.mark.rules("LC-85")
def test_a_container_that_nobody_follows_is_removed_with_its_folder_unless_its_run_was_begun_anew(
    session: Session, recorded: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(session, 1, dag=JOBS_DAG, state="failed", clear_number=1)
    monkeypatch.setattr("airflow.utils.session.create_session", lambda **_: nullcontext(session))
    settings, jobs = recorded.settings, (f"{JOBS_DAG}/run-1",)
    folder = Workspace(settings.workspaces, f"{JOBS_DAG}/run-1").folder
    folder.mkdir(parents=True)
    labels = {LABEL_JOB: f"{JOBS_DAG}/run-1", LABEL_INSTALLATION: settings.installation}
    with Engine.from_environment() as engine:
        container = engine.client.create_container("docker-runner/base", ["sleep", "600"], labels=labels)["Id"]
        try:
            engine.client.start(container)
            LeftBehind(Beginning(JOBS_DAG, "run-1", 0), jobs).stop(settings)
            assert engine.client.inspect_container(container)["State"]["Running"]
            assert folder.exists()
            LeftBehind(Beginning(JOBS_DAG, "run-1", 1), jobs).stop(settings)
            assert engine.client.containers(all=True, filters={"id": container}) == []
            assert not folder.exists()
        finally:
            with suppress(docker.errors.NotFound):
                engine.client.remove_container(container, force=True)
