"""What jobs consist of: jobs that were started as a part of another one, or by the run of a flow (LC-86)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_runner.job.request import full_run_id
from docker_runner.project.entries import FLOW_COMPONENTS
from docker_runner_airflow.api.job_documents import conf_of_run

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from docker_runner_airflow.api.own_dags import OwnDags

MOST_PARTS = 1_000
_UNFINISHED = ("queued", "running")


@dataclass(frozen=True)
class Part:
    """A job that is a part of another one.

    Attributes:
        dag_run_id: number of its DAG run.
        of_flow: a task of the other one has started it, which is the run of a flow.
    """

    dag_run_id: int
    of_flow: bool


def may_be_flow(dag_id: str) -> bool:
    """Whether a DAG can be that of a flow, told by its id alone."""
    return any(f"{component_id}--" in dag_id for component_id in FLOW_COMPONENTS)


def started_by_flow(session: Session, run: DagRun) -> list[Part]:
    """The unfinished jobs that the tasks of a flow's run have started.

    Whoever starts a job may call it a part of any orchestration; what a task starts is marked by Airflow.
    """
    from airflow.models import DagRun
    from airflow.utils.types import DagRunTriggeredByType

    by_task = DagRun.triggered_by == DagRunTriggeredByType.OPERATOR
    return [Part(number, of_flow=True) for number in _unfinished(session, _named_by(run), by_task)]


def parts_of(session: Session, run: DagRun, dags: OwnDags) -> list[Part]:
    """The unfinished jobs that were started as a part of a job: by its flow, or with its run id as parent's.

    Args:
        session: of Airflow's database.
        run: of the job.
        dags: the DAGs whose runs are jobs.
    """
    from airflow.models import DagRun
    from sqlalchemy import func, or_, select

    by_flow = started_by_flow(session, run)
    conditions = [_named_by(run)]
    namesake = (
        select(DagRun.id)
        .where(DagRun.run_id == run.run_id, DagRun.id != run.id, DagRun.state.in_(_UNFINISHED))
        .limit(1)
    )
    # Scheduled runs of many DAGs have one run id: then a child does not tell whose it is.
    if session.scalar(namesake) is None:
        own = full_run_id(conf_of_run(run), run.run_id)
        parent = func.coalesce(DagRun.conf["parent_run_id"].as_string(), "")
        conditions += [parent == own, parent.startswith(f"{own}.", autoescape=True)]
    known = {part.dag_run_id for part in by_flow}
    others = _unfinished(session, DagRun.dag_id.in_(sorted(dags.ids)), or_(*conditions))
    return by_flow + [Part(number, of_flow=False) for number in others if number not in known]


def _named_by(run: DagRun) -> ColumnElement[bool]:
    """The condition that a run says that it belongs to that of a flow."""
    from airflow.models import DagRun

    named: ColumnElement[bool] = DagRun.conf["orchestration_id"].as_string() == f"{run.dag_id}/{run.run_id}"
    return named


def _unfinished(session: Session, *conditions: ColumnElement[bool]) -> list[int]:
    from airflow.models import DagRun
    from sqlalchemy import select

    return list(
        session.scalars(
            select(DagRun.id).where(DagRun.state.in_(_UNFINISHED), *conditions).order_by(DagRun.id).limit(MOST_PARTS)
        )
    )
