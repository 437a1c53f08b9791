"""Stops jobs, as marking their runs failed in Airflow's UI does (LC-85, LC-86)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from docker_runner.job.request import full_run_id
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.job_documents import conf_of_run
from docker_runner_airflow.api.job_status import note_of_termination, status_of
from docker_runner_airflow.api.left_behind import LeftBehind
from docker_runner_airflow.api.own_dags import OwnDags

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

    from docker_runner.settings import Settings
    from docker_runner_airflow.api.callers import Caller

_MOST_CHILDREN = 1_000
_AUDIT = "terminate_job"


def terminate(dag_run_id: int, *, caller: Caller, dags: OwnDags, settings: Settings) -> None:
    """Stop a job, then those that are a part of it.

    Args:
        dag_run_id: number of its DAG run, which the caller may see.
        caller: who wants it.
        dags: the DAGs whose runs are jobs.
        settings: of this installation.

    Raises:
        ApiError: 400, it has ended, is being stopped, or has done its work and only cleans up; also for a token that
            may only read; 403, the caller may not stop it; 409, Airflow does not know its DAG any more.
    """
    with _locked(dag_run_id) as (session, run):
        _refuse_forbidden(run, caller)
        behind = [_stop(session, run, caller)]
        left = _children(session, run, dags)
    seen = {dag_run_id}
    while left and len(seen) <= _MOST_CHILDREN:
        child_id = left.pop()
        if child_id in seen:
            continue
        seen.add(child_id)
        # One that has ended meanwhile is no reason to leave the others.
        with suppress(ApiError), _locked(child_id) as (session, run):
            left += _children(session, run, dags)
            _refuse_forbidden(run, caller)
            behind.append(_stop(session, run, caller))
    for job in behind:
        if job:
            job.stop_soon(settings)


@contextmanager
def _locked(dag_run_id: int) -> Iterator[tuple[Session, DagRun]]:
    """A DAG run that no scheduler takes up meanwhile."""
    from airflow.models import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import with_row_locks
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        wanted = select(DagRun).where(DagRun.id == dag_run_id)
        run = session.scalar(with_row_locks(wanted, of=DagRun, session=session))
        if run is None:
            raise ApiError(404, "The job was removed a moment ago.")
        yield session, run


def _refuse_forbidden(run: DagRun, caller: Caller) -> None:
    if caller.token:
        caller.refuse_if_read_only()
    elif not caller.may(run.dag_id, "PUT", of_run=True):
        raise ApiError(403, f"You may not change runs of the DAG {run.dag_id}: ask for this permission in Airflow.")


def _stop(session: Session, run: DagRun, caller: Caller) -> LeftBehind | None:
    """Stop a job; gives what of it may have nobody who stops it."""
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state
    from airflow.models import Log
    from airflow.models.dagbag import DBDagBag

    status = status_of(
        state=str(run.state),
        start=run.start_date,
        conf=conf_of_run(run),
        note=run.note or "",
        clear_number=run.clear_number,
    )
    if not status.can_be_terminated:
        raise ApiError(400, f"Only jobs that are waiting or processing can be terminated, and this one is {status}.")
    dag = DBDagBag().get_dag_for_run(run, session=session)
    if dag is None:
        raise ApiError(409, f"Airflow does not know the DAG {run.dag_id} any more: stop the run in Airflow.")
    was_waiting = run.state == "queued"
    if not was_waiting and not _has_work(session, run, dag):
        raise ApiError(400, "The job has done its work, and is only cleaning up: there is nothing to terminate.")
    # The note comes first, so that listeners see it.
    text = note_of_termination(run.note or "", who=caller.name, clear_number=run.clear_number)
    if run.dag_run_note is None:
        run.note = (text, caller.name[:128])
    else:
        run.dag_run_note.content, run.dag_run_note.user_id = text, caller.name[:128]
    behind = LeftBehind.of(session, run)
    patch_dag_run_state(dag=dag, dag_run=run, state=DagRunMutableStates.FAILED, session=session)
    if was_waiting:
        _end(session, run)
    session.add(
        Log(
            event=_AUDIT, owner=caller.name, owner_display_name=caller.name, dag_id=run.dag_id, run_id=run.run_id,
            extra=json.dumps({"status": status.value}),
        )
    )  # fmt: skip
    return behind


def _has_work(session: Session, run: DagRun, dag: Any) -> bool:
    """Whether a task is not finished that does not only clean up."""
    from airflow.models import TaskInstance
    from airflow.utils.state import State
    from sqlalchemy import or_, select

    unfinished = session.scalars(
        select(TaskInstance.task_id)
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        .where(or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(State.finished)))
    )
    return any(task_id in dag.task_dict and not dag.task_dict[task_id].is_teardown for task_id in unfinished)


def _end(session: Session, run: DagRun) -> None:
    """End a run that has not begun: Airflow would begin it all the same, to clean up what is not there."""
    from airflow.models import TaskInstance
    from airflow.utils.state import DagRunState, State, TaskInstanceState
    from sqlalchemy import select

    for task in session.scalars(
        select(TaskInstance).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    ):
        if task.state not in State.finished:
            task.set_state(TaskInstanceState.SKIPPED, session=session)
    if run.state not in State.finished_dr_states:
        run.set_state(DagRunState.FAILED)


def _children(session: Session, run: DagRun, dags: OwnDags) -> list[int]:
    """The unfinished jobs that were started as a part of a job: with its run id as parent's, or by its flow."""
    from airflow.models import DagRun
    from sqlalchemy import func, or_, select

    unfinished = DagRun.state.in_(("queued", "running"))
    conditions = [DagRun.conf["orchestration_id"].as_string() == f"{run.dag_id}/{run.run_id}"]
    namesake = select(DagRun.id).where(DagRun.run_id == run.run_id, DagRun.id != run.id, unfinished).limit(1)
    # Scheduled runs of many DAGs have one run id: then a child does not tell whose it is.
    if session.scalar(namesake) is None:
        own = full_run_id(conf_of_run(run), run.run_id)
        parent = func.coalesce(DagRun.conf["parent_run_id"].as_string(), "")
        conditions += [parent == own, parent.startswith(f"{own}.", autoescape=True)]
    return list(
        session.scalars(
            select(DagRun.id)
            .where(unfinished, DagRun.dag_id.in_(sorted(dags.ids)), or_(*conditions))
            .order_by(DagRun.id)
            .limit(_MOST_CHILDREN)
        )
    )
