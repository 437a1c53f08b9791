"""Starts jobs: which DAG a job runs as, who may start it, and what of it may be stored."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.request import FORCE_RUN
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.core_files import read_meta
from docker_runner.project.dag_ids import dag_id
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.flow_jobs import is_flow, refuse_what_no_flow_takes
from docker_runner_airflow.api.job_ids import new_run_id
from docker_runner_airflow.api.job_search import may_see
from docker_runner_airflow.api.new_jobs import NewJob, Started, conf_of_job, known_rows
from docker_runner_airflow.api.projects import project_of
from docker_runner_airflow.api.turns import STORING, jobs_dag_unknown, one_at_a_time, unfinished_before
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from airflow.models import DagModel, DagRun
    from sqlalchemy.orm import Session

    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings
    from docker_runner_airflow.api.callers import Caller

_LONGEST_MESSAGE = 500
# A run is due when the database's clock has passed its time, and SQLite's clock ticks in full seconds.
_DUE_BEFORE = timedelta(seconds=2)


def refuse_unknown_component(component_id: str, settings: Settings) -> None:
    """Refuse a component that is not registered (API-31).

    Raises:
        ApiError: 400.
    """
    registry = ComponentRegistry(settings.components)
    if component_id not in registry.ids() and not is_flow(component_id):
        raise ApiError(400, f"The component {component_id!r} was not found: no such component is registered here.")


def start(job: NewJob, caller: Caller, settings: Settings) -> Started:
    """Start a job.

    Args:
        job: what is to be started.
        caller: who starts it.
        settings: of this installation.

    Raises:
        ApiError: 400, the branch is unknown, the configuration disabled (LC-84), Airflow refuses the values, or the
            token may only read (API-32); 403, the caller may not trigger a DAG of the job; 409, the DAG is paused or
            unknown, or the deduplication id is in use by somebody else.
    """
    from airflow.utils.session import create_session

    project = _project(settings, job.branch)
    if is_flow(job.component):
        refuse_what_no_flow_takes(job, caller, project)
    own = _own_dag(job, project, settings)
    _refuse_disabled(job, project)
    # Airflow looks for runs with the same id in the thread's own session, and closes it.
    with create_session(scoped=False) as session:
        dags = {dag: model for dag in (own, JOBS_DAG) if dag and (model := _current(session, dag))}
        target = own if is_flow(job.component) or (own in dags and _fits(job, project)) else JOBS_DAG
        for dag in dags_to_trigger(target, own if own in dags else ""):
            caller.refuse_unless_may_run(dag)
        if job.deduplication_id and (run := unfinished_job(session, job.deduplication_id, caller)):
            return Started(run, is_new=False)
        _refuse_stopped(target, dags.get(target))
        running = own if own in dags and not dags[own].is_paused else ""
        before = _before(session, job, project, settings, target=target, own=running)
        # Only runs of this DAG can wait for those of another one.
        if any(run.dag_id == JOBS_DAG for run in before):
            target = JOBS_DAG
            _refuse_stopped(target, dags.get(target))
        conf = conf_of_job(job, caller, project, settings, target=target, before=before)
        return Started(_trigger(session, target, conf, job, caller))


def _before(
    session: Session, job: NewJob, project: Project, settings: Settings, *, target: str, own: str
) -> list[DagRun]:
    """The runs of the same configuration that a job must wait for (LC-11)."""
    if not job.config or job.mode not in STORING or is_flow(job.component):
        return []
    if target == JOBS_DAG:
        one_at_a_time(session)
    branches = {project.branch.id, project.branch.path}
    if project.branch == project_of(settings).branch:
        branches.add("")
    return unfinished_before(session, component=job.component, config=job.config, branches=branches, own=own)


def dags_to_trigger(target: str, own: str) -> tuple[str, ...]:
    """The DAGs that a caller must be allowed to trigger for a job.

    Args:
        target: the DAG that it runs as.
        own: that of the configuration whose data it uses, if it has one: nobody gets around what it allows.
    """
    return tuple(dict.fromkeys(dag for dag in (target, own) if dag))


def _project(settings: Settings, branch: str) -> Project:
    """The project, with the branch that is asked for."""
    try:
        return project_of(settings, branch)
    except UserError:
        # Whatever is wrong with the project itself is told as it is.
        project_of(settings)
        raise ApiError(400, f"There is no branch {branch!r} in the project.") from None


def _own_dag(job: NewJob, project: Project, settings: Settings) -> str:
    """Id of the DAG that a stored configuration has, if Airflow has read it; empty when it has none."""
    if not _is_stored(job, project):
        return ""
    if job.branch and project.branch != project_of(settings).branch:
        return ""
    return dag_id(job.component, job.config, project.branch)


def _is_stored(job: NewJob, project: Project) -> bool:
    return is_flow(job.component) or bool(job.config and project.has((job.component, job.config)))


def _refuse_disabled(job: NewJob, project: Project) -> None:
    """Refuse a stored configuration that is disabled; what else is wrong with it is the job's own error (API-35)."""
    key = job.component, job.config
    if job.mode == FORCE_RUN or job.config_data or not _is_stored(job, project):
        return
    with suppress(ConfigurationError):
        if read_meta(project.entry(*key).folder).get("isDisabled", False):
            raise ApiError(400, f"The configuration {'/'.join(key)} is disabled: enable it, or use the mode forceRun.")


