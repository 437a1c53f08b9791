"""What came of a job: read from what its tasks returned and from its events (LC-8)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from docker_runner.errors import RunnerError
from docker_runner.job.job_events import FINISHED, NOTHING
from docker_runner.storage import open_ledger
from docker_runner.storage.events import Event, EventQuery, EventType
from docker_runner_airflow.api.job_reports import KEYS, Reports
from docker_runner_airflow.api.job_status import Status

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from docker_runner.settings import Settings
    from docker_runner_airflow.api.job_documents import RunRecord

LOG = logging.getLogger("docker_runner.api")
_MOST_EVENTS = 5_000
# Clocks of machines differ; whatever else is found is older than what counts.
_CLOCKS_DIFFER = timedelta(minutes=1)
_BAD_TASKS = ("failed", "upstream_failed")


class ErrorOfJob(BaseModel):
    """Why a job failed."""

    type: str = Field(description="`user`: change the configuration or the data. `application`: try again, then look.")
    exceptionId: str | None = Field(default=None, description="Id of the event in Storage that tells it.")  # noqa: N815


class JobResult(BaseModel):
    """What came of a job."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    message: str = Field(description="For people; of a job that failed the component's own message.")
    error: ErrorOfJob | None = None
    config_version: str | None = None
    images: list[list[dict[str, Any]]] = Field(
        default=[], description="The images that ran, in order: a list for each row."
    )
    input: dict[str, list[dict[str, Any]]] = Field(default={}, description="Tables and files that were read.")
    output: dict[str, list[dict[str, Any]]] = Field(
        default={},
        description="Tables and files that were written, also by a job that failed later.",
    )
    artifacts: dict[str, list[dict[str, Any]]] = {}
    variables: dict[str, Any] = Field(default={}, description="Variables that were replaced, with their values.")
    output_variables: dict[str, Any] | None = Field(default=None, description="What the component told later jobs.")


def read_reports(session: Session, run: RunRecord, settings: Settings, *, has_ended: bool) -> Reports:
    """What the steps of a job have reported so far.

    Args:
        session: of Airflow's database.
        run: the job's DAG run.
        settings: have the Storage that keeps events.
        has_ended: there is nothing more to come; events matter then.
    """
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    if run.start_date is None:
        return Reports()
    xcoms = session.execute(
        select(XComModel.task_id, XComModel.key, XComModel.value)
        .where(XComModel.dag_run_id == run.id, XComModel.key.in_(KEYS))
        .order_by(XComModel.timestamp)
    )
    return Reports.of(((task, key, value) for task, key, value in xcoms), _events(run, settings) if has_ended else [])


def _events(run: RunRecord, settings: Settings) -> Sequence[Event]:
    """What the job has told in Storage; a Storage that does not answer must not hide the rest of the job."""
    query = EventQuery(
        job=f"{run.dag_id}/{run.run_id}",
        types=(EventType.SUCCESS, EventType.ERROR),
        since=run.start_date - _CLOCKS_DIFFER,
        limit=_MOST_EVENTS,
    )
    try:
        return open_ledger(settings.storage).events(query)
    except RunnerError as error:
        LOG.warning("The events of %s cannot be read: %s", query.job, error)
        return []


def result_of(status: Status, reports: Reports, tasks: Sequence[tuple[str, str]]) -> JobResult | None:
    """The result of a job; None for one that has not ended.

    Args:
        status: of the job.
        reports: what its steps told.
        tasks: its tasks with their states.
    """
    if not status.is_final:
        return None
    failure = reports.failure if status in (Status.ERROR, Status.WARNING) else None
    output = {"tables": reports.output_tables(), "files": reports.output_files()}
    result = JobResult(
        message=_message(status, reports, tasks),
        config_version=reports.config_version,
        images=reports.images(),
        input={"tables": reports.input_tables()},
        variables=reports.variables,
    )
    if failure:
        result.error = ErrorOfJob(type=failure.kind, exceptionId=failure.event_id)
    elif status in (Status.ERROR, Status.WARNING):
        result.error = ErrorOfJob(type="application")
    if status is Status.SUCCESS:
        result.input["files"] = reports.input_files()
        result.artifacts = reports.artifacts()
        result.output_variables = reports.output_variables() or None
    # Each row commits on its own (D6): what a failed job has stored is there, and not to be kept secret.
    if status is Status.SUCCESS or any(output.values()):
        result.output = output
    return result


def _message(status: Status, reports: Reports, tasks: Sequence[tuple[str, str]]) -> str:
    if status is Status.SUCCESS:
        return NOTHING if reports.ran_nothing else FINISHED
    if status is Status.CANCELLED:
        return "The job was cancelled before it began."
    if status is Status.TERMINATED:
        return "The job was terminated."
    if reports.failure:
        return reports.failure.message
    bad = [task for task, state in tasks if state in _BAD_TASKS]
    return f"The job failed: see the log of {', '.join(bad[:5])}." if bad else "The job failed: see its run in Airflow."
