"""A whole run in one task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from docker_runner.errors import RunnerError
from docker_runner.job.merged import MergedRun
from docker_runner_airflow.operators import resolved_job
from docker_runner_airflow.runner_operator import RunnerOperator

RUN_JOB = "run_job"
DONE = "done"
"""The XCom of what a run that failed had done before."""


class MergedOperator(RunnerOperator):
    """All steps of a configuration, one after the other, in this task.

    Args:
        component_id: its component.
        config_id: the configuration; may be empty when ``asked`` brings one.
        branch: folder of the branch.
        asked: what is asked for; by default the values of the trigger form.
    """

    def __init__(
        self,
        *,
        component_id: str,
        config_id: str,
        branch: str,
        task_id: str = RUN_JOB,
        asked: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(task_id=task_id, **kwargs)
        self.component_id = component_id
        self.config_id = config_id
        self.branch = branch
        self.asked = asked

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an earlier attempt has not done."""
        ti, tools = context["ti"], self.tools()
        resolve = partial(resolved_job, context, tools, job_id=self.job_id(context), **self.what(context))
        is_last = ti.try_number > ti.max_tries
        run = MergedRun(resolve, self.workspace(context), tools, self.following, is_last)
        try:
            return run.run()
        except (RunnerError, OSError):
            # The rows before the one that failed have stored their results: whoever asks for the job is told.
            if run.manifests:
                ti.xcom_push(key=DONE, value=run.manifests)
            raise

    def what(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """What is run, and how, as :func:`docker_runner_airflow.operators.resolved_job` takes it."""
        return {
            "component_id": self.component_id,
            "config_id": self.config_id,
            "branch": self.branch,
            "asked": context["params"] if self.asked is None else self.asked,
        }

    def written(self, manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The tables of all rows."""
        unloaded = (step for name, step in manifest.items() if name.split(".")[-1] == "unload_output")
        return [table for step in unloaded for table in step["tables"]]

    def job_id(self, context: Mapping[str, Any]) -> str:
        """Several tasks of one DAG run may be runs of their own."""
        own = "" if self.asked is None else f"/{self.task_id}"
        return f"{super().job_id(context)}{own}"

    @property
    def stopped_row(self) -> None:
        """All rows are this task's."""

    def stop(self) -> None:
        """Nobody else cleans up: with the containers go the folders."""
        from docker_runner.job.steps import clean_up
        from docker_runner.job.workspace import Workspace

        tools = self.tools()
        clean_up(Workspace(tools.settings.workspaces, self._job_id), tools, problem="The task was stopped.")

    def trigger_options(self) -> dict[str, Any]:
        """Whoever cancels the task while the triggerer waits ends the run."""
        return {"whole_run": True}
