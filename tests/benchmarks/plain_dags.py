"""The DAGs of a generated project as somebody writes them by hand: a loop in Python that reads no file at all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, Param, TaskGroup
from airflow.sdk.definitions.param import ParamsDict
from airflow.timetables.trigger import CronTriggerTimetable
from tests.benchmarks.projects import COMPONENT, ROWS, cron, has_rows, has_schedule, has_variables

STEPS = ("load_tables", "write_config", "before_1", "run_component", "after_1", "unload_output")


class PlainOperator(BaseOperator):
    """A task that knows its step and its row."""

    def __init__(self, *, step: str, row: str = "", **kwargs: Any) -> None:
        super().__init__(task_id=step, **kwargs)
        self.step = step
        self.row = row

    def execute(self, context: Any) -> None:
        """Nothing."""


def plain_dags(numbers: Iterable[int]) -> dict[str, DAG]:
    """The DAGs of some configurations of a generated project, with the same tasks and the same form."""
    dags = {}
    for number in numbers:
        dag_id = f"{COMPONENT}--plain-{number:05d}"
        schedule = CronTriggerTimetable(cron(number), timezone="UTC") if has_schedule(number) else None
        with DAG(
            dag_id,
            dag_display_name=f"Configuration {number}",
            description="One of many.",
            doc_md=f"# Configuration {number}\n\nOne of many.",
            tags=[COMPONENT],
            schedule=schedule,
            start_date=datetime(2024, 1, 1, tzinfo=UTC),
            catchup=False,
            max_active_runs=1,
            is_paused_upon_creation=False,
            default_args={"retries": 3, "retry_delay": timedelta(seconds=5), "owner": COMPONENT},
        ) as dag:
            _tasks(number)
        # As the factory does: given to the DAG at once, each task gets a copy, which takes ten times as long to store.
        dag.params = ParamsDict(_params(number))
        dags[dag_id] = dag
    return dags


def _params(number: int) -> dict[str, Param]:
    params = {
        "mode": Param("run", type="string", enum=["run", "debug", "forceRun"], description="how to run"),
        "tag": Param("", type="string", description="image tag"),
        "config_data": Param({}, type="object", description="whole configuration"),
    }
    if has_rows(number):
        params["rows"] = Param([], type="array", items={"enum": list(ROWS)}, examples=list(ROWS), description="rows")
    if has_variables(number):
        params["variables"] = Param({}, type="object", description="values of variables")
        params["values"] = Param("", type="string", description="id of stored values")
    return params


def _tasks(number: int) -> None:
    create = PlainOperator(step="create_workspace")
    pull = PlainOperator(step="pull_images")
    create >> pull
    before, ends = [create], []
    for row in ROWS if has_rows(number) else [""]:
        if row:
            before = [pull]
            with TaskGroup(f"row_{row}"):
                ends += _row(number, row, before=before, pull=pull)
        else:
            ends += _row(number, row, before=before, pull=pull)
    clean_up = PlainOperator(step="clean_up")
    ends >> clean_up
    clean_up.as_teardown(setups=create, on_failure_fail_dagrun=True)


def _row(number: int, row: str, *, before: list[BaseOperator], pull: BaseOperator) -> list[BaseOperator]:
    table = Asset(f"out.c-bench.t{number}", f"table://out.c-bench.t{number}")
    inlets = {"load_tables": [Asset("in.c-nycflights.flights", "table://in.c-nycflights.flights")]}
    outlets = {"unload_output": [table]}
    tasks: list[BaseOperator] = []
    for step in STEPS:
        task = PlainOperator(step=step, row=row, inlets=inlets.get(step), outlets=outlets.get(step))
        task.set_upstream(tasks[-1:] or before)
        if step == "write_config":
            task.set_upstream(pull)
        tasks.append(task)
    always = PlainOperator(step="unload_always", row=row, trigger_rule="one_failed", outlets=[table])
    always.set_upstream(tasks[2:])
    return [tasks[-1], always]
