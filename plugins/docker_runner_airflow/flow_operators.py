"""The tasks of a flow: one that runs the DAG of a configuration and waits for it, and the gate behind a phase."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NoReturn

from airflow.sdk import BaseOperator, TriggerRule
from airflow.sdk.exceptions import ErrorType, TaskDeferred

from docker_runner_airflow.api_server import triggerer_runs
from docker_runner_airflow.retries import StepFailed
from docker_runner_airflow.runner_operator import task_states

LOG = logging.getLogger("docker_runner")
_LOOK_SECONDS = 5
_LONGEST_RUN_ID = 200
_UNDER_WAY = ("queued", "running")


class RunConfigurationOperator(BaseOperator):
    """Runs the DAG of a configuration, and waits for it in the triggerer.

    The run's id is told by the flow's run: an attempt whose predecessor was killed finds the run that was started, and
    starts none beside it. So such attempts are no repetitions: how many runs have failed tells whether another one may
    follow.

    Args:
        target: id of the DAG.
        asked: what its run is asked with.
        repeats: how many runs may follow a first one that failed, each with an id of its own.
    """

    def __init__(self, *, target: str, asked: Mapping[str, Any], repeats: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.asked = asked
        self.repeats = repeats

    def execute(self, context: Mapping[str, Any]) -> None:
        """Start the run, or find it, and wait for it."""
        ti = context["ti"]
        run_id, state = self._last_run(context)
        if state is None:
            self._refuse_paused(ti)
            self._start(context, run_id)
            LOG.info("Started the run %s of %s.", run_id, self.target)
            state = "queued"
        else:
            LOG.info("Found the run %s of %s: it is %s.", run_id, self.target, state)
        if state in _UNDER_WAY and triggerer_runs():
            self._leave(run_id)
        while state in _UNDER_WAY:
            time.sleep(_LOOK_SECONDS)
            state = _name(ti.get_dagrun_state(self.target, run_id))
        self._take(context, run_id, state)

    def execute_complete(self, context: Mapping[str, Any], event: tuple[str, Mapping[str, Any]], run_id: str) -> None:
        """The run has ended: take its verdict."""
        self._take(context, run_id, _name(event[1].get(run_id)))

    def _take(self, context: Mapping[str, Any], run_id: str, state: str) -> None:
        if state != "success":
            what = "failed" if state == "failed" else f"is {state}"
            message = f"The run {run_id} of {self.target} {what}. See its own tasks for what happened."
            self._fail(message, can_be_repeated=run_id != self._run_id(context, self.repeats))
        LOG.info("The run %s of %s has ended well.", run_id, self.target)

    def _last_run(self, context: Mapping[str, Any]) -> tuple[str, str | None]:
        """The first run that has not failed, and its state, which is None when it is still to be started.

        When all that may be have failed, the last one of them.
        """
        for number in range(self.repeats + 1):
            run_id = self._run_id(context, number)
            state = self._state(context["ti"], run_id)
            if state != "failed":
                break
        return run_id, state

    def _run_id(self, context: Mapping[str, Any], number: int) -> str:
        """Id of the run after a number of runs that failed; another one when a person clears the task.

        Then everything runs anew.
        """
        ti = context["ti"]
        own = f"{ti.dag_id}--{ti.run_id}--{ti.task_id}"
        if self.retries is not None and ti.max_tries > self.retries:
            own = f"{own}--{ti.max_tries - self.retries}"
        if number:
            own = f"{own}--again-{number}"
        if len(own) > _LONGEST_RUN_ID:
            own = f"{own[: _LONGEST_RUN_ID - 20]}--{sha256(own.encode()).hexdigest()[:16]}"
        return own

    def _state(self, ti: Any, run_id: str) -> str | None:
        """State of the run; None when there is none yet."""
        if not ti.get_dr_count(dag_id=self.target, run_ids=[run_id]):
            return None
        return _name(ti.get_dagrun_state(self.target, run_id))

    def _start(self, context: Mapping[str, Any], run_id: str) -> None:
        """Start the run.

        Not by Airflow's exception for this: when the answer to a first request was lost and the run is there already,
        that fails the task for good.
        """
        from airflow.sdk.execution_time import comms, task_runner

        ti = context["ti"]
        answer = task_runner.SUPERVISOR_COMMS.send(
            comms.TriggerDagRun(
                dag_id=self.target,
                run_id=run_id,
                conf={**self.asked, "orchestration_id": f"{ti.dag_id}/{ti.run_id}"},
                run_after=datetime.now(UTC),
            )
        )
        if not isinstance(answer, comms.ErrorResponse):
            return
        if answer.error is not ErrorType.DAGRUN_ALREADY_EXISTS:
            message = f"The run {run_id} of {self.target} cannot be started: {answer.error.value}"
            self._fail(message, can_be_repeated=True)
        LOG.info("The run %s of %s is there already.", run_id, self.target)

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

    def _leave(self, run_id: str) -> NoReturn:
        from airflow.providers.standard.triggers.external_task import DagStateTrigger
        from airflow.utils.state import DagRunState

        trigger = DagStateTrigger(
            dag_id=self.target,
            run_ids=[run_id],
            states=[DagRunState.SUCCESS, DagRunState.FAILED],
            poll_interval=_LOOK_SECONDS,
        )
        raise TaskDeferred(trigger=trigger, method_name=self.execute_complete.__name__, kwargs={"run_id": run_id})


def _name(state: Any) -> str:
    """A run's state as a text: Airflow says that it gives texts, and gives members of an enumeration to tasks."""
    return str(getattr(state, "value", state))


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
