"""The tasks of a flow: one that runs the DAG of a configuration and waits for it, and the gate behind a phase."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, TriggerRule
from airflow.sdk.exceptions import DagRunTriggerException, TaskDeferred

from docker_runner_airflow.api_server import triggerer_runs
from docker_runner_airflow.retries import RetryWhatMayPass, StepFailed
from docker_runner_airflow.runner_operator import task_states

LOG = logging.getLogger("docker_runner")
_LOOK_SECONDS = 5
_LONGEST_RUN_ID = 200


class RunConfigurationOperator(BaseOperator):
    """Runs the DAG of a configuration, and waits for it in the triggerer.

    The run's id is told by the flow's run: an attempt whose predecessor was killed finds the run that was started, and
    starts none beside it.

    Args:
        target: id of the DAG.
        asked: what its run is asked with.
    """

    def __init__(self, *, target: str, asked: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(retry_policy=RetryWhatMayPass(backs_off=False), **kwargs)
        self.target = target
        self.asked = asked

    def execute(self, context: Mapping[str, Any]) -> None:
        """Start the run, or find it."""
        ti = context["ti"]
        run_id = self._run_id(context)
        known = self._state(ti, run_id)
        if known is None:
            self._refuse_paused(ti)
        if known == "success":
            LOG.info("The run %s of %s has ended well meanwhile.", run_id, self.target)
            return
        if known in ("queued", "running"):
            LOG.info("Found the run %s of %s; waiting for it.", run_id, self.target)
            self._wait(run_id)
        raise DagRunTriggerException(
            trigger_dag_id=self.target,
            dag_run_id=run_id,
            conf={**self.asked, "orchestration_id": f"{ti.dag_id}/{ti.run_id}"},
            run_after=datetime.now(UTC),
            # One that failed is repeated as it is: the flow asks for another try.
            reset_dag_run=known is not None,
            skip_when_already_exists=False,
            wait_for_completion=True,
            allowed_states=["success"],
            failed_states=["failed"],
            poke_interval=_LOOK_SECONDS,
            deferrable=triggerer_runs(),
        )

    def execute_complete(self, context: Mapping[str, Any], event: tuple[str, Mapping[str, Any]]) -> None:
        """The run has ended: take its verdict."""
        run_id = self._run_id(context)
        state = event[1].get(run_id)
        if state != "success":
            message = f"The run {run_id} of {self.target} {'failed' if state == 'failed' else f'is {state}'}."
            LOG.error("%s See its own tasks for what happened.", message)
            raise StepFailed(message, can_be_repeated=True)
        LOG.info("The run %s of %s has ended well.", run_id, self.target)

    def _run_id(self, context: Mapping[str, Any]) -> str:
        """Another one when a person clears the task: then everything runs anew."""
        ti = context["ti"]
        own = f"{ti.dag_id}--{ti.run_id}--{ti.task_id}"
        if self.retries is not None and ti.max_tries > self.retries:
            own = f"{own}--{ti.max_tries - self.retries}"
        if len(own) > _LONGEST_RUN_ID:
            own = f"{own[: _LONGEST_RUN_ID - 20]}--{sha256(own.encode()).hexdigest()[:16]}"
        return own

    def _state(self, ti: Any, run_id: str) -> str | None:
        """State of the run; None when there is none yet."""
        if not ti.get_dr_count(dag_id=self.target, run_ids=[run_id]):
            return None
        return str(ti.get_dagrun_state(self.target, run_id))

    def _refuse_paused(self, ti: Any) -> None:
        """A run of a DAG that is paused would wait for ever."""
        try:
            is_paused = ti.get_dag(self.target).is_paused
        except Exception as error:
            self._fail(f"Airflow knows no DAG {self.target} (yet): {error}", can_be_repeated=True)
        if is_paused:
            self._fail(
                f"The DAG {self.target} is paused, so its run would never begin: switch it on in the UI. When only "
                "flows are to run the configuration, disable its own schedule or trigger.",
                can_be_repeated=False,
            )

    def _fail(self, message: str, *, can_be_repeated: bool) -> NoReturn:
        LOG.error("%s", message)
        raise StepFailed(message, can_be_repeated=can_be_repeated)

    def _wait(self, run_id: str) -> NoReturn:
        from airflow.providers.standard.triggers.external_task import DagStateTrigger
        from airflow.utils.state import DagRunState

        trigger = DagStateTrigger(
            dag_id=self.target,
            run_ids=[run_id],
            states=[DagRunState.SUCCESS, DagRunState.FAILED],
            poll_interval=_LOOK_SECONDS,
        )
        raise TaskDeferred(trigger=trigger, method_name=self.execute_complete.__name__)


class GateOperator(BaseOperator):
    """Opens when every task of its phase has ended well, or has failed and may do so.

    Args:
        may_fail: ids of the tasks that may.
    """

    def __init__(self, *, may_fail: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(trigger_rule=TriggerRule.ALL_DONE, do_xcom_push=False, **kwargs)
        self.may_fail = may_fail

    def execute(self, context: Mapping[str, Any]) -> None:
        """Look at the tasks before it."""
        states = task_states(context)
        ended = {task_id: states.get(task_id) for task_id in self.upstream_task_ids}
        bad = sorted(task for task, state in ended.items() if state != "success")
        stopping = [task for task in bad if task not in self.may_fail or ended[task] != "failed"]
        if stopping:
            message = f"The phase failed: see {', '.join(stopping)}."
            LOG.error(message)
            raise StepFailed(message, can_be_repeated=False)
        if bad:
            LOG.warning("Going on although these failed: %s.", ", ".join(bad))
