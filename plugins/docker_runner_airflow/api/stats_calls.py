"""How long jobs have run, in all and for each day (API-20, API-21, API-50, API-51)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from docker_runner_airflow.api.bodies import refuse_repeated, refuse_unknown_parameters
from docker_runner_airflow.api.callers import CallerDep
from docker_runner_airflow.api.errors import documented
from docker_runner_airflow.api.job_search import visible_dags
from docker_runner_airflow.api.own_dags import OwnDags

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from docker_runner_airflow.api.callers import Caller

router = APIRouter(tags=["Statistics"])

MOST_DAYS = 3660
_DAY_SECONDS = 86_400
_FIRST, _LAST = date(1970, 1, 1), date(9998, 12, 31)
_FARTHEST = timedelta(hours=14)
_OFFSET = re.compile(r"([+ -])(\d{2}):([0-5]\d)")


class Period(BaseModel):
    """Days in a time zone; both ends belong to it."""

    model_config = ConfigDict(extra="forbid")

    fromDate: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="The first day, e.g. `2026-01-31`.")  # noqa: N815
    toDate: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="The last day, e.g. `2026-02-28`.")  # noqa: N815
    timezoneOffset: str = Field(  # noqa: N815
        pattern=r"^[+ -]\d{2}:\d{2}$",
        description="Of the time zone whose days are meant, e.g. `+02:00`; a plus sign may stand as the blank that "
        "it is in an address.",
    )

    @field_validator("fromDate", "toDate")
    @classmethod
    def _is_a_day(cls, text: str) -> str:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise PydanticCustomError("date", "Must be a day that exists, e.g. 2026-01-31") from None
        if not _FIRST <= day <= _LAST:
            raise PydanticCustomError("date", f"Must be a day from {_FIRST} to {_LAST}")
        return text

    @field_validator("timezoneOffset")
    @classmethod
    def _is_an_offset(cls, text: str) -> str:
        if _offset(text) is None:
            raise PydanticCustomError("offset", "Must be an offset from -14:00 to +14:00, e.g. +02:00")
        return text

    @model_validator(mode="after")
    def _is_a_period(self) -> Period:
        if self.last < self.first:
            raise PydanticCustomError("order", "toDate must not be before fromDate")
        if self.days > MOST_DAYS:
            raise PydanticCustomError(
                "long", f"From fromDate to toDate there may be {MOST_DAYS} days, both included: ask several times"
            )
        return self

    @property
    def first(self) -> date:
        """The first day."""
        return date.fromisoformat(self.fromDate)

    @property
    def last(self) -> date:
        """The last day."""
        return date.fromisoformat(self.toDate)

    @property
    def days(self) -> int:
        """How many days these are."""
        return (self.last - self.first).days + 1

    @property
    def begin(self) -> datetime:
        """When the first day begins."""
        zone = timezone(_offset(self.timezoneOffset) or timedelta())
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=zone).astimezone(UTC)


def _offset(text: str) -> timedelta | None:
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return None if offset > _FARTHEST else -offset if found[1] == "-" else offset


class DurationSum(BaseModel):
    """How long jobs ran."""

    durationSum: int = Field(description="Seconds.")  # noqa: N815


class DurationSumOfDay(DurationSum):
    """How long the jobs ran that ended on a day."""

    date: str = Field(description="The day, e.g. `2026-01-31`.")


class ProjectStatistics(BaseModel):
    """How long the jobs of the project ran."""

    jobs: DurationSum


class DailyStatistics(BaseModel):
    """How long the jobs of the project ran, day by day."""

    jobs: list[DurationSumOfDay]


@router.get("/stats/project", summary="How long all jobs have run", responses=documented())
def project_statistics(request: Request, caller: CallerDep) -> ProjectStatistics:
    """The sum of the `durationSeconds` of all jobs that have ended, without orchestrations and flows.

    For an Airflow user it is that of the jobs which they may see.
    """
    from airflow.utils.session import create_session

    refuse_unknown_parameters(request)
    with create_session(scoped=False) as session:
        counted = counted_dags(session, OwnDags.of(request.app.state.settings), caller)
        return ProjectStatistics(jobs=DurationSum(durationSum=duration_sum(session, counted)))


@router.get("/stats/project/daily", summary="How long jobs have run each day", responses=documented())
def daily_statistics(request: Request, caller: CallerDep, period: Annotated[Period, Query()]) -> DailyStatistics:
    """The same for each day of a period; a job counts on the day on which it has ended."""
    from airflow.utils.session import create_session

    refuse_repeated(request)
    with create_session(scoped=False) as session:
        counted = counted_dags(session, OwnDags.of(request.app.state.settings), caller)
        sums = daily_sums(session, counted, begin=period.begin, days=period.days)
    return DailyStatistics(
        jobs=[
            DurationSumOfDay(date=(period.first + timedelta(days=day)).isoformat(), durationSum=sums.get(day, 0))
            for day in range(period.days)
        ]
    )


def counted_dags(session: Session, dags: OwnDags, caller: Caller) -> list[str]:
    """The DAGs whose runs count: those that the caller may see, but no flows, which only start others."""
    return [dag_id for dag_id in visible_dags(session, dags, caller) if not dags.is_flow(dag_id)]


def duration_sum(session: Session, counted: Collection[str]) -> int:
    """How long the finished runs of some DAGs took, in seconds.

    Args:
        session: of Airflow's database.
        counted: ids of the DAGs.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select

    seconds = func.sum(_full_seconds(_seconds(session, DagRun.start_date, DagRun.end_date)))
    return int(session.scalar(select(seconds).where(*_finished(counted))) or 0)


