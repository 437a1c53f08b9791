"""Starts jobs, one call for each way of running (API-10 to API-15, API-24 to API-26)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from docker_runner.documents import scalar_text
from docker_runner.project.sandbox import SANDBOX
from docker_runner_airflow.api.addresses import api_url
from docker_runner_airflow.api.bodies import StrictJson
from docker_runner_airflow.api.callers import CallerDep
from docker_runner_airflow.api.errors import RUN_ID_HEADER, ApiError, documented
from docker_runner_airflow.api.job_ids import job_id_of
from docker_runner_airflow.api.new_jobs import NewJob, Started
from docker_runner_airflow.api.projects import BranchPath, ComponentPath
from docker_runner_airflow.api.run_bodies import RunBody, SandboxBody, given, values_asked
from docker_runner_airflow.api.starting import refuse_unknown_component, start

router = APIRouter(route_class=StrictJson, tags=["Run"])

TagPath = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=128, description="Tag of the image.")
]
PARENT = re.compile(r"[A-Za-z0-9_.:+~/@-]{1,250}")


class CreatedJob(BaseModel):
    """A job that was started (API-5)."""

    id: str
    url: str = Field(description="Where its state can be asked for.")
    status: Literal["waiting"] = "waiting"


def parent_run(run_id: Annotated[str | None, Header(alias=RUN_ID_HEADER)] = None) -> str:
    """The run id of what the job is part of (API-2, LC-86).

    Raises:
        ApiError: 400, it has not the form of one.
    """
    if run_id and not PARENT.fullmatch(run_id):
        raise ApiError(400, f"The header {RUN_ID_HEADER} must be a run id: letters, digits and _.:+~/@- (at most 250).")
    return run_id or ""


ParentDep = Annotated[str, Depends(parent_run)]


def known_component(component: ComponentPath, caller: CallerDep, request: Request) -> str:
    """A component that is registered; checked before the body is (API-31)."""
    caller.refuse_if_read_only()
    refuse_unknown_component(component, request.app.state.settings)
    return component


ComponentDep = Annotated[str, Depends(known_component)]


def created(request: Request, started: Started) -> CreatedJob:
    """What is answered when a job was started."""
    job_id = job_id_of(started.run)
    return CreatedJob(id=job_id, url=f"{api_url(request)}/jobs/{job_id}")


def new_job(component: str, body: RunBody, *, mode: str, parent: str, branch: str = "", tag: str = "") -> NewJob:
    """The job that a body describes."""
    asked: dict[str, Any] = {"tag": tag, **values_asked(body.variableValuesId, body.variableValuesData)}
    return NewJob(
        component=component,
        config=scalar_text(body.config),
        branch=branch,
        mode=mode,
        config_data=body.configData or {},
        rows=[body.row] if given(body.row) else [],
        asked=asked,
        parent=parent,
    )


CREATES: dict[str, Any] = {"status_code": 202, "responses": documented(409)}


@router.post("/run", summary="Says that a component is needed", **CREATES)
def run_nothing() -> CreatedJob:
    """There is no job without a component (API-6)."""
    raise ApiError(400, "The name of a component is required: POST /{component}/run.")


@router.post("/sandbox", summary="Show the data folder that a configuration describes", **CREATES)
def sandbox(
    request: Request,
    caller: CallerDep,
    parent: ParentDep,
    body: SandboxBody,
    file_format: Annotated[Literal["yaml", "json"], Query(alias="format", description="Of the config file.")] = "yaml",
) -> CreatedJob:
    """Stores a data folder as a file, with 50 rows of each table at most; there is neither component nor container."""
    job = NewJob(
        component=SANDBOX,
        mode="sandbox",
        config_data=body.configData,
        asked={"format": file_format},
        parent=parent,
    )
    return _created(request, job, caller)


@router.post("/branch/{branch}/{component}/run", summary="Run in a branch", **CREATES)
def run_in_branch(
    request: Request, component: ComponentDep, branch: BranchPath, caller: CallerDep, parent: ParentDep, body: RunBody
) -> CreatedJob:
    """Runs a configuration of a branch, or the given one in it."""
    return _created(request, new_job(component, body, mode="run", parent=parent, branch=branch), caller)


@router.post("/branch/{branch}/{component}/run/tag/{tag}", summary="Run in a branch with an image tag", **CREATES)
def run_tag_in_branch(
    request: Request,
    component: ComponentDep,
    branch: BranchPath,
    tag: TagPath,
    caller: CallerDep,
    parent: ParentDep,
    body: RunBody,
) -> CreatedJob:
    """Runs a configuration of a branch with another tag of the component's image."""
    return _created(request, new_job(component, body, mode="run", parent=parent, branch=branch, tag=tag), caller)


@router.post("/branch/{branch}/{component}/debug", summary="Debug in a branch", **CREATES)
def debug_in_branch(
    request: Request, component: ComponentDep, branch: BranchPath, caller: CallerDep, parent: ParentDep, body: RunBody
) -> CreatedJob:
    """Runs a configuration of a branch, keeps snapshots of its data folder as files, and stores no results."""
    return _created(request, new_job(component, body, mode="debug", parent=parent, branch=branch), caller)


@router.post("/{component}/run", summary="Run", **CREATES)
def run(request: Request, component: ComponentDep, caller: CallerDep, parent: ParentDep, body: RunBody) -> CreatedJob:
    """Runs a stored configuration as its DAG, or the given one."""
    return _created(request, new_job(component, body, mode="run", parent=parent), caller)


@router.post("/{component}/run/tag/{tag}", summary="Run with an image tag", **CREATES)
def run_tag(
    request: Request, component: ComponentDep, tag: TagPath, caller: CallerDep, parent: ParentDep, body: RunBody
) -> CreatedJob:
    """Runs with another tag of the component's image."""
    return _created(request, new_job(component, body, mode="run", parent=parent, tag=tag), caller)


@router.post("/{component}/debug", summary="Debug", **CREATES)
def debug(request: Request, component: ComponentDep, caller: CallerDep, parent: ParentDep, body: RunBody) -> CreatedJob:
    """Runs, keeps snapshots of the data folder as files, and stores no results."""
    return _created(request, new_job(component, body, mode="debug", parent=parent), caller)


@router.post("/{component}/input", summary="Show the data folder that a component would get", **CREATES)
def input_only(
    request: Request, component: ComponentDep, caller: CallerDep, parent: ParentDep, body: RunBody
) -> CreatedJob:
    """Stores the data folder as a file before any container runs."""
    return _created(request, new_job(component, body, mode="input", parent=parent), caller)


@router.post("/{component}/dry-run", summary="Run without storing results", **CREATES)
def dry_run(
    request: Request, component: ComponentDep, caller: CallerDep, parent: ParentDep, body: RunBody
) -> CreatedJob:
    """Runs the containers, and stores the data folder as a file in place of results."""
    return _created(request, new_job(component, body, mode="dry-run", parent=parent), caller)


def _created(request: Request, job: NewJob, caller: CallerDep) -> CreatedJob:
    return created(request, start(job, caller, request.app.state.settings))
