"""A DAG that removes what killed runs left, and keeps the Storage small.

A DAG file needs two lines::

    from docker_runner_airflow.housekeeping import housekeeping_dag

    dag = housekeeping_dag()
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

DAG_ID = "docker_runner_housekeeping"
_START = datetime(2024, 1, 1, tzinfo=UTC)
_DOCUMENTATION = """# Housekeeping
Stops and removes containers of runs that have ended, their folders with everything in them, and images that were built
from git and not used for a while; merges small files of the Storage and forgets its old states. Only what this
installation made is touched, and nothing of a run that is still at work.
"""


def housekeeping_dag() -> DAG:
    """The DAG: once a day, and paused until somebody switches it on."""
    from airflow.sdk import DAG, Param

    from docker_runner_airflow.housekeeping_operators import CleanOperator, TidyStorageOperator

    dag = DAG(
        DAG_ID,
        dag_display_name="Docker Runner: housekeeping",
        description="Removes what killed runs left, and keeps the Storage small.",
        doc_md=_DOCUMENTATION,
        tags=["housekeeping"],
        schedule="@daily",
        start_date=_START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
        params={
            "ended_hours": Param(1, type="integer", minimum=0, description="hours since a run has ended"),
            "unknown_days": Param(
                7, type="integer", minimum=0, description="days since a run stirred that cannot be asked for"
            ),
            "image_days": Param(14, type="integer", minimum=0, description="days since a built image was used"),
            "keep_days": Param(7, type="integer", minimum=0, description="days for which states of tables are kept"),
            "dry_run": Param(False, type="boolean", description="only tell what would be removed"),
        },
    )
    CleanOperator(dag=dag, task_id="clean")
    TidyStorageOperator(dag=dag, task_id="tidy_storage")
    return dag


def is_alive(job_id: str, *, ti: Any) -> bool | None:
    """Whether a DAG run is at work; None for runs that are not Airflow's.

    Args:
        job_id: identity of a run, see ``operators.job_id``.
        ti: the task that asks.
    """
    dag_id, slash, run_id = job_id.partition("/")
    if not slash:
        return None
    return bool(ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]))


def clean_up_runs(context: Mapping[str, Any]) -> str:
    """Remove what runs left; gives what people read of it."""
    from docker_runner.job.housekeeping import Limits, as_text, clean, is_running_here
    from docker_runner.job.tools import Tools
    from docker_runner.settings import Settings

    params = context["params"]
    tools = Tools(Settings.from_environment())

    def alive(job_id: str) -> bool | None:
        known = is_alive(job_id, ti=context["ti"])
        return is_running_here(tools, job_id) if known is None else known

    limits = Limits(
        ended=timedelta(hours=params["ended_hours"]),
        unknown=timedelta(days=params["unknown_days"]),
        images=timedelta(days=params["image_days"]),
    )
    return as_text(clean(tools, limits, is_alive=alive, dry_run=params["dry_run"]), dry_run=params["dry_run"])
