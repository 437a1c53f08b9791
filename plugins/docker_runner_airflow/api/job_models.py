"""The documents that show jobs (API-55)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from docker_runner_airflow.api.job_results import JobResult
from docker_runner_airflow.api.job_status import Status

MOST_LOGS = 200


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Identified(_Part):
    """Something that has an id."""

    id: str


class TaskLog(_Part):
    """A task of the job, with the page of its log."""

    task: str
    state: str
    url: str


class AirflowLinks(_Part):
    """Where the job is in Airflow."""

    dag_id: str
    dag_run_id: str
    url: str = Field(description="The page of the run in Airflow's UI.")
    started_by: str | None = Field(description="Who started it, where somebody did.")
    logs: list[TaskLog] | None = Field(
        default=None,
        description=f"Tasks that have begun, in that order, with the pages of their logs; at most {MOST_LOGS}.",
    )


class BackendOfJob(_Part):
    """The size that was asked for (LC-83)."""

    type: str | None = None
    container_type: str | None = None
    context: str | None = None


class BehaviorOfJob(_Part):
    """What happens when the job fails."""

    on_error: str | None = Field(default=None, description="`warning`: the job ends as a warning in place of an error.")


class VariableOfJob(_Part):
    """The value of a variable."""

    name: str
    value: str


class VariablesOfJob(_Part):
    """Values of variables that came with the job."""

    values: list[VariableOfJob]


class Metrics(_Part):
    """How much the job has moved, and what it ran on."""

    storage: dict[str, int]
    backend: BackendOfJob


class JobSummary(_Part):
    """A job in a list."""

    id: str
    run_id: str = Field(description="What components see as `KBC_RUNID`: the parent's run id, a dot and the own one.")
    parent_run_id: str | None
    project: Identified
    token: Identified | None = Field(description="The Storage token that the job was started with.")
    status: Status
    desired_status: Literal["processing", "terminating"]
    mode: str
    component: str | None
    config: str | None
    config_row_ids: list[str]
    tag: str | None
    created_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    duration_seconds: int | None
    is_finished: bool
    url: str = Field(description="Where this document is.")
    branch_id: str | None
    variable_values_id: str | None
    backend: BackendOfJob
    behavior: BehaviorOfJob
    parallelism: str | None
    type: Literal["standard", "orchestrationContainer"]
    airflow: AirflowLinks


class JobDocument(JobSummary):
    """A job."""

    config_data: dict[str, Any] = Field(description="The configuration that came with the job; secrets are ciphers.")
    variable_values_data: VariablesOfJob
    result: JobResult | None = Field(description="What came of it, when it has ended.")
    usage_data: list[Any] = Field(description="What components told of their consumption.")
    metrics: Metrics
