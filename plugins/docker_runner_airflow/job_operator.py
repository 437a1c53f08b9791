"""A whole run of whatever its DAG run asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import UserError
from docker_runner.job.definition import Mode
from docker_runner.settings import Settings
from docker_runner_airflow.jobs_dag import AFTER, WHAT
from docker_runner_airflow.merged_operator import MergedOperator
from docker_runner_airflow.runner_operator import LOG
from docker_runner_airflow.trigger_form import GIVEN
from docker_runner_airflow.turns import wait_for_run


class JobOperator(MergedOperator):
    """All steps of the configuration that the DAG run's conf names or brings, one after the other."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(component_id="", config_id="", branch="", **kwargs)

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Let those go first that were there before, then do the work.

        Only at the first attempt: later it may be this run that they wait for.
        """
        ti = context["ti"]
        if ti.try_number <= 1:
            for dag, run in _before(context["params"]):
                wait_for_run(ti, dag, run, log=LOG)
        return super().execute(context)

    def what(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """What the conf says.

        Raises:
            UserError: it names no component, or not as a text.
        """
        asked = dict(context["params"])
        component_id, config_id, branch = (_text(name, asked.pop(name, None)) for name in WHAT)
        if by_hand := asked.pop(GIVEN, None):
            if asked.get("config_data"):
                raise UserError(f"The run's conf has a configuration in {GIVEN} and in config_data: give one.")
            asked["config_data"] = by_hand
        if not component_id and asked.get("mode") != Mode.SANDBOX.value:
            raise UserError(
                'The run\'s conf must name a component: {"component": "sample.daily-delays", "config": "new-york"}, '
                "or config_data, a whole configuration, in place of config."
            )
        return {
            "component_id": component_id,
            "config_id": config_id,
            "branch": branch or Settings.from_environment().branch,
            "asked": asked,
        }


def _before(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The runs to wait for; whatever else a person has written there is none."""
    api = params.get("api")
    runs = api.get(AFTER) if isinstance(api, Mapping) else None
    pairs = [run for run in runs if isinstance(run, list) and len(run) == 2] if isinstance(runs, list) else []
    return [(dag, run) for dag, run in pairs if isinstance(dag, str) and isinstance(run, str)]


def _text(name: str, value: Any) -> str:
    if isinstance(value, Mapping | list):
        kind = "map" if isinstance(value, Mapping) else "list"
        raise UserError(f"{name} in the run's conf must be a text, not a {kind}.")
    return scalar_text(value)
