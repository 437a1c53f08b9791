"""Stops jobs with all that is a part of them: what callers have started as one, and runs of flows (LC-85, LC-86)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docker_runner_airflow.api.beginnings import Beginning
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.job_parts import MOST_PARTS, Part, may_be_flow, parts_of, started_by_flow
from docker_runner_airflow.api.left_behind import LeftBehind
from docker_runner_airflow.api.stopping import locked_run, stop_run

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

    from docker_runner.settings import Settings
    from docker_runner_airflow.api.callers import Caller
    from docker_runner_airflow.api.own_dags import OwnDags

LOG = logging.getLogger("docker_runner.api")
# Until the task of a flow that was stopped while it started a run is gone.
_LOOKS_AGAIN_AFTER_SECONDS = 10.0


def terminate(dag_run_id: int, *, caller: Caller, dags: OwnDags, settings: Settings) -> None:
    """Stop a job, then those that are a part of it.

    What a flow has started is stopped by whoever may stop the flow, as it was started by whoever may start that. Every
    other part is stopped if the caller may stop it by itself.

    Args:
        dag_run_id: number of its DAG run, which the caller may see.
        caller: who wants it.
        dags: the DAGs whose runs are jobs.
        settings: of this installation.

    Raises:
        ApiError: 400, it has ended, is being stopped, or has done its work and only cleans up; also for a token that
            may only read; 403, the caller may not stop it; 409, Airflow does not know its DAG any more.
    """
    stopping = _Stopping(caller.name, settings, parts=lambda session, run: parts_of(session, run, dags))
    with locked_run(dag_run_id) as (session, run):
        _refuse_forbidden(run, caller)
        left = stopping.stop(session, run)
    stopping.stop_parts(left, may_stop=lambda run: _may_stop(run, caller))
    for job in stopping.behind:
        job.stop_soon(settings)
    stopping.look_again()


def stop_what_flow_started(flow: Beginning, settings: Settings) -> None:
    """Stop the runs that a flow has started whose run somebody has marked failed in Airflow.

    Args:
        flow: the beginning of the flow's run that has ended.
        settings: of this installation.
    """
    stopping = _Stopping(f"Marking {flow.dag_id} failed", settings, parts=started_by_flow, flows=[flow])
    stopping.stop_started()
    stopping.look_again()


@dataclass
class _Stopping:
    """Stops jobs and remembers what is to be looked at once more.

    Attributes:
        who: wants it.
        settings: of this installation.
        parts: finds the parts of a job.
        flows: flows that were stopped.
        behind: jobs whose container may have nobody who stops it.
    """

    who: str
    settings: Settings
    parts: Callable[[Session, DagRun], list[Part]]
    flows: list[Beginning] = field(default_factory=list)
    behind: list[LeftBehind] = field(default_factory=list)

    def stop(self, session: Session, run: DagRun) -> list[Part]:
        """Stop a job; gives its parts."""
        left = self.parts(session, run)
        behind = stop_run(session, run, self.who)
        if behind:
            self.behind.append(behind)
        if may_be_flow(run.dag_id):
            self.flows.append(Beginning.of(run))
        return left

    def stop_parts(self, left: Sequence[Part], may_stop: Callable[[DagRun], bool] = lambda _: False) -> None:
        """Stop parts of jobs with their parts.

        Args:
            left: the parts.
            may_stop: whether one that no flow has started may be stopped.
        """
        parts, seen = list(left), set[int]()
        while parts and len(seen) < MOST_PARTS:
            part = parts.pop()
            if part.dag_run_id in seen:
                continue
            seen.add(part.dag_run_id)
            # One that has ended meanwhile is no reason to leave the others.
            with suppress(ApiError), locked_run(part.dag_run_id) as (session, run):
                if part.of_flow or may_stop(run):
                    parts += self.parts(session, run)
                    self.stop(session, run)
                else:
                    # What its flow has started is then not to be stopped with it either.
                    parts += [Part(other.dag_run_id, of_flow=False) for other in self.parts(session, run)]

    def stop_started(self) -> None:
        """Stop what the stopped flows have started, unless somebody has begun them anew; trouble is told in the log."""
        from airflow.utils.session import create_session
        from sqlalchemy.exc import SQLAlchemyError

        left: list[Part] = []
        try:
            with create_session(scoped=False) as session:
                for flow in self.flows:
                    if run := flow.ended_run(session):
                        left += started_by_flow(session, run)
            self.stop_parts(left)
        except SQLAlchemyError as error:
            names = ", ".join(flow.run_id for flow in self.flows)
            LOG.warning("Not all runs that the stopped flows %s have started could be stopped: %s", names, error)
        for job in self.behind:
            job.stop_soon(self.settings)

    def look_again(self) -> None:
        """Stop in a while, in a thread of its own, what flows have started at the moment in which they were stopped."""
        if self.flows:
            later = _Stopping(self.who, self.settings, parts=started_by_flow, flows=[*self.flows])
            timer = threading.Timer(_LOOKS_AGAIN_AFTER_SECONDS, later.stop_started)
            timer.daemon = True
            timer.start()


def _may_stop(run: DagRun, caller: Caller) -> bool:
    try:
        _refuse_forbidden(run, caller)
    except ApiError:
        return False
    return True


def _refuse_forbidden(run: DagRun, caller: Caller) -> None:
    if caller.token:
        caller.refuse_if_read_only()
    elif not caller.may(run.dag_id, "PUT", of_run=True):
        raise ApiError(403, f"You may not change runs of the DAG {run.dag_id}: ask for this permission in Airflow.")
