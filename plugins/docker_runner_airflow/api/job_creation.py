"""Starts jobs as callers of Keboola's newer queue do (API-55, LC-80 to LC-86)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from starlette.requests import Request

from docker_runner.documents import scalar_text
from docker_runner.errors import RunnerError
from docker_runner.settings import Settings
from docker_runner_airflow.api.bodies import StrictJson
from docker_runner_airflow.api.callers import CallerDep
from docker_runner_airflow.api.errors import ApiError, documented
from docker_runner_airflow.api.job_bodies import JobBody
from docker_runner_airflow.api.job_documents import job_document
from docker_runner_airflow.api.job_models import JobDocument
from docker_runner_airflow.api.new_jobs import NewJob
from docker_runner_airflow.api.projects import project_of
from docker_runner_airflow.api.run_bodies import values_asked
from docker_runner_airflow.api.run_calls import PARENT, ParentDep
from docker_runner_airflow.api.starting import refuse_unknown_component, start

router = APIRouter(route_class=StrictJson, tags=["Jobs"])

_LONGEST_ID = 250
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": JobDocument, "description": "The unfinished job that has the same deduplicationId."},
    **documented(409),
}


@router.post("/jobs", summary="Start a job", status_code=201, responses=_ANSWERS)
def create_job(
    request: Request, response: Response, caller: CallerDep, parent: ParentDep, body: JobBody
) -> JobDocument:
    """Starts a stored configuration as its DAG, or the given one, and answers with the whole job."""
    from airflow.utils.session import create_session

    settings: Settings = request.app.state.settings
    caller.refuse_if_read_only()
    component = scalar_text(body.component)
    refuse_unknown_component(component, settings)
    _refuse_other_parallelism(body, settings)
    started = start(_new_job(component, body, parent=parent), caller, settings)
    if not started.is_new:
        response.status_code = 200
    with create_session(scoped=False) as session:
        return job_document(session, started.run, request)


def _new_job(component: str, body: JobBody, *, parent: str) -> NewJob:
    backend = body.backend.model_dump(exclude_none=True) if body.backend else {}
    deduplication_id = _id(body.deduplicationId, "deduplicationId")
    kept = {
        "behavior": body.behavior.model_dump(exclude_none=True) if body.behavior else {},
        "previous_job_id": _id(body.previousJobId, "previousJobId"),
        "deduplication_id": deduplication_id,
        "parallelism": scalar_text(body.parallelism),
    }
    return NewJob(
        component=component,
        config=scalar_text(body.config),
        branch=scalar_text(body.branchId),
        mode=body.mode,
        config_data=body.configData or {},
        rows=body.configRowIds or [],
        asked={
            "tag": _tag(scalar_text(body.tag)),
            "backend": backend,
            "orchestration_id": _id(body.orchestrationJobId, "orchestrationJobId"),
            **values_asked(body.variableValuesId, body.variableValuesData),
        },
        parent=_parent(scalar_text(body.parentRunId), parent),
        api={name: value for name, value in kept.items() if value},
        after=body.after,
        deduplication_id=deduplication_id,
    )


def _tag(tag: str) -> str:
    if tag and not _TAG.fullmatch(tag):
        raise ApiError(400, "tag must be that of an image: letters, digits, _ . and -, at most 128.")
    return tag


def _id(value: Any, name: str) -> str:
    text = scalar_text(value)
    if len(text) > _LONGEST_ID:
        raise ApiError(400, f"{name} is longer than {_LONGEST_ID} characters.")
    return text


def _parent(in_body: str, in_header: str) -> str:
    if in_body and not PARENT.fullmatch(in_body):
        raise ApiError(400, "parentRunId must be a run id: letters, digits and _.:+~/@- (at most 250).")
    if in_body and in_header and in_body != in_header:
        raise ApiError(400, "parentRunId and the header X-KBC-RunId name different runs: give one of them.")
    return in_body or in_header


def _refuse_other_parallelism(body: JobBody, settings: Settings) -> None:
    """Refuse another parallelism than the configuration's, which is the only one that counts here (LC-82)."""
    asked = scalar_text(body.parallelism)
    if not asked:
        return
    own = scalar_text(_runtime(body.configData).get("parallelism")) or _stored_parallelism(body, settings)
    if asked != own:
        raise ApiError(
            400,
            f"parallelism is {asked!r}, and the configuration's runtime.parallelism is {own or 'not set'!r}: a job "
            "cannot change it. Leave it out, and set it in the configuration.",
        )


def _stored_parallelism(body: JobBody, settings: Settings) -> str:
    try:
        project = project_of(settings, scalar_text(body.branchId))
        stored = project.configuration(scalar_text(body.component), scalar_text(body.config))
    except RunnerError:
        return ""
    return scalar_text(_runtime(stored.configuration).get("parallelism"))


def _runtime(configuration: Mapping[str, Any] | None) -> Mapping[str, Any]:
    runtime = (configuration or {}).get("runtime")
    return runtime if isinstance(runtime, Mapping) else {}