def _fits(job: NewJob, project: Project) -> bool:
    """Whether the DAG of a stored configuration can run a job: it has tasks for its rows only."""
    if job.mode not in STORING or job.config_data:
        return False
    return not job.rows or bool(known_rows(job, project))


def _current(session: Session, dag: str) -> DagModel | None:
    """What Airflow knows of a DAG; None when it does not know it, or not any more."""
    from airflow.models import DagModel

    model = session.get(DagModel, dag)
    return model if model and not model.is_stale else None


def _refuse_stopped(dag: str, model: DagModel | None) -> None:
    """Refuse a DAG whose run would wait for ever."""
    if model is None:
        raise jobs_dag_unknown() if dag == JOBS_DAG else _not_read(dag)
    if model.is_paused:
        raise ApiError(409, f"The DAG {dag} is paused, the job would wait for ever: switch it on in Airflow.")


def _trigger(session: Session, dag: str, conf: dict[str, Any], job: NewJob, caller: Caller) -> DagRun:
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.exceptions import DagNotFound, ParamValidationError
    from airflow.utils.types import DagRunTriggeredByType

    due = job.after
    if due is None and session.get_bind().dialect.name == "sqlite":
        due = datetime.now(UTC) - _DUE_BEFORE
    try:
        run = trigger_dag(
            dag,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=caller.name,
            run_after=due,
            run_id=new_run_id(),
            conf=conf,
            session=session,
        )
    except ParamValidationError as error:
        # After its first line follows the whole schema.
        raise ApiError(400, f"{str(error).splitlines()[0][:_LONGEST_MESSAGE]} (asked by the DAG {dag})") from None
    except DagNotFound:
        run = None
    if run is None:
        raise _not_read(dag)
    session.flush()
    return run


def _not_read(dag: str) -> ApiError:
    return ApiError(409, f"Airflow has not read the DAG {dag} yet: try again in a moment.")


def unfinished_job(session: Session, deduplication_id: str, caller: Caller) -> DagRun | None:
    """The job that is not finished and has a deduplication id; until the session ends no other request looks for one.

    Raises:
        ApiError: 409, it is not the caller's to see.
    """
    from airflow.models import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    one_at_a_time(session)
    run: DagRun | None = session.scalars(
        select(DagRun)
        .where(DagRun.state.in_((DagRunState.QUEUED, DagRunState.RUNNING)))
        .where(DagRun.conf["api"]["deduplication_id"].as_string() == deduplication_id)
        .order_by(DagRun.id)
        .limit(1)
    ).first()
    if run and not may_see(run, caller):
        raise ApiError(409, "An unfinished job has this deduplicationId, and it is not yours to see: use another one.")
    return run
