"""What nobody else stops when a job is terminated.

A worker stops the container that it follows, and so does a triggerer. In between, when the task has left its container
and no triggerer has taken it up yet, nobody follows it, and Airflow cancels the task without a word to anybody. So it
is when a worker leaves its container before the heartbeat with which it would hear of it. And the container of a worker
that died waits for the next attempt, which never comes.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from docker_runner.errors import RunnerError
from docker_runner_airflow.api.beginnings import Beginning
from docker_runner_airflow.job_operator import JobOperator
from docker_runner_airflow.merged_operator import RUN_JOB, MergedOperator
from docker_runner_airflow.tools import airflow_tools

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

    from docker_runner.settings import Settings

LOG = logging.getLogger("docker_runner.api")

_IN_ONE_TASK = (MergedOperator.__name__, JobOperator.__name__)
# Until whoever follows the container has stopped it.
_SECONDS = 10.0


@dataclass(frozen=True)
class LeftBehind:
    """A terminated job whose container may have nobody who stops it; those of several tasks have one that cleans up.

    Attributes:
        beginning: of the run that was terminated.
        jobs: what is run in one task is called this in names of folders and containers.
    """

    beginning: Beginning
    jobs: tuple[str, ...]

    @classmethod
    def of(cls, session: Session, run: DagRun) -> LeftBehind | None:
        """What may be left of a run that is about to be terminated; None when it has begun nothing, or cleans up."""
        from airflow.models import TaskInstance
        from airflow.utils.state import State
        from sqlalchemy import or_, select

        begun = session.scalars(
            select(TaskInstance.task_id).where(
                TaskInstance.dag_id == run.dag_id,
                TaskInstance.run_id == run.run_id,
                TaskInstance.operator.in_(_IN_ONE_TASK),
                TaskInstance.try_number > 0,
                or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(State.finished)),
            )
        )
        whole = f"{run.dag_id}/{run.run_id}"
        jobs = tuple(sorted(whole if task_id == RUN_JOB else f"{whole}/{task_id}" for task_id in begun))
        return cls(Beginning.of(run), jobs) if jobs else None

    def stop_soon(self, settings: Settings) -> None:
        """Stop and remove in a while, in a thread of its own, what is there then."""
        timer = threading.Timer(_SECONDS, self.stop, (settings,))
        timer.daemon = True
        timer.start()

    def stop(self, settings: Settings) -> None:
        """Stop and remove what is there, unless somebody has begun the run anew; trouble is told in the log."""
        from airflow.utils.session import create_session
        from sqlalchemy.exc import SQLAlchemyError

        from docker_runner.job.steps import clean_up
        from docker_runner.job.workspace import Workspace

        tools = airflow_tools(settings, log=LOG)
        try:
            with create_session(scoped=False) as session:
                if not self.beginning.ended_run(session):
                    return
            for job in self.jobs:
                clean_up(Workspace(settings.workspaces, job), tools, problem="The job was terminated.")
        except (RunnerError, OSError, SQLAlchemyError) as error:
            name = self.beginning.run_id
            LOG.warning("What the terminated job %s has left is housekeeping's to remove: %s", name, error)
        finally:
            tools.close()
