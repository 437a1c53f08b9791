"""Ids of jobs: how those that the API starts are called, and which DAG run a job is."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

from docker_runner.settings import Settings
from docker_runner_airflow.api.own_dags import OwnDags

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

PREFIX = "api-"
"""How ids of runs begin that the API starts."""
# Base 32 without letters that look like others; in the order of their values, so that later ids sort behind.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_BITS, _TIME_DIGITS, _RANDOM_DIGITS = 5, 10, 16
_OWN = re.compile(rf"{PREFIX}[{_DIGITS}]{{{_TIME_DIGITS + _RANDOM_DIGITS}}}")
_LARGEST_ROW = 2**31 - 1


def new_run_id() -> str:
    """An id for a run that the API starts: its time in milliseconds, then 80 bits by chance."""
    milliseconds = time.time_ns() // 1_000_000
    return PREFIX + _written(milliseconds, _TIME_DIGITS) + _written(secrets.randbits(80), _RANDOM_DIGITS)


def _written(number: int, digits: int) -> str:
    mask = 2**_BITS - 1
    return "".join(_DIGITS[number >> (_BITS * place) & mask] for place in reversed(range(digits)))


def is_of_api(run_id: str) -> bool:
    """Whether a run has an id of those that the API makes."""
    return bool(_OWN.fullmatch(run_id))


def job_id_of(dag_run: DagRun) -> str:
    """The job id of a DAG run: its own id when the API has started it, else its number (LC-86)."""
    return dag_run.run_id if is_of_api(dag_run.run_id) else str(dag_run.id)


def find_run(session: Session, job_id: str, settings: Settings | None = None) -> DagRun | None:
    """The DAG run of a job; None when there is none among those that run configurations, or not exactly one.

    Args:
        session: of Airflow's database.
        job_id: see :func:`job_id_of`.
        settings: have the project; the environment's by default.
    """
    from airflow.models import DagRun
    from sqlalchemy import select

    if is_of_api(job_id):
        wanted = DagRun.run_id == job_id
    elif re.fullmatch(r"[1-9][0-9]{0,9}", job_id) and int(job_id) <= _LARGEST_ROW:
        wanted = DagRun.id == int(job_id)
    else:
        return None
    found = session.scalars(select(DagRun).where(wanted).limit(10)).all()
    settings = settings or Settings.from_environment()
    ours = [
        run for run in found if job_id_of(run) == job_id and run.dag_id in OwnDags.knowing(settings, run.dag_id).ids
    ]
    return ours[0] if len(ours) == 1 else None
