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
from docker_runner_airflow.merged_operator import RUN_JOB
from docker_runner_airflow.tools import airflow_tools

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

    from docker_runner.settings import Settings

LOG = logging.getLogger("docker_runner.api")

# Until whoever follows the container has stopped it.
_SECONDS = 10.0


@dataclass(frozen=True)
class LeftBehind:
    """A terminated job whose container may have nobody who stops it; those of several tasks have one that cleans up.

    Attributes:
        clear_number: of the beginning of its run that was terminated.
    """

    dag_id: str
    run_id: str
    clear_number: int

    @classmethod
    def of(cls, session: Session, run: DagRun) -> LeftBehind | None:
        """What may be left of a run that is about to be terminated; None when it has begun nothing, or cleans up."""
        from airflow.models import TaskInstance
        from airflow.utils.state import State
        from sqlalchemy import or_, select

        begun = select(TaskInstance.id).where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.task_id == RUN_JOB,
            TaskInstance.try_number > 0,
            or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(State.finished)),
        )
        return cls(run.dag_id, run.run_id, run.clear_number) if session.scalar(begun) else None

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

        workspace = Workspace(settings.workspaces, f"{self.dag_id}/{self.run_id}")
        tools = airflow_tools(settings, log=LOG)
        try:
            with create_session(scoped=False) as session:
                if not self.is_over(session):
                    return
            clean_up(workspace, tools, problem="The job was terminated.")
        except (RunnerError, OSError, SQLAlchemyError) as error:
            LOG.warning("What the terminated job %s has left is housekeeping's to remove: %s", self.run_id, error)
        finally:
            tools.close()

    def is_over(self, session: Session) -> bool:
        """Whether nobody has begun its run anew."""
        from airflow.models import DagRun
        from airflow.utils.state import State
        from sqlalchemy import select

        wanted = select(DagRun.state, DagRun.clear_number).where(
            DagRun.dag_id == self.dag_id, DagRun.run_id == self.run_id
        )
        found = session.execute(wanted).one_or_none()
        return found is not None and found[0] in State.finished_dr_states and found[1] == self.clear_number
