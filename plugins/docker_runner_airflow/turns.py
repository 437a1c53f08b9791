"""Runs of one configuration work one after the other, whatever DAG they are runs of and whoever started them (LC-11).

Airflow lets the runs of one DAG wait for each other, but not those of a configuration's own DAG for jobs on its data
that run as another one. So each run asks Storage for its turn before it does anything. Nobody gives a turn back:
whoever finds it taken asks Airflow whether that run is running, and takes it over when it is not. A run that died
leaves no lock.

A run that has had its turn and is *queued* has ended and was cleared. It must not be waited for: Airflow starts no run
of a DAG while another one of it is running, and the one that waits is running. It asks for a turn again when it begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

from docker_runner.storage import open_turns
from docker_runner_airflow import api_server

if TYPE_CHECKING:
    import logging

    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings

BEGIN = "begin"
"""The method of a task that is called when a run that it waited for has ended."""
_TRIGGERERS_LOOK_SECONDS = 5.0
_COMES_AGAIN_AFTER = timedelta(seconds=10)
_ENDED = ("success", "failed")
_STATES = ("queued", "running", *_ENDED)


def wait_for_turn(
    context: Mapping[str, Any],
    settings: Settings,
    project: Project,
    *,
    component_id: str,
    config_id: str,
    log: logging.Logger,
) -> None:
    """Leave the task until no other run works with a configuration; give back when this run may.

    Args:
        context: of the task, of a DAG run that is to store results under the configuration's id.
        settings: of this installation.
        project: with the branch.
        component_id: of the configuration.
        config_id: its id.
        log: is told who is waited for.

    Raises:
        StorageError: it cannot be told whose turn it is.
    """
    ti, turns = context["ti"], open_turns(settings.storage)
    # Ids may be long, and a database's keys may not.
    parts = [settings.installation, project.branch.path, component_id, config_id]
    what = sha256(json.dumps(parts).encode()).hexdigest()
    own = json.dumps([ti.dag_id, context["run_id"]])
    holder = turns.take(what, own)
    while holder != own:
        dag, run = json.loads(holder)
        wait_for_run(ti, dag, run, log=log, ended=(*_ENDED, "queued"))
        holder = turns.take(what, own, over=holder)


def wait_for_run(ti: Any, dag: str, run: str, *, log: logging.Logger, ended: Sequence[str] = _ENDED) -> None:
    """Leave the task until a run has ended; give back when it has.

    The worker is left to others at once: many that wait would keep it from those that they wait for.

    Args:
        ti: the task, whose method :data:`BEGIN` goes on then.
        dag: id of the DAG.
        run: id of the run.
        log: is told who is waited for.
        ended: states in which the run is not waited for.
    """
    if not ti.get_dr_count(dag_id=dag, run_ids=[run], states=[state for state in _STATES if state not in ended]):
        return
    log.info("Waiting for the run %s of %s, which runs the same configuration.%s", run, dag, _hint(ti, dag))
    if api_server.triggerer_runs():
        _leave_until(ended, dag, run)
    _come_again()


def _hint(ti: Any, dag: str) -> str:
    """What a person must do so that the waiting comes to an end, if anything."""
    try:
        is_paused = ti.get_dag(dag).is_paused
    except Exception:  # Airflow's word for a DAG that it does not know differs by version, and this is only a hint.
        return ""
    return " Its DAG is paused: switch that on, or mark the run as failed." if is_paused else ""


def _come_again() -> NoReturn:
    from airflow.sdk.exceptions import AirflowRescheduleException

    raise AirflowRescheduleException(datetime.now(UTC) + _COMES_AGAIN_AFTER)  # type: ignore[no-untyped-call]


def _leave_until(states: Sequence[str], dag: str, run: str) -> NoReturn:
    from airflow.providers.standard.triggers.external_task import DagStateTrigger
    from airflow.sdk.exceptions import TaskDeferred
    from airflow.utils.state import DagRunState

    wanted = [DagRunState(state) for state in states]
    trigger = DagStateTrigger(dag_id=dag, run_ids=[run], states=wanted, poll_interval=_TRIGGERERS_LOOK_SECONDS)
    raise TaskDeferred(trigger=trigger, method_name=BEGIN)
