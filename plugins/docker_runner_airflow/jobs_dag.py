"""The DAG that runs any configuration: jobs that the HTTP API starts need not wait until Airflow has read a new DAG.

A DAG file needs two lines::

    from docker_runner_airflow.jobs_dag import jobs_dag

    dag = jobs_dag()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docker_runner_airflow.assets import tables_at_run_time
from docker_runner_airflow.configuration_dag import START
from docker_runner_airflow.retries import FIRST_DELAY, RETRIES
from docker_runner_airflow.trigger_form import job_fields

if TYPE_CHECKING:
    from airflow.sdk import DAG

JOBS_DAG = "docker_runner_jobs"
WHAT = ("component", "config", "branch")
"""The keys of a run's conf that say what is run; the others are those of a request."""
AFTER = "after"
"""The key in ``api`` of a run's conf with the DAG and run ids of the runs that it waits for."""

# Jobs that bring their configuration never wait for each other (LC-11): what is free in Airflow is the only limit.
_AS_MANY_AS_COME = 100_000
_DOCUMENTATION = """# Jobs
Runs any component with any configuration. The HTTP API starts these runs: for configurations that come with the
request, for debug jobs, and for configurations that have no DAG here. They can be started by hand as well: the form
asks for the component and a configuration, and its JSON may also have what the forms of configurations ask for (`tag`,
`rows`, `variables`, `values`), for example
`{"component": "sample.daily-delays", "config": "new-york", "mode": "debug"}`.
"""


def jobs_dag() -> DAG:
    """The DAG: without a schedule, and never paused by itself."""
    from airflow.sdk import DAG
    from airflow.sdk.definitions.param import ParamsDict

    from docker_runner_airflow.job_operator import JobOperator
    from docker_runner_airflow.runner_operator import RETRY_POLICY

    dag = DAG(
        JOBS_DAG,
        dag_display_name="Docker Runner: jobs",
        description="Runs any configuration; the HTTP API starts it.",
        doc_md=_DOCUMENTATION,
        tags=["jobs"],
        schedule=None,
        start_date=START,
        catchup=False,
        max_active_runs=_AS_MANY_AS_COME,
        max_active_tasks=_AS_MANY_AS_COME,
        is_paused_upon_creation=False,
        default_args={"retries": RETRIES, "retry_policy": RETRY_POLICY, "retry_delay": FIRST_DELAY},
    )
    JobOperator(dag=dag, outlets=[tables_at_run_time(JOBS_DAG)])
    # Set last: Airflow copies a DAG's params into each task that is made after them, and stores every copy.
    dag.params.update(ParamsDict(job_fields()))
    return dag


def conf_of(component_id: str, config_id: str, branch: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The conf of a run.

    Args:
        component_id: the component.
        config_id: a stored configuration; may be empty.
        branch: folder or id of a branch; empty for the one that the installation runs.
        asked: how, with the keys of a request.
    """
    return {**asked, **dict(zip(WHAT, (component_id, config_id, branch), strict=True))}
