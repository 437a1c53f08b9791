"""What one can find out about jobs, and how to stop one (API-55, LC-85, LC-86)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from docker_runner_airflow.api.bodies import refuse_repeated, refuse_unknown_parameters
from docker_runner_airflow.api.callers import CallerDep
from docker_runner_airflow.api.errors import ApiError, documented
from docker_runner_airflow.api.job_documents import job_document, job_summary
from docker_runner_airflow.api.job_ids import find_run
from docker_runner_airflow.api.job_models import JobDocument, JobSummary
from docker_runner_airflow.api.job_search import JobFilter, find_jobs, may_see
from docker_runner_airflow.api.own_dags import OwnDags
from docker_runner_airflow.api.terminating import terminate

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

    from docker_runner_airflow.api.callers import Caller

router = APIRouter(tags=["Jobs"])

JobPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]+$", max_length=64, description="Id of a job.")]


@router.get("/jobs", summary="List jobs", responses=documented())
def list_jobs(request: Request, caller: CallerDep, wanted: Annotated[JobFilter, Query()]) -> list[JobSummary]:
    """The jobs that the caller may see, newest first.

    A Storage token sees the jobs that were started with it; one that may manage sees all of them, and an Airflow user
    those whose DAGs they may read. What came of a job is told by `GET /jobs/{id}`.
    """
    from airflow.utils.session import create_session

    refuse_repeated(request, but="status")
    with create_session(scoped=False) as session:
        found = find_jobs(session, wanted, dags=OwnDags.of(request.app.state.settings), caller=caller)
        return [job_summary(run, run.note or "", request) for run in found]


@router.get("/jobs/{job_id}", summary="Look at a job", responses=documented(404))
def get_job(request: Request, job_id: JobPath, caller: CallerDep) -> JobDocument:
    """What was asked for, where the job stands, and what came of it."""
    from airflow.utils.session import create_session

    refuse_unknown_parameters(request)
    with create_session(scoped=False) as session:
        return job_document(session, visible_run(session, job_id, caller, request), request)


@router.post("/jobs/{job_id}/terminate", status_code=202, summary="Stop a job", responses=documented(404, 409))
def terminate_job(request: Request, job_id: JobPath, caller: CallerDep) -> JobDocument:
    """Stops a job that has not ended, and those that are a part of it; their containers are stopped with some grace."""
    from airflow.utils.session import create_session

    refuse_unknown_parameters(request)
    with create_session(scoped=False) as session:
        run_id = visible_run(session, job_id, caller, request).id
    settings = request.app.state.settings
    # Jobs of configurations that came a moment ago are a part of it too.
    terminate(run_id, caller=caller, dags=OwnDags.now(settings), settings=settings)
    with create_session(scoped=False) as session:
        return job_document(session, visible_run(session, job_id, caller, request), request)


def visible_run(session: Session, job_id: str, caller: Caller, request: Request) -> DagRun:
    """The DAG run of a job that the caller may see.

    Raises:
        ApiError: 404; whether the job is somebody else's is not told.
    """
    run = find_run(session, job_id, request.app.state.settings)
    if run is None or not may_see(run, caller):
        raise ApiError(404, f"There is no job {job_id}, or it is not yours to see.")
    return run
