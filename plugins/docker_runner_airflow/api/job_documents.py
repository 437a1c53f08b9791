"""Jobs as callers see them (API-55): what was asked for, where it stands, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from docker_runner.documents import scalar_text
from docker_runner.encryption import is_cipher
from docker_runner.job.request import full_run_id
from docker_runner.secret_keys import hide_secrets
from docker_runner_airflow.api.addresses import airflow_url, api_url
from docker_runner_airflow.api.errors import without_folders
from docker_runner_airflow.api.job_ids import job_id_of
from docker_runner_airflow.api.job_models import (
    MOST_LOGS,
    AirflowLinks,
    BackendOfJob,
    BehaviorOfJob,
    Identified,
    JobDocument,
    JobSummary,
    Metrics,
    TaskLog,
    VariableOfJob,
    VariablesOfJob,
)
from docker_runner_airflow.api.job_reports import Reports
from docker_runner_airflow.api.job_results import read_reports, result_of
from docker_runner_airflow.api.job_status import ASKED_TO_END, Status, on_error, status_of
from docker_runner_airflow.api.own_dags import OwnDags
from docker_runner_airflow.api.starters import token_id_of
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session
    from starlette.requests import Request


class RunRecord(Protocol):
    """What a document needs of a DAG run; a row of a query that has these columns will do."""

    id: Any
    dag_id: Any
    run_id: Any
    state: Any
    created_at: Any
    run_after: Any
    start_date: Any
    end_date: Any
    clear_number: Any
    triggering_user_name: Any
    conf: Any


def job_document(session: Session, run: RunRecord, request: Request) -> JobDocument:
    """The whole document of a job.

    Args:
        session: of Airflow's database.
        run: the job's DAG run.
        request: tells under which address the API is called.
    """
    from airflow.models.dagrun import DagRunNote

    note = session.get(DagRunNote, run.id)
    summary = job_summary(run, note.content or "" if note else "", request)
    tasks = _tasks(session, run)
    conf, settings = conf_of_run(run), request.app.state.settings
    reports = read_reports(session, run, settings, has_ended=summary.is_finished)
    if result := result_of(summary.status, reports, tasks):
        result.message = without_folders(result.message, settings)
    own = {name: getattr(summary, name) for name in JobSummary.model_fields}
    own["airflow"] = summary.airflow.model_copy(update={"logs": _logs(summary.airflow.url, tasks)})
    return JobDocument(
        **own,
        config_data=_without_secrets(_map(conf, "config_data")),
        variable_values_data=VariablesOfJob(values=_variables(conf)),
        result=result,
        usage_data=reports.usage(),
        metrics=metrics_of(reports, summary.backend),
    )


def metrics_of(reports: Reports, asked: BackendOfJob) -> Metrics:
    """How much a job has moved, and what it ran on (LC-9).

    Args:
        reports: what its steps told.
        asked: size and context that the job was asked for, which count until it is known what it runs on.
    """
    ran = reports.backend
    size = ran.get("type")
    backend = BackendOfJob(type=size, container_type=size, context=ran.get("context") or None) if size else asked
    return Metrics(storage=reports.moved_bytes(), backend=backend)


def job_summary(run: RunRecord, note: str, request: Request) -> JobSummary:
    """The document of a job in a list: nothing but its DAG run is looked at.

    Args:
        run: the job's DAG run; its conf may lack what only the whole document shows.
        note: of the DAG run.
        request: tells under which address the API is called.
    """
    conf, dags = conf_of_run(run), OwnDags.knowing(request.app.state.settings, run.dag_id)
    status = status_of(state=str(run.state), start=run.start_date, conf=conf, note=note, clear_number=run.clear_number)
    component, config = _component_and_config(run, conf, dags)
    token = token_id_of(run)
    branch = dags.branch_id_of(_text(conf, "branch") or "" if run.dag_id == JOBS_DAG else "")
    asked_to_end = status in ASKED_TO_END
    size = _text(_map(conf, "backend"), "containerType") or _text(_map(conf, "backend"), "type")
    return JobSummary(
        id=job_id_of(run),  # type: ignore[arg-type]
        run_id=full_run_id(conf, run.run_id),
        parent_run_id=full_run_id(conf, "").rstrip(".") or None,
        project=Identified(id=dags.project_id),
        token=Identified(id=token) if token else None,
        status=status,
        desired_status="terminating" if asked_to_end else "processing",
        mode=_text(conf, "mode") or "run",
        component=component or None,
        config=config or None,
        config_row_ids=_rows(conf.get("rows")),
        tag=_text(conf, "tag"),
        created_time=run.created_at or run.run_after,
        start_time=run.start_date,
        end_time=run.end_date,
        duration_seconds=duration_seconds(run.start_date, run.end_date),
        is_finished=status.is_final,
        url=f"{api_url(request)}/jobs/{job_id_of(run)}",  # type: ignore[arg-type]
        branch_id=branch or None,
        variable_values_id=_text(conf, "values"),
        backend=BackendOfJob(type=size, container_type=size, context=_text(_map(conf, "backend"), "context")),
        behavior=BehaviorOfJob(on_error=on_error(conf) or None),
        parallelism=_text(_map(conf, "api"), "parallelism"),
        type="orchestrationContainer" if dags.is_flow(run.dag_id) else "standard",
        airflow=AirflowLinks(
            dag_id=run.dag_id,
            dag_run_id=run.run_id,
            url=f"{airflow_url(request)}/dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}",
            started_by=run.triggering_user_name,
        ),
    )


def duration_seconds(start: datetime | None, end: datetime | None) -> int | None:
    """How long a job ran, in full seconds, half ones rounded up; None for one that has not begun or ended."""
    if start is None or end is None:
        return None
    return int(max(0.0, (end - start).total_seconds()) + 0.5)


def conf_of_run(run: RunRecord) -> Mapping[str, Any]:
    """The conf of a DAG run, which anybody may have written."""
    return run.conf if isinstance(run.conf, Mapping) else {}


def status_of_run(run: DagRun) -> Status:
    """The status of the job that a DAG run is."""
    return status_of(
        state=str(run.state),
        start=run.start_date,
        conf=conf_of_run(run),
        note=run.note or "",
        clear_number=run.clear_number,
    )


def _component_and_config(run: RunRecord, conf: Mapping[str, Any], dags: OwnDags) -> tuple[str, str]:
    if run.dag_id == JOBS_DAG:
        return _text(conf, "component") or "", _text(conf, "config") or ""
    return dags.keys.get(run.dag_id, ("", ""))


def _tasks(session: Session, run: RunRecord) -> list[tuple[str, str]]:
    """The tasks that have begun, with their states, in the order of their beginning."""
    from airflow.models import TaskInstance
    from sqlalchemy import select

    found = session.execute(
        select(TaskInstance.task_id, TaskInstance.state)
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        .where(TaskInstance.start_date.is_not(None))
        .order_by(TaskInstance.start_date, TaskInstance.task_id)
    )
    return [(task_id, str(state or "")) for task_id, state in found]


def _logs(run_url: str, tasks: Sequence[tuple[str, str]]) -> list[TaskLog]:
    return [
        TaskLog(task=task, state=state, url=f"{run_url}/tasks/{quote(task, safe='')}")
        for task, state in tasks[:MOST_LOGS]
    ]


def _text(document: Mapping[str, Any], key: str) -> str | None:
    """A scalar as text; None when there is none."""
    value = document.get(key)
    return None if isinstance(value, Mapping | list) else scalar_text(value) or None


def _map(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _rows(value: Any) -> list[str]:
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    return [scalar_text(item) for item in items or () if not isinstance(item, Mapping | list)]


def _variables(conf: Mapping[str, Any]) -> list[VariableOfJob]:
    shown = _without_secrets(_map(conf, "variables"))
    return [VariableOfJob(name=name, value=scalar_text(value)) for name, value in sorted(shown.items())]


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    """A copy in which secrets are ciphers, as the API stores them; one that somebody has written plainly is hidden."""
    shown: dict[str, Any] = hide_secrets(document, but=lambda value: not value or is_cipher(value))
    return shown
