"""From configurations to DAGs: one DAG per configuration, with only the tasks that it needs.

A DAG file needs two lines::

    from docker_runner_airflow.dag_factory import build_dags

    globals().update(build_dags())

Every task process parses its DAG file again. Airflow tells which DAG the task belongs to, and only that one is built,
so a task starts as fast with thousands of configurations as with one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError, RunnerError
from docker_runner.job.plan import PULL_IMAGES, Kind, Step, row_steps
from docker_runner.job.request import MODES
from docker_runner.project.branches import Branch
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Configuration, Project, Row
from docker_runner.project.dag_ids import dag_id
from docker_runner.project.entries import Key
from docker_runner.project.rows import effective_configurations
from docker_runner.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from docker_runner_airflow.operators import StepOperator

# Airflow wants a moment from which schedules count; with catchup off the past is never run.
_START = datetime(2024, 1, 1, tzinfo=UTC)
_RETRIES = 3
_LONGEST_NAME = 250
_LONGEST_TAG = 100


def build_dags(settings: Settings | None = None) -> dict[str, DAG]:
    """Build the DAGs of a project, by their ids; at task time only the one that the task belongs to.

    A configuration that cannot be read becomes a DAG that carries the error; every other DAG is untouched.

    Args:
        settings: which project; the environment's by default.
    """
    from airflow.sdk import get_parsing_context

    settings = settings or Settings.from_environment()
    wanted = get_parsing_context().dag_id
    project, registry = Project(settings.project, branch=settings.branch), CachedRegistry(settings)
    return {
        name: _dag_or_error(name, key, project=project, registry=registry)
        for key in _candidates(project, wanted)
        if (name := dag_id(*key, project.branch)) == wanted or wanted is None
    }


def _candidates(project: Project, wanted: str | None) -> list[Key]:
    """The configurations whose DAG may be the wanted one: nearly always one, told by the DAG's id itself."""
    branch = project.branch
    own = (wanted or "").removeprefix("" if branch.is_default else f"{branch.id}--")
    component_id, _, config_id = own.partition("--")
    key = component_id, config_id
    return [key] if wanted and project.has(key) and dag_id(*key, branch) == wanted else project.configurations()


class CachedRegistry(ComponentRegistry):
    """A registry that reads each definition once: many configurations share a component."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.components)
        self._known: dict[str, Component] = {}

    def get(self, component_id: str) -> Component:
        """Read a component's definition, or give the one that was read before."""
        if component_id not in self._known:
            self._known[component_id] = super().get(component_id)
        return self._known[component_id]


def _dag_or_error(name: str, key: Key, *, project: Project, registry: ComponentRegistry) -> DAG:
    try:
        return _dag(name, project.configuration(*key), registry.get(key[0]), branch=project.branch)
    except RunnerError as error:
        return _error_dag(name, key, str(error), branch=project.branch)
    except Exception as error:  # What Airflow refuses, e.g. a cron expression, must not hide the other DAGs.
        refused = f"Airflow refuses to make a DAG of {'/'.join(key)}: {error}"
        return _error_dag(name, key, refused, branch=project.branch)


def _dag(name: str, configuration: Configuration, component: Component, *, branch: Branch) -> DAG:
    from airflow.sdk import DAG
    from airflow.sdk.definitions.param import ParamsDict

    from docker_runner_airflow.operators import CleanUpOperator, CreateWorkspaceOperator, PullImagesOperator

    schedule = _schedule(configuration)
    dag = DAG(
        name,
        dag_display_name=f"{component.definition['name'] or component.id}: {configuration.name}"[:_LONGEST_NAME],
        description=configuration.description.split("\n", 1)[0].lstrip("# ")[:200],
        doc_md=_documentation(configuration),
        tags=[component.id[:_LONGEST_TAG], component.type],
        schedule=schedule,
        start_date=_START,
        catchup=False,
        max_active_runs=1,
        # A schedule begins when a person says so; without one there is nothing to hold back.
        is_paused_upon_creation=schedule is not None,
        default_args={"retries": _RETRIES, "retry_delay": timedelta(seconds=5), "owner": component.id},
    )
    create = CreateWorkspaceOperator(
        dag=dag, component_id=configuration.component_id, config_id=configuration.id, branch=branch.path
    )
    pull = PullImagesOperator(dag=dag, step=PULL_IMAGES)
    create >> pull
    rows = _rows(dag, configuration, component, create=create, pull=pull)
    clean_up = CleanUpOperator(dag=dag, has_rows=bool(configuration.rows))
    clean_up.set_upstream([task for tasks in rows for task in _ends(tasks)])
    clean_up.as_teardown(setups=create, on_failure_fail_dagrun=True)
    # Set last: Airflow copies a DAG's params into each task that is made after them, and stores every copy.
    dag.params = ParamsDict(_params(configuration))
    # Airflow would check this itself, but then one bad cron expression would take all DAGs of the file with it.
    dag.validate()  # type: ignore[no-untyped-call]
    return dag