def daily_sums(session: Session, counted: Collection[str], *, begin: datetime, days: int) -> dict[int, int]:
    """The same for each day on which runs ended, by the number of the day, from 0.

    Args:
        session: of Airflow's database.
        counted: ids of the DAGs.
        begin: of the first day.
        days: how many.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import Integer, cast, func, literal, select

    start = literal(begin, DagRun.end_date.type)
    day = cast(func.floor(_seconds(session, start, DagRun.end_date) / float(_DAY_SECONDS)), Integer).label("day")
    seconds = func.sum(_full_seconds(_seconds(session, DagRun.start_date, DagRun.end_date)))
    end = begin + timedelta(days=days)
    found = session.execute(
        select(day, seconds).where(*_finished(counted), DagRun.end_date >= begin, DagRun.end_date < end).group_by(day)
    )
    return {int(number): int(total) for number, total in found}


def _finished(counted: Collection[str]) -> list[ColumnElement[bool]]:
    from airflow.models.dagrun import DagRun

    ended = [DagRun.start_date.is_not(None), DagRun.end_date.is_not(None), DagRun.state.in_(("success", "failed"))]
    return [DagRun.dag_id.in_(sorted(counted)), *ended]


def _full_seconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """As :func:`docker_runner_airflow.api.job_documents.duration_seconds` rounds them."""
    from sqlalchemy import case, func

    return case((seconds > 0, func.floor(seconds + 0.5)), else_=0)


def _seconds(session: Session, start: Any, end: Any) -> ColumnElement[Any]:
    """The seconds from one time to another."""
    from sqlalchemy import func, text

    dialect = session.get_bind().dialect.name
    if dialect == "postgresql":
        return func.extract("epoch", end - start)
    if dialect == "mysql":
        return func.timestampdiff(text("MICROSECOND"), start, end) / 1_000_000.0
    return _sqlite_seconds(end) - _sqlite_seconds(start)


def _sqlite_seconds(moment: Any) -> ColumnElement[Any]:
    """SQLite keeps times as texts with microseconds, and its own functions round those."""
    from sqlalchemy import Float, Integer, cast, func, literal

    whole = cast(func.strftime("%s", func.substr(moment, 1, 19)), Integer)
    return whole + cast(literal("0").concat(func.substr(moment, 20)), Float)
