"""Finds jobs in Airflow's database: those that a caller may see, newest first."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from docker_runner_airflow.api.job_status import Status, condition_of
from docker_runner_airflow.api.own_dags import OwnDags
from docker_runner_airflow.api.starters import started_with, token_id_of
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from docker_runner_airflow.api.callers import Caller

MOST_JOBS = 500
_LARGEST_OFFSET = 10_000_000
# What a list does not show is not read: each may be as large as the body of a request.
_LARGE = ("config_data", "variables", "storage_token")
_YEARS = range(1970, 9999)


def _moment(value: datetime) -> datetime:
    """A time of which every database knows; without a zone it is UTC."""
    if value.year not in _YEARS:
        raise PydanticCustomError("year", "Must be a time between the years 1970 and 9998")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _as_people_write(value: Any) -> Any:
    """Refuse bare numbers, which could be seconds or milliseconds."""
    if not re.match(r"\d{4}-", str(value)):
        raise PydanticCustomError("moment", "Must be a time such as 2030-01-31T08:00:00Z")
    return value


Id = Annotated[str, Field(pattern=r"^[^/\x00]+$", max_length=250)]
Moment = Annotated[datetime, BeforeValidator(_as_people_write), AfterValidator(_moment)]
ModeName = Literal["run", "forceRun", "debug", "sandbox", "input", "dry-run"]


class JobFilter(BaseModel):
    """Which jobs; all that is given must hold."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    component: Id | None = Field(None, description="Id of a component.")
    config: Id | None = Field(None, description="Id of a configuration.")
    branch_id: Id | None = Field(None, description="Id or folder of a branch.")
    status: list[Status] = Field([], description="One of these; may be given several times.", max_length=20)
    mode: ModeName | None = Field(None, description="How they ran.")
    parent_run_id: Id | None = Field(None, description="The run that they are a part of.")
    created_time_from: Moment | None = Field(None, description="Created then or later; UTC without a time zone.")
    created_time_to: Moment | None = Field(None, description="Created before then.")
    limit: int = Field(100, ge=1, le=MOST_JOBS, description="How many at most.")
    offset: int = Field(0, ge=0, le=_LARGEST_OFFSET, description="How many of the newest to leave out.")


def find_jobs(session: Session, wanted: JobFilter, *, dags: OwnDags, caller: Caller) -> Sequence[Any]:
    """The jobs that a caller may see and that match.

    Args:
        session: of Airflow's database.
        wanted: which ones.
        dags: the DAGs whose runs are jobs.
        caller: who asks.

    Returns:
        Rows with the columns of a :class:`docker_runner_airflow.api.job_documents.RunRecord` and the ``note``, newest
        first; what is large is left out of their conf.
    """
    from airflow.models.dagrun import DagRun, DagRunNote
    from sqlalchemy import and_, func, or_, select

    conditions: list[ColumnElement[bool]] = [DagRun.dag_id.in_(visible_dags(session, dags, caller))]
    if caller.token and not caller.sees_all_jobs:
        conditions.append(started_with(caller.token.id))
    if wanted.component or wanted.config or wanted.branch_id:
        conditions.append(or_(DagRun.dag_id.in_(_stored(wanted, dags)), and_(*_inline(wanted, dags))))
    if wanted.status:
        conditions.append(or_(*(condition_of(status) for status in wanted.status)))
    if wanted.mode:
        conditions.append(_asked("mode", {wanted.mode} | ({""} if wanted.mode == "run" else set())))
    if wanted.parent_run_id:
        conditions.append(_asked("parent_run_id", {wanted.parent_run_id}))
    created = func.coalesce(DagRun.created_at, DagRun.run_after)
    if wanted.created_time_from:
        conditions.append(created >= wanted.created_time_from)
    if wanted.created_time_to:
        conditions.append(created < wanted.created_time_to)
    return session.execute(
        select(
            DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.created_at, DagRun.run_after,
            DagRun.start_date, DagRun.end_date, DagRun.clear_number, DagRun.triggering_user_name,
            _small_conf(session).label("conf"), DagRunNote.content.label("note"),
        )
        .join(DagRunNote, DagRunNote.dag_run_id == DagRun.id, isouter=True)
        .where(*conditions)
        .order_by(DagRun.id.desc())
        .limit(wanted.limit)
        .offset(wanted.offset)
    ).all()  # fmt: skip


def _stored(wanted: JobFilter, dags: OwnDags) -> list[str]:
    """The DAGs of the stored configurations that match."""
    if wanted.branch_id and "" not in dags.names_of_branch(wanted.branch_id):
        return []
    return [
        dag_id
        for dag_id, (component, config) in sorted(dags.keys.items())
        if wanted.component in (None, component) and wanted.config in (None, config)
    ]


def _inline(wanted: JobFilter, dags: OwnDags) -> list[ColumnElement[bool]]:
    """The conditions on runs of the DAG that runs any configuration."""
    from airflow.models.dagrun import DagRun

    conditions: list[ColumnElement[bool]] = [DagRun.dag_id == JOBS_DAG]
    if wanted.component:
        conditions.append(_asked("component", {wanted.component}))
    if wanted.config:
        conditions.append(_asked("config", {wanted.config}))
    if wanted.branch_id:
        conditions.append(_asked("branch", dags.names_of_branch(wanted.branch_id)))
    return conditions


def _asked(key: str, values: Collection[str]) -> ColumnElement[bool]:
    """The condition that a run was asked with one of some values; an empty one is that none was given."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func

    return func.coalesce(DagRun.conf[key].as_string(), "").in_(sorted(values))


def _small_conf(session: Session) -> ColumnElement[Any]:
    """The conf of a run without what is large."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import JSON, Text, case, cast, func, literal, null, type_coerce
    from sqlalchemy.dialects.postgresql import ARRAY

    if session.get_bind().dialect.name == "postgresql":
        # Of what is no map nothing can be taken away.
        small = DagRun.conf.op("-")(cast(literal(list(_LARGE), ARRAY(Text)), ARRAY(Text)))
        is_map = func.jsonb_typeof(DagRun.conf) == "object"
        return case((is_map, type_coerce(small, DagRun.conf.type)), else_=null())
    return type_coerce(func.json_remove(DagRun.conf, *(f"$.{key}" for key in _LARGE)), JSON)


def visible_dags(session: Session, dags: OwnDags, caller: Caller) -> Collection[str]:
    """The DAGs whose runs a caller may see: a user those that Airflow lets them read, a token those of all jobs."""
    if caller.user is None:
        return sorted(dags.ids)
    from airflow.api_fastapi.app import get_auth_manager

    manager: Any = get_auth_manager()
    return sorted(dags.ids & manager.get_authorized_dag_ids(user=caller.user, method="GET", session=session))


def may_see(run: Any, caller: Caller) -> bool:
    """Whether a caller may see a job."""
    if caller.token:
        return caller.sees_all_jobs or token_id_of(run) == str(caller.token.id)
    return caller.may(run.dag_id, "GET", of_run=True)
