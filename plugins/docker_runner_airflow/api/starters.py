"""Who has started a job: the holder of a Storage token, or somebody whom Airflow knows.

Airflow keeps one name with each run. Those of tokens are ``storage-token-…``, and a user of Airflow may be called like
that. The two are told apart all the same: the API never gives such a name for a user, and a run counts for a token only
if it has an id of those that the API makes, which Airflow gives to none that was started in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker_runner_airflow.api.job_ids import PREFIX, is_of_api

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

_TOKEN = "storage-token-"  # noqa: S105 - the beginning of a name


def name_of_token(token_id: int) -> str:
    """What Airflow shows as who started the jobs of a Storage token."""
    return f"{_TOKEN}{token_id}"


def name_of_user(name: str) -> str:
    """What Airflow shows as who started the jobs of a user: the user's name, unless it could be that of a token."""
    return f"user {name}" if name.startswith(_TOKEN) else name


def token_id_of(run: Any) -> str:
    """The id of the Storage token that a run was started with; empty when it was started otherwise."""
    name = run.triggering_user_name or ""
    number = name.removeprefix(_TOKEN)
    return number if number != name and number.isdecimal() and is_of_api(run.run_id) else ""


def started_with(token_id: int) -> ColumnElement[bool]:
    """The condition that a run was started with a Storage token."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import and_

    return and_(DagRun.triggering_user_name == name_of_token(token_id), DagRun.run_id.startswith(PREFIX))
