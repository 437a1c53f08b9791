"""Hears when somebody marks the run of a flow failed in Airflow's UI, and stops the runs that it has started.

Airflow ends the flow's tasks then, and has no message by which a task could stop a run. But whoever marks a run, marks
it in the API server, and there this listener is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun

    from docker_runner.settings import Settings


class FlowListener:
    """Told of every run that fails, in every process that ends runs.

    Attributes:
        settings: of this installation in the API server; None elsewhere: a scheduler ends runs whose tasks have ended.
    """

    settings: Settings | None = None

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun) -> None:
        """Stop what a flow has started, once it is stored that the flow has failed."""
        if self.settings is not None:
            from docker_runner_airflow.api.marked_failed import stop_with_flow

            stop_with_flow(dag_run, self.settings)


FLOW_LISTENER = FlowListener()
