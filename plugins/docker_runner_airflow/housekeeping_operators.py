"""The two tasks of the housekeeping DAG."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

LOG = logging.getLogger("docker_runner")


def is_alive(job_id: str, *, ti: Any) -> bool | None:
    """Whether a DAG run is at work; None for runs that are not Airflow's.

    Args:
        job_id: identity of a run, see ``operators.job_id``.
        ti: the task that asks.
    """
    dag_id, *run = job_id.split("/")
    if not run:
        return None
    # What comes after the run's id, if anything, is a task of it.
    return bool(ti.get_dr_count(dag_id=dag_id, run_ids=run[:1], states=["queued", "running"]))


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


class CleanOperator(BaseOperator):
    """Removes what runs left that have ended."""

    def execute(self, context: Mapping[str, Any]) -> str:
        """Clean; gives what was removed."""
        with _told_once():
            text = clean_up_runs(context)
        LOG.info("%s", text)
        return text


class MaintainStorageOperator(BaseOperator):
    """Merges small files of the Storage, and forgets what is not needed any more."""

    def execute(self, context: Mapping[str, Any]) -> None:
        """Maintain it, unless nothing is to be removed."""
        from docker_runner.storage_commands import maintain_lake

        if not context["params"]["dry_run"]:
            with _told_once():
                LOG.info("%s", maintain_lake(keep_days=context["params"]["keep_days"]))


@contextmanager
def _told_once() -> Iterator[None]:
    """A failure becomes one message, without a traceback; it is tried again, unless somebody must mend something."""
    from docker_runner.errors import RunnerError, UserError
    from docker_runner_airflow.retries import StepFailed

    try:
        yield
    except (RunnerError, OSError) as error:
        LOG.error("%s", error)
        raise StepFailed(str(error), can_be_repeated=not isinstance(error, UserError)) from None
