"""Stops what a flow has started when somebody marks its run failed in Airflow's UI, or by Airflow's own API."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from docker_runner_airflow.api.beginnings import Beginning
from docker_runner_airflow.api.job_documents import status_of_run
from docker_runner_airflow.api.job_parts import may_be_flow
from docker_runner_airflow.api.job_status import ASKED_TO_END
from docker_runner_airflow.api.terminating import stop_what_flow_started

if TYPE_CHECKING:
    from airflow.models import DagRun

    from docker_runner.settings import Settings


def stop_with_flow(run: DagRun, settings: Settings) -> None:
    """Stop what the run of a flow has started, as soon as its own end is stored.

    Args:
        run: it is being marked failed, in the session of a request.
        settings: of this installation.
    """
    from sqlalchemy import event
    from sqlalchemy.orm import object_session

    session = object_session(run)
    if session is None or not may_be_flow(run.dag_id) or _is_terminated(run):
        return
    flow = Beginning.of(run)

    def begin(_session: object) -> None:
        # A session that is being committed can do no more, and the request is not to wait.
        threading.Thread(
            target=stop_what_flow_started, args=(flow,), kwargs={"settings": settings}, daemon=True
        ).start()

    event.listen(session, "after_commit", begin, once=True)


def _is_terminated(run: DagRun) -> bool:
    """Whether this is the work of ``POST /jobs/{id}/terminate``, which stops the parts itself."""
    return status_of_run(run) in ASKED_TO_END
