"""Stops one job, as marking its run failed in Airflow's UI does (LC-85)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.job_documents import status_of_run
from docker_runner_airflow.api.job_status import note_of_termination
from docker_runner_airflow.api.left_behind import LeftBehind

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

_AUDIT = "terminate_job"
_LONGEST_NAME = 128


@contextmanager
def locked_run(dag_run_id: int) -> Iterator[tuple[Session, DagRun]]:
    """A DAG run that no scheduler takes up meanwhile.

    Args:
        dag_run_id: its number.

    Raises:
        ApiError: 404, it was removed.
    """
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


def stop_run(session: Session, run: DagRun, who: str) -> LeftBehind | None:
    """Stop a job; gives what of it may have nobody who stops it.

    Args:
        session: in which the run is locked.
        run: of the job.
        who: wants it; the run's note and Airflow's audit log name them.

    Raises:
        ApiError: 400, it has ended, is being stopped, or has done its work and only cleans up; 409, Airflow does not
            know its DAG any more.
    """
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state
    from airflow.models import Log
    from airflow.models.dagbag import DBDagBag

    status = status_of_run(run)
    if not status.can_be_terminated:
        raise ApiError(400, f"Only jobs that are waiting or processing can be terminated, and this one is {status}.")
    dag = DBDagBag().get_dag_for_run(run, session=session)
    if dag is None:
        raise ApiError(409, f"Airflow does not know the DAG {run.dag_id} any more: stop the run in Airflow.")
    was_waiting = run.state == "queued"
    if not was_waiting and not has_work(session, run, dag):
        raise ApiError(400, "The job has done its work, and is only cleaning up: there is nothing to terminate.")
    # The note comes first, so that listeners see it.
    text = note_of_termination(run.note or "", who=who, clear_number=run.clear_number)
    if run.dag_run_note is None:
        run.note = (text, who[:_LONGEST_NAME])
    else:
        run.dag_run_note.content, run.dag_run_note.user_id = text, who[:_LONGEST_NAME]
    behind = LeftBehind.of(session, run)
    patch_dag_run_state(dag=dag, dag_run=run, state=DagRunMutableStates.FAILED, session=session)
    if was_waiting:
        _end(session, run)
    session.add(
        Log(
            event=_AUDIT, owner=who, owner_display_name=who, dag_id=run.dag_id, run_id=run.run_id,
            extra=json.dumps({"status": status.value}),
        )
    )  # fmt: skip
    return behind


def has_work(session: Session, run: DagRun, dag: Any) -> bool:
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
