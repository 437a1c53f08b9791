"""A DAG that removes what killed runs left, and keeps the Storage small.

A DAG file needs two lines::

    from docker_runner_airflow.housekeeping import housekeeping_dag

    dag = housekeeping_dag()
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG

DAG_ID = "docker_runner_housekeeping"
_START = datetime(2024, 1, 1, tzinfo=UTC)
_PAUSE = timedelta(minutes=5)
_DOCUMENTATION = """# Housekeeping
Stops and removes containers of runs that have ended, their folders with everything in them, and images that were built
from git and not used for a while; merges small files of the Storage and forgets its old states. Only what this
installation made is touched, and nothing of a run that is still at work.
"""


def housekeeping_dag() -> DAG:
    """The DAG: once a day, and paused until somebody switches it on."""
    from airflow.sdk import DAG, Param

    from docker_runner_airflow.housekeeping_operators import CleanOperator, MaintainStorageOperator
    from docker_runner_airflow.retries import RetryWhatMayPass

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
        default_args={
            "retries": 1,
            "retry_delay": _PAUSE,
            "retry_policy": RetryWhatMayPass(pause=_PAUSE),
        },
        params={
            "ended_hours": Param(1, type="integer", minimum=0, description="hours since a run has ended"),
            "unknown_days": Param(
                7, type="integer", minimum=1, description="days since a run stirred that cannot be asked for"
            ),
            "image_days": Param(14, type="integer", minimum=0, description="days since a built image was used"),
            "keep_days": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                description="days for which earlier states of tables are kept; nothing means as set, or 7",
            ),
            "dry_run": Param(False, type="boolean", description="only tell what would be removed"),
        },
    )
    CleanOperator(dag=dag, task_id="clean")
    MaintainStorageOperator(dag=dag, task_id="maintain_storage")
    return dag
