"""What every task of a run shares: what it needs, how it fails, and how it leaves a container that runs long."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

from docker_runner.errors import RunnerError, UserError
from docker_runner.job.supervision import TO_THE_END, Following, StillRunningError
from docker_runner.settings import Settings
from docker_runner_airflow import api_server
from docker_runner_airflow.assets import tell_written
from docker_runner_airflow.retries import RetryWhatMayPass, StepFailed
from docker_runner_airflow.tools import airflow_tools

if TYPE_CHECKING:
    from docker_runner.job.tools import Tools
    from docker_runner.job.workspace import Workspace

# Not Airflow's own logger: whoever reads a log can tell the runner's and the component's lines from Airflow's.
LOG = logging.getLogger("docker_runner")
RETRY_POLICY = RetryWhatMayPass()
"""Of every task of a configuration; stands in the default arguments of its DAG."""


class RunnerOperator(BaseOperator):
    """A task that does a part of a run: what it needs, how it fails, and how it leaves a container that runs long."""

    may_defer = True
    following = TO_THE_END
    row_id = ""
    _job_id = ""

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The work itself; gives its manifest."""
        raise NotImplementedError

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Do the work; a failure becomes one message and a decision about another try."""
        return self._do(context, self._following(context))

    def begin(self, context: Mapping[str, Any], event: Any = None) -> dict[str, Any]:
        """Begin anew: a run that this one waited for has ended."""
        del event
        return self.execute(context)

    def resume(self, context: Mapping[str, Any], event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Go on when the triggerer has seen the end of the container, or can follow it no more."""
        told = event or {}
        following = replace(
            self._following(context),
            resumed=True,
            watched=bool(told.get("watched")),
            problem=str(told.get("problem") or ""),
        )
        return self._do(context, following)

    def _following(self, context: Mapping[str, Any]) -> Following:
        after = Settings.from_environment().defer_after if self.may_defer else None
        return Following(
            series=_series(context),
            leave_after=after,
            may_leave=api_server.triggerer_runs,
            # Of this process: another one of the same task, or of its next attempt, is another follower.
            attempt=uuid.uuid4().hex,
        )

    def _do(self, context: Mapping[str, Any], following: Following) -> dict[str, Any]:
        self._job_id = self.job_id(context)
        self.following = following
        try:
            manifest = self.work(context)
        except StillRunningError as left:
            self._leave(left, context)
        except RunnerError as error:
            LOG.error("%s", error)
            if usage := getattr(error, "usage", None):
                # What a component that failed has used counts all the same (US-2).
                context["ti"].xcom_push(key="usage", value=usage)
            raise StepFailed(str(error), can_be_repeated=not isinstance(error, UserError)) from None
        except OSError as error:
            LOG.error("%s", error)
            raise StepFailed(str(error), can_be_repeated=True) from None
        if self.outlets:
            tell_written(self.written(manifest), self, context)
        return manifest

    def _leave(self, left: StillRunningError, context: Mapping[str, Any]) -> NoReturn:
        from docker_runner_airflow.triggers import ContainerTrigger

        if not _is_wanted(context):
            # Stopped since its last heartbeat: no triggerer would be given the container, and nobody would stop it.
            self.on_kill()
        LOG.info("Leaving the container to the triggerer; the worker is free.")
        trigger = ContainerTrigger(
            job_id=self._job_id,
            row_id=left.row_id or self.row_id,
            position=left.position,
            container_id=left.container_id,
            **self.trigger_options(),
        )
        raise TaskDeferred(trigger=trigger, method_name=self.resume.__name__) from None

    def written(self, manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The tables that a manifest tells to be stored."""
        return list(manifest.get("tables") or [])

    def trigger_options(self) -> dict[str, Any]:
        """What else the trigger must know."""
        return {}

    def on_kill(self) -> NoReturn:
        """Stop the task's containers when somebody stops the task, and end the task.

        Airflow only calls this and lets the task go on; without an end of its own it could start a container after
        everything was cleaned up. It calls this also when it has lost its own server: then nobody has cancelled
        anything, and the container runs on for the next attempt.
        """
        try:
            if self.may_defer and self._job_id:
                if not api_server.answers():
                    LOG.warning("Airflow's API server does not answer: the container runs on for the next attempt.")
                elif self._has_been_followed():
                    LOG.warning("Another attempt follows the container by now: it runs on.")
                else:
                    self.stop()
        finally:
            raise StepFailed("The task was stopped.", can_be_repeated=True)

    def _has_been_followed(self) -> bool:
        """Whether this attempt was suspended so long that another one has taken its place."""
        from docker_runner.job.supervision import has_been_followed
        from docker_runner.job.workspace import Workspace

        workspace = Workspace(Settings.from_environment().workspaces, self._job_id)
        return has_been_followed(workspace, self.following.attempt, row_id=self.stopped_row)

    @property
    def stopped_row(self) -> str | None:
        """The row whose containers are this task's; None when all of the run are."""
        return self.row_id

    def stop(self) -> None:
        """Stop the containers."""
        from docker_runner.job.steps import stop_containers

        stop_containers(self._job_id, self.tools(), row_id=self.row_id)

    def tools(self) -> Tools:
        """Storage, engine and keys of this worker; logs go to the task's log."""
        return airflow_tools(Settings.from_environment(), log=LOG)

    def job_id(self, context: Mapping[str, Any]) -> str:
        """Identity of the run in names of folders and containers."""
        return job_id(context)

    def workspace(self, context: Mapping[str, Any]) -> Workspace:
        """The folders of this run."""
        from docker_runner.job.workspace import Workspace

        return Workspace(Settings.from_environment().workspaces, self.job_id(context))


def job_id(context: Mapping[str, Any]) -> str:
    """Identity of a DAG run in names of folders and containers."""
    return f"{context['ti'].dag_id}/{context['run_id']}"


def _series(context: Mapping[str, Any]) -> str:
    """Identity of a first attempt and its retries: whoever clears a task moves the limit of its attempts."""
    return f"tries-{context['ti'].max_tries}"


def _is_wanted(context: Mapping[str, Any]) -> bool:
    """Whether nobody has stopped the task; a task learns of that by itself with its next heartbeat only."""
    return task_states(context).get(context["ti"].task_id, "running") == "running"


def task_states(context: Mapping[str, Any]) -> dict[str, str]:
    """The states of all tasks of a DAG run, by their ids."""
    ti = context["ti"]
    states: dict[str, Any] = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
    return {name: str(state) for name, state in states.items()}
