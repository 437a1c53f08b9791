"""Runs of one configuration take turns, also when they are runs of different DAGs (LC-11, D7)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from docker_runner.job.request import FORCE_RUN
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

STORING = ("run", FORCE_RUN)
"""Modes whose results and state another run would build on."""


def one_at_a_time(session: Session) -> None:
    """Let no other request look at the jobs that there are until this session ends.

    Raises:
        ApiError: 409, Airflow does not know the DAG that runs any configuration.
    """
    from airflow.models import DagModel
    from sqlalchemy import update

    # Whoever comes second waits here until the first one's run is there; every database can lock a row like this.
    lock = update(DagModel).where(DagModel.dag_id == JOBS_DAG).values(is_paused=DagModel.is_paused)
    if not session.execute(lock, execution_options={"synchronize_session": False}).rowcount:  # type: ignore[attr-defined]
        raise jobs_dag_unknown()


def jobs_dag_unknown() -> ApiError:
    """That nothing can run any configuration here."""
    return ApiError(
        409,
        f"Airflow does not know the DAG {JOBS_DAG}, which runs this job: has dags/jobs.py been read? A file with "
        "`from docker_runner_airflow.jobs_dag import jobs_dag` and `dag = jobs_dag()` in the DAGs folder makes it.",
    )


def unfinished_before(
    session: Session, *, component: str, config: str, branches: Collection[str], own: str
) -> list[DagRun]:
    """The runs that a new run of a configuration must wait for: the last of each DAG, which waits for those before.

    Args:
        session: of Airflow's database.
        component: of the configuration.
        config: its id.
        branches: what its branch is called in the conf of runs.
        own: its own DAG, if its runs go on; may be empty.
    """
    from airflow.models import DagRun
    from sqlalchemy import and_, func, or_, select

    # Runs that are to begin later take their turn then.
    under_way = or_(DagRun.state == "running", and_(DagRun.state == "queued", DagRun.run_after <= datetime.now(UTC)))
    of_jobs = and_(
        DagRun.dag_id == JOBS_DAG,
        DagRun.conf["component"].as_string() == component,
        DagRun.conf["config"].as_string() == config,
        func.coalesce(DagRun.conf["branch"].as_string(), "").in_(sorted(branches)),
        func.coalesce(DagRun.conf["mode"].as_string(), "run").in_(STORING),
    )
    found: list[DagRun] = []
    for condition in (of_jobs, DagRun.dag_id == own) if own else (of_jobs,):
        last = select(DagRun).where(condition, under_way).order_by(DagRun.id.desc()).limit(1)
        found += session.scalars(last).all()
    return found
