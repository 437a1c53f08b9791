"""A job that is to be started, and what its DAG run is asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from docker_runner.documents import scalar_text
from docker_runner.encryption import Scope
from docker_runner.secret_keys import walk_secrets
from docker_runner_airflow.api.flow_jobs import is_flow
from docker_runner_airflow.jobs_dag import AFTER, JOBS_DAG, conf_of
from docker_runner_airflow.tools import airflow_encryptor

if TYPE_CHECKING:
    from airflow.models import DagRun

    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings
    from docker_runner_airflow.api.callers import Caller


@dataclass(frozen=True)
class NewJob:
    """A job that is to be started.

    Attributes:
        component: a component that is registered, or none in the mode ``sandbox``.
        config: id of a stored configuration; may be empty.
        branch: folder or id of a branch; empty for the one that this installation runs.
        mode: one of :data:`docker_runner.job.request.MODES`.
        config_data: a configuration that comes with the request.
        rows: ids of rows; empty for all. What is no id is left to the job to refuse (API-31).
        asked: what else is asked for, with the keys of a :class:`docker_runner.job.request.JobRequest`.
        parent: run id of what the job is part of (LC-86).
        api: what the API keeps of the request.
        after: when it starts; None is now.
        deduplication_id: while a job with this id is not finished no other one is started.
    """

    component: str
    config: str = ""
    branch: str = ""
    mode: str = "run"
    config_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    rows: Sequence[Any] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    api: Mapping[str, Any] = field(default_factory=dict)
    after: datetime | None = None
    deduplication_id: str = ""


@dataclass(frozen=True)
class Started:
    """The DAG run of a job.

    Attributes:
        run: it is detached from its session.
        is_new: it was started by this request.
    """

    run: DagRun
    is_new: bool = True


def known_rows(job: NewJob, project: Project) -> list[str]:
    """The rows of a stored configuration that are asked for and exist (RW-6)."""
    wanted = {scalar_text(row) for row in job.rows if not isinstance(row, Mapping | list)}
    return [row_id for row_id, _ in project.entry(job.component, job.config).rows if row_id in wanted]


def conf_of_job(
    job: NewJob, caller: Caller, project: Project, settings: Settings, *, target: str, before: Sequence[DagRun]
) -> dict[str, Any]:
    """What the DAG run of a job is asked with; its secrets are ciphers (EN-13).

    Args:
        job: the job.
        caller: who starts it; their Storage token goes with it.
        project: with the job's branch.
        settings: of this installation.
        target: the DAG that it runs as.
        before: runs that it waits for.
    """
    is_own = target != JOBS_DAG
    after = {} if is_own or not before else {AFTER: [[run.dag_id, run.run_id] for run in before]}
    asked = {
        **job.asked,
        "mode": job.mode,
        "rows": known_rows(job, project) if is_own and job.rows else list(job.rows),
        "parent_run_id": job.parent,
        "api": {**job.api, **after},
        **_sealed(job, caller, project, settings),
    }
    asked = {name: value for name, value in asked.items() if value not in ("", [], {}, None)}
    return asked if is_own else conf_of(job.component, job.config, job.branch, asked)


def _sealed(job: NewJob, caller: Caller, project: Project, settings: Settings) -> dict[str, Any]:
    """What came with the job and may be secret, and the caller's token, readable by the job's component only."""
    if is_flow(job.component):
        return {}
    given = {"config_data": dict(job.config_data), "variables": dict(job.asked.get("variables") or {})}
    if caller.presented is None and not any(True for _ in walk_secrets(given)):
        return given
    encryptor = airflow_encryptor(settings)
    scope = Scope(job.component, project.id)
    sealed: dict[str, Any] = encryptor.encrypt(given, scope)
    if caller.presented:
        sealed["storage_token"] = encryptor.encrypt_value(caller.presented.secret, scope)
    return sealed
