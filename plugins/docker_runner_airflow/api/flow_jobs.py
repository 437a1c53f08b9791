"""Jobs of orchestrations and flows: they start what they name, and take nothing but themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker_runner.project.entries import FLOW_COMPONENTS
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.turns import STORING

if TYPE_CHECKING:
    from docker_runner.project.configuration import Project
    from docker_runner_airflow.api.callers import Caller
    from docker_runner_airflow.api.new_jobs import NewJob


def is_flow(component_id: str) -> bool:
    """Whether the configurations of a component are flows."""
    return component_id in FLOW_COMPONENTS


def refuse_what_no_flow_takes(job: NewJob, caller: Caller, project: Project) -> None:
    """Refuse what would be left out without a word.

    Raises:
        ApiError: 400, there is no such flow here, or more is asked for; 403, the permissions of a token would
            not count: what a flow starts has those of the installation.
    """
    title = f"{job.component}/{job.config}".rstrip("/")
    if (job.component, job.config) not in project.flows() or job.branch:
        raise ApiError(400, f"There is no flow {title} among those that this Airflow runs (config names one).")
    more = {"configData": job.config_data, "rows": job.rows, **job.asked}
    given = [name for name, value in more.items() if value]
    if given or job.mode not in STORING:
        raise ApiError(400, f"The flow {title} is run as it is stored: leave out {', '.join(given) or 'the mode'}.")
    if caller.token and not caller.token.permissions.can_manage:
        raise ApiError(
            403,
            f"The jobs of the flow {title} have the permissions of this installation: only a Storage token that may "
            "manage, or an Airflow user, can start it.",
        )
