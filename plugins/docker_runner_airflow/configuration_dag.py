"""The DAG of one configuration: a task for each step of each row, or one task for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from docker_runner.job.plan import CLEAN_UP, CREATE_WORKSPACE, PULL_IMAGES, Kind, Step, row_steps
from docker_runner.project.default_buckets import with_default_buckets
from docker_runner.project.rows import effective_configurations
from docker_runner.project.run_options import Granularity, RunOptions, parallelism, run_options
from docker_runner.project.starts import refuse_parallel_rows_in_one_task, starting_tables
from docker_runner_airflow.assets import input_assets, output_assets, tables_at_run_time
from docker_runner_airflow.retries import FIRST_DELAY, RETRIES
from docker_runner_airflow.starts import changes, timetable
from docker_runner_airflow.task_ids import LONGEST_GROUP, own_ids
from docker_runner_airflow.trigger_form import form_fields

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from docker_runner.errors import ConfigurationError
    from docker_runner.project.component import Component, ComponentRegistry
    from docker_runner.project.configuration import Configuration, Project, Row
    from docker_runner_airflow.operators import StepOperator

# Airflow wants a moment from which schedules count; with catchup off the past is never run.
START = datetime(2024, 1, 1, tzinfo=UTC)
_LONGEST_NAME = 250
_LONGEST_TAG = 100
BROKEN_TAG = "broken"

Rows = list[tuple["Row | None", dict[str, Any]]]


class ConfigurationDag:
    """Builds the DAG of a configuration.

    Args:
        name: the DAG's id.
        project: with the branch that is run.
        registry: the registered components.
        component_id: of the configuration.
        config_id: of the configuration.

    Raises:
        RunnerError: the configuration or its component cannot be read.
    """

    def __init__(
        self, name: str, *, project: Project, registry: ComponentRegistry, component_id: str, config_id: str
    ) -> None:
        self.name = name
        self.project = project
        self.configuration: Configuration = project.configuration(component_id, config_id)
        self.component: Component = registry.get(component_id)
        self.branch = "" if project.branch.is_default else project.branch.id
        self.rows: Rows = [
            (row, with_default_buckets(content, project=project, registry=registry))
            for row, content in effective_configurations(self.configuration)
        ]
        self.options: RunOptions = run_options(self.configuration, self.component)
        self.is_merged = self.options.granularity is Granularity.MERGED

    def build(self, *, with_problems: bool = True) -> DAG:
        """The DAG.

        Args:
            with_problems: say in it what the schema finds in the configuration's files. Its tasks stay, for the runs
                that are at work; those that begin now fail with the same words.

        Raises:
            ConfigurationError: it cannot be scheduled or run as the configuration says.
        """
        from airflow.sdk import DAG
        from airflow.sdk.definitions.param import ParamsDict

        from docker_runner_airflow.runner_operator import RETRY_POLICY

        configuration, component = self.configuration, self.component
        problems = self._problems() if with_problems else []
        schedule = None if configuration.is_disabled else self._schedule()
        dag = DAG(
            self.name,
            dag_display_name=display_name(component.definition["name"] or component.id, configuration.name),
            description=first_line(_short(problems[0]) if problems else configuration.description),
            doc_md=_documentation(configuration, problems),
            tags=[component.id[:_LONGEST_TAG], component.type, *([BROKEN_TAG] if problems else [])],
            schedule=schedule,
            start_date=START,
            catchup=False,
            max_active_runs=1,
            # A schedule begins when a person says so; without one there is nothing to hold back.
            is_paused_upon_creation=schedule is not None,
            default_args={
                "retries": RETRIES,
                "retry_policy": RETRY_POLICY,
                # Of a task whose worker was killed: no policy is asked then, and Airflow's own pause is five minutes.
                "retry_delay": FIRST_DELAY,
                "owner": component.id,
            },
        )
        if self.is_merged:
            self._one_task(dag)
        else:
            self._all_tasks(dag)
        # Set last: Airflow copies a DAG's params into each task that is made after them, and stores every copy.
        takes_configuration = self.is_merged or not configuration.rows
        dag.params.update(ParamsDict(form_fields(configuration, self.project, takes_configuration=takes_configuration)))
        # Airflow would check this itself, but then one bad cron expression would take all DAGs of the file with it.
        dag.timetable.validate()
        return dag

    def _problems(self) -> list[ConfigurationError]:
        from docker_runner.job.checks import written_problems

        return list(written_problems(self.configuration, self.configuration.rows))

    def _schedule(self) -> Any:
        if not self.options.trigger:
            return timetable(self.configuration.schedules)
        # With the ids that default buckets have got.
        contents = [content for row, content in self.rows if not (row and row.is_disabled)]
        own = [asset.name for _, content in self.rows for asset in self._outputs(content)]
        file = self.configuration.file
        return changes(self.options.trigger, starting_tables(contents, own=own, branch=self.branch, file=file))

    def _outputs(self, content: Mapping[str, Any]) -> list[Any]:
        return output_assets(content, branch=self.branch) if self.component.writes_storage else []

    def _one_task(self, dag: DAG) -> None:
        from docker_runner_airflow.merged_operator import MergedOperator

        refuse_parallel_rows_in_one_task(self.configuration, self.options)
        inlets, outlets = [], []
        for _, content in self.rows:
            inlets += input_assets(content) if self.component.reads_storage else []
            outlets += self._outputs(content)
        alias = [tables_at_run_time(self.name)] if self.component.writes_storage else []
        MergedOperator(
            dag=dag,
            component_id=self.component.id,
            config_id=self.configuration.id,
            branch=self.project.branch.path,
            inlets=list(dict.fromkeys(inlets)),
            outlets=[*dict.fromkeys(outlets), *alias],
        )

    def _all_tasks(self, dag: DAG) -> None:
        from docker_runner_airflow.operators import (
            OPTIONS,
            CleanUpOperator,
            CreateWorkspaceOperator,
            PullImagesOperator,
        )

        own = {
            "component_id": self.component.id,
            "config_id": self.configuration.id,
            "branch": self.project.branch.path,
            "rows": tuple(row.id if row else "" for row, _ in self.rows),
        }
        create = CreateWorkspaceOperator.of(CREATE_WORKSPACE, dag=dag, own=own)
        pull = PullImagesOperator.of(PULL_IMAGES, dag=dag)
        create >> pull
        rows = self._row_tasks(dag, create=create, pull=pull)
        clean_up = CleanUpOperator.of(
            CLEAN_UP, dag=dag, own={"has_rows": bool(self.configuration.rows)}, **OPTIONS[Kind.CLEAN_UP]
        )
        clean_up.set_upstream([task for tasks in rows for task in _ends(tasks)])
        clean_up.as_teardown(setups=create, on_failure_fail_dagrun=True)

    def _row_tasks(self, dag: DAG, *, create: StepOperator, pull: StepOperator) -> list[list[StepOperator]]:
        """The tasks of all rows; one row after the other, or as many at once as the configuration says."""
        if not self.configuration.rows:
            return [self._tasks(dag, None, "", self.rows[0][1], start=[create], pull=pull)]
        groups = own_ids("row", [row.id for row, _ in self.rows if row], longest=LONGEST_GROUP)
        lanes = parallelism(self.configuration.configuration, len(self.rows))
        rows: list[list[StepOperator]] = []
        for index, (row, content) in enumerate(self.rows):
            # Airflow lets only tasks that do not follow a setup directly run after skipped ones, so rows begin after
            # pull_images, which is none.
            start = [pull, *_ends(rows[index - lanes])[:1]] if index >= lanes else [pull]
            group_id = groups[row.id] if row else ""
            rows.append(self._tasks(dag, row, group_id, content, start=start, pull=pull))
        return rows

    def _tasks(
        self,
        dag: DAG,
        row: Row | None,
        group_id: str,
        content: dict[str, Any],
        *,
        start: list[StepOperator],
        pull: StepOperator,
    ) -> list[StepOperator]:
        """The tasks of one row, in a group of their own when the configuration has rows."""
        from airflow.sdk import TaskGroup

        from docker_runner_airflow.operators import OPERATORS, OPTIONS

        group = None
        if row:
            group = TaskGroup(group_id, group_display_name=row.name, tooltip=row.description, dag=dag)
        tasks: dict[str, StepOperator] = {}
        for step in row_steps(content, self.component):
            options = {**OPTIONS.get(step.kind, {}), **self._options(step, row, content)}
            task = OPERATORS[step.kind].of(
                step,
                own={"row_id": row.id if row else "", "group": group_id},
                dag=dag,
                task_group=group,
                **options,
            )
            task.set_upstream([tasks[name] for name in step.after] or start)
            if step.kind is Kind.WRITE_CONFIG:
                task.set_upstream(pull)
            tasks[step.name] = task
        return list(tasks.values())

    def _options(self, step: Step, row: Row | None, content: dict[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if step.kind is Kind.RUN_PROCESSOR:
            options["task_display_name"] = f"{step.name} ({step.title})"
        if row and not step.after:
            # A row that is left out skips its tasks; the row behind it must run all the same.
            options["trigger_rule"] = "none_failed"
        if step.kind is Kind.LOAD_TABLES:
            options["inlets"] = input_assets(content)
        elif step.kind in (Kind.UNLOAD_OUTPUT, Kind.UNLOAD_ALWAYS) and self.component.writes_storage:
            options["outlets"] = [*self._outputs(content), tables_at_run_time(self.name)]
        return options


def display_name(component: str, name: str) -> str:
    """How a DAG is shown."""
    return storable(f"{component}: {name}")[:_LONGEST_NAME]


def first_line(description: str) -> str:
    """A description in one line."""
    return storable(description.split("\n", 1)[0].lstrip("# "))[:200]


def storable(text: str) -> str:
    """A text without the character that no PostgreSQL takes: it would keep a whole file of DAGs out of the database."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _ends(tasks: list[StepOperator]) -> list[StepOperator]:
    """The last task of a row that goes well, then the one that runs instead when it does not."""
    return [
        *[task for task in tasks if not task.step.on_failure][-1:],
        *[task for task in tasks if task.step.on_failure],
    ]


def _short(problem: ConfigurationError) -> str:
    """A problem without its file, whose path can be longer than a DAG's description."""
    return f"{problem.key}: {problem.problem}" if problem.key else problem.problem


def broken_documentation(error: str) -> str:
    """What a DAG says whose configuration cannot be run."""
    return f"# This configuration cannot be run\n\n{error}"


def _documentation(configuration: Configuration, problems: Sequence[ConfigurationError]) -> str:
    lines = [broken_documentation("\n\n".join(map(str, problems)))] if problems else []
    lines.append(configuration.description or f"# {configuration.name}")
    lines.append(
        f"Component `{configuration.component_id}`, configuration `{configuration.id}`, `{configuration.file}`"
    )
    return "\n\n".join(lines)
