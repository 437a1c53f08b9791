"""The DAG of an orchestration or a flow: phases in order, whose tasks run the DAGs of configurations.

The gate behind each phase opens when all its tasks have ended well or may fail; what comes later waits for it. So a
task that failed and may do so is red, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from docker_runner.project.dag_ids import dag_id
from docker_runner_airflow.configuration_dag import START, display_name, first_line, storable
from docker_runner_airflow.retries import FIRST_DELAY, RETRIES, RetryWhatMayPass
from docker_runner_airflow.starts import timetable
from docker_runner_airflow.task_ids import LONGEST_GROUP, LONGEST_TASK, own_ids

if TYPE_CHECKING:
    from airflow.sdk import DAG, TaskGroup

    from docker_runner.project.branches import Branch
    from docker_runner.project.flow import Flow, FlowTask, Phase


def flow_dag(name: str, flow: Flow, *, branch: Branch) -> DAG:
    """Build the DAG of a flow.

    Args:
        name: the DAG's id.
        flow: the flow, checked.
        branch: the branch that it stands in.

    Raises:
        ConfigurationError: its schedules do not fit together.
    """
    from airflow.sdk import DAG

    schedule = None if flow.is_disabled else timetable(flow.schedules)
    dag = DAG(
        name,
        dag_display_name=display_name("Flow", flow.name),
        description=first_line(flow.description),
        doc_md=_documentation(flow),
        tags=[flow.component_id, "flow"],
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=schedule is not None,
        default_args={
            # Whatever the flow says of repeating runs: a task whose worker was killed is tried again.
            "retries": RETRIES,
            "retry_policy": RetryWhatMayPass(),
            # Of a task whose worker was killed: no policy is asked then.
            "retry_delay": FIRST_DELAY,
            "owner": flow.component_id,
        },
    )
    groups = own_ids("phase", [phase.id for phase in flow.phases], longest=LONGEST_GROUP)
    gates: dict[str, Any] = {}
    for phase in flow.phases:
        before = [gates[other] for other in phase.depends_on]
        gates[phase.id] = _phase(dag, groups[phase.id], phase, before=before, branch=branch)
    dag.timetable.validate()
    return dag


def _phase(dag: DAG, group_id: str, phase: Phase, *, before: list[Any], branch: Branch) -> Any:
    """The tasks of a phase and their gate, which is given."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import TaskGroup

    from docker_runner_airflow.flow_operators import GateOperator

    group = TaskGroup(group_id, group_display_name=phase.name, tooltip=phase.description, dag=dag)
    ids = own_ids("task", [task.id for task in phase.tasks], longest=LONGEST_TASK - len(group_id) - 1)
    tasks = [_task(dag, group, ids[task.id], task, branch) for task in phase.tasks if task.enabled]
    for task in tasks:
        task.set_upstream(before)
    may_fail = tuple(
        task.task_id for task, given in zip(tasks, _enabled(phase), strict=True) if given.continue_on_failure
    )
    options: dict[str, Any] = {"dag": dag, "task_group": group, "task_id": "gate"}
    # One that does nothing costs no worker.
    gate = GateOperator(may_fail=may_fail, **options) if may_fail else EmptyOperator(**options)
    gate.set_upstream(tasks or before)
    return gate


def _enabled(phase: Phase) -> list[FlowTask]:
    return [task for task in phase.tasks if task.enabled]


def _task(dag: DAG, group: TaskGroup, task_id: str, task: FlowTask, branch: Branch) -> Any:
    from docker_runner_airflow.flow_operators import RunConfigurationOperator
    from docker_runner_airflow.merged_operator import MergedOperator

    options: dict[str, Any] = {
        "dag": dag,
        "task_group": group,
        "task_id": task_id,
        "task_display_name": storable(task.name),
    }
    asked = _asked(task)
    if task.retries is not None:
        options["retry_policy"] = RetryWhatMayPass(pause=timedelta(seconds=task.retry_delay))
    if not task.config_id:
        # What is a run of its own is tried again like any.
        options["retries"] = max(RETRIES, task.retries or 0)
        return MergedOperator(
            component_id=task.component_id,
            config_id="",
            branch=branch.path,
            asked=asked,
            **options,
        )
    target, repeats = dag_id(task.component_id, task.config_id, branch), task.retries or 0
    options["retries"] = RETRIES + repeats
    return RunConfigurationOperator(target=target, asked=asked, repeats=repeats, **options)


def _asked(task: FlowTask) -> Mapping[str, Any]:
    """What the configuration's run is asked with; only what differs from what it would do anyway."""
    asked = {
        "mode": task.mode if task.mode != "run" else "",
        "tag": task.tag,
        "rows": list(task.rows),
        "variables": dict(task.variables),
        "values": task.values,
        "backend": dict(task.backend),
        "config_data": dict(task.config_data or {}),
    }
    return {name: value for name, value in asked.items() if value}


def _documentation(flow: Flow) -> str:
    disabled = [f"{task.name} ({phase.name})" for phase in flow.phases for task in phase.tasks if not task.enabled]
    lines = [flow.description or f"# {flow.name}"]
    if disabled:
        lines.append(f"Disabled and therefore left out: {', '.join(disabled)}.")
    lines.append(f"`{flow.component_id}`, `{flow.id}`, `{flow.file}`")
    return "\n\n".join(lines)