def _rows(
    dag: DAG, configuration: Configuration, component: Component, *, create: StepOperator, pull: StepOperator
) -> list[list[StepOperator]]:
    """The tasks of all rows; one row after the other, or as many at once as the configuration says."""
    effective = effective_configurations(configuration)
    if not configuration.rows:
        return [_row_tasks(dag, None, row_steps(effective[0][1], component), start=[create], pull=pull)]
    lanes = _parallelism(configuration.configuration, len(effective))
    rows: list[list[StepOperator]] = []
    for index, (row, content) in enumerate(effective):
        # Airflow lets only tasks that do not follow a setup directly run after skipped ones, so rows begin after
        # pull_images, which is none.
        start = [pull, *_ends(rows[index - lanes])[:1]] if index >= lanes else [pull]
        rows.append(_row_tasks(dag, row, row_steps(content, component), start=start, pull=pull))
    return rows


def _row_tasks(
    dag: DAG, row: Row | None, steps: tuple[Step, ...], *, start: list[StepOperator], pull: StepOperator
) -> list[StepOperator]:
    """The tasks of one row, in a group of their own when the configuration has rows."""
    from airflow.sdk import TaskGroup

    from docker_runner_airflow.operators import OPERATORS

    group = None
    if row:
        group_id = "row_" + re.sub(r"[^A-Za-z0-9_-]", lambda match: f"_{ord(match[0]):x}_", row.id)
        group = TaskGroup(group_id, group_display_name=row.name, tooltip=row.description, dag=dag)
    tasks: dict[str, StepOperator] = {}
    for step in steps:
        options: dict[str, Any] = {"task_display_name": f"{step.name} ({step.title})"} if _is_processor(step) else {}
        if row and not step.after:
            # A row that is left out skips its tasks; the row behind it must run all the same.
            options["trigger_rule"] = "none_failed"
        tasks[step.name] = OPERATORS[step.kind](
            dag=dag,
            task_group=group,
            step=step,
            row_id=row.id if row else "",
            group=group.group_id if group else "",
            **options,
        )
        tasks[step.name].set_upstream([tasks[name] for name in step.after] or start)
        if step.kind is Kind.WRITE_CONFIG:
            pull >> tasks[step.name]
    return list(tasks.values())


def _ends(tasks: list[StepOperator]) -> list[StepOperator]:
    """The last task of a row that goes well, then the one that runs instead when it does not."""
    return [
        *[task for task in tasks if not task.step.on_failure][-1:],
        *[task for task in tasks if task.step.on_failure],
    ]


def _is_processor(step: Step) -> bool:
    return step.kind is Kind.RUN_PROCESSOR


def _parallelism(configuration: Mapping[str, Any], rows: int) -> int:
    """How many rows run at once: one after the other unless the configuration says more (D7, LC-81)."""
    runtime = configuration.get("runtime")
    wanted = str(runtime.get("parallelism") or 1) if isinstance(runtime, Mapping) else "1"
    if wanted == "infinity":
        return max(rows, 1)
    return max(int(wanted), 1) if wanted.isdigit() else 1


def _schedule(configuration: Configuration) -> Any:
    enabled = [schedule for schedule in configuration.schedules if schedule.enabled]
    if not enabled or configuration.is_disabled:
        return None
    zones = {schedule.timezone for schedule in enabled}
    if len(zones) > 1:
        raise ConfigurationError(
            f"The schedules of one configuration must have one time zone, not {' and '.join(sorted(zones))}.",
            file=enabled[0].file,
            key="schedule.timezone",
        )
    from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

    if len(enabled) == 1:
        return CronTriggerTimetable(enabled[0].cron, timezone=enabled[0].timezone)
    return MultipleCronTriggerTimetable(*(schedule.cron for schedule in enabled), timezone=enabled[0].timezone)


def _params(configuration: Configuration) -> dict[str, Any]:
    """The trigger form; rows and variables only where the configuration has them."""
    from airflow.sdk import Param

    params = {
        "mode": Param(
            "run",
            type="string",
            enum=list(MODES),
            description="debug stores snapshots of the data folder, no results; forceRun runs also what is disabled",
        ),
        "tag": Param("", type="string", description="image tag of the component instead of the registered one"),
    }
    if configuration.rows:
        params["rows"] = Param(
            [],
            type="array",
            items={"type": "string"},
            examples=[row.id for row in configuration.rows],
            description="rows to run, also disabled ones; none means all that are not disabled",
        )
    if configuration.configuration.get("variables_id"):
        params["variables"] = Param(
            {}, type="object", description='values of variables, e.g. {"name": "value"}; none means the stored ones'
        )
        params["values"] = Param(
            "", type="string", description="id of stored values of variables; none means the default"
        )
    return params


def _documentation(configuration: Configuration) -> str:
    lines = [configuration.description or f"# {configuration.name}"]
    lines.append(
        f"Component `{configuration.component_id}`, configuration `{configuration.id}`, `{configuration.file}`"
    )
    return "\n\n".join(lines)


def _error_dag(name: str, key: Key, error: str, *, branch: Branch) -> DAG:
    """A DAG that shows what is wrong with its configuration and fails at once with it when it is run."""
    from airflow.sdk import DAG

    from docker_runner_airflow.operators import CreateWorkspaceOperator

    dag = DAG(
        name,
        doc_md=f"# This configuration cannot be run\n\n{error}",
        description=error[:200],
        tags=[key[0][:_LONGEST_TAG], "broken"],
        schedule=None,
        start_date=_START,
        catchup=False,
        is_paused_upon_creation=False,
    )
    CreateWorkspaceOperator(dag=dag, component_id=key[0], config_id=key[1], branch=branch.path)
    return dag
