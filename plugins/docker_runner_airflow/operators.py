"""One operator per step: each takes what it needs from the task's context, calls the step, and returns its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowSkipException

from docker_runner.errors import UserError
from docker_runner.job.plan import CREATE_WORKSPACE, PULL_IMAGES, Kind, Step
from docker_runner_airflow.retries import StepFailed
from docker_runner_airflow.runner_operator import LOG, RunnerOperator, task_states

if TYPE_CHECKING:
    from docker_runner.job.definition import Job
    from docker_runner.job.tools import Tools
    from docker_runner.job.workspace import Workspace

FOLDER = "folder"
"""The key in what ``create_workspace`` returns with the identity of the folder in which the run's folders are."""


class StepOperator(RunnerOperator):
    """A step of a configuration's run.

    Attributes:
        step: the step, as planned.
        row_id: the row it belongs to; empty for a configuration without rows and for steps that all rows share.
        group: prefix of the task ids of that row.
    """

    step: Step
    group = ""

    @classmethod
    def of(cls, step: Step, *, own: Mapping[str, Any] | None = None, **kwargs: Any) -> Self:
        """Make the operator of a step.

        Airflow wraps every constructor of an operator's classes, and merges the DAG's defaults in each; there are
        thousands of tasks, so there is only its own.

        Args:
            step: the step.
            own: attributes of this class.
            kwargs: what Airflow takes.
        """
        task = cls(task_id=step.name, **kwargs)
        vars(task).update(own or {}, step=step, may_defer=step.stage is not None)
        return task

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The step itself."""
        from docker_runner.job.steps import perform
        from docker_runner.job.workspace import MissingWorkspaceError

        ti = context["ti"]
        if self.row_id:
            created = ti.xcom_pull(task_ids=CREATE_WORKSPACE.name) or {"rows": [self.row_id]}
            if self.row_id not in created["rows"]:
                raise AirflowSkipException(f"The row {self.row_id} is not part of this run.")
        manifests = {name: ti.xcom_pull(task_ids=self._task_id(name)) for name in self.step.takes}
        try:
            return perform(
                self.step,
                workspace=self.workspace(context),
                row_id=self.row_id,
                tools=self.tools(),
                manifests=manifests,
                following=self.following,
            )
        except MissingWorkspaceError:
            refuse_other_machine(context, self.workspace(context))
            raise

    def _task_id(self, name: str) -> str:
        return name if name == PULL_IMAGES.name or not self.group else f"{self.group}.{name}"


class CreateWorkspaceOperator(StepOperator):
    """Resolves the configuration as it is now, with the values of the trigger form, and makes the run's folders.

    Attributes:
        component_id: the component.
        config_id: the configuration.
        branch: folder of the branch.
        rows: ids of the rows that have tasks.
    """

    component_id: str
    config_id: str
    branch: str
    rows: tuple[str, ...]

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Resolve everything before anything runs (LC-5)."""
        from docker_runner.job.resolution import described
        from docker_runner.job.shared_folder import identity_of
        from docker_runner.job.steps import create_workspace

        tools = self.tools()
        job = resolved_job(
            context,
            tools,
            component_id=self.component_id,
            config_id=self.config_id,
            branch=self.branch,
            asked=context["params"],
            job_id=self.job_id(context),
        )
        refuse_other_rows([row.row_id for row in job.rows], self.rows)
        workspace = self.workspace(context)
        create_workspace(job, workspace, tools)
        return {**described(job, selected=[row.row_id for row in job.rows]), FOLDER: identity_of(workspace.root)}


class BrokenOperator(RunnerOperator):
    """Fails with what is wrong with a configuration.

    Args:
        error: what is wrong, found while its DAG was made; a task makes its DAG anew, so the error is that of now.
        component_id: its component.
        config_id: the configuration.
    """

    may_defer = False

    def __init__(self, *, error: str, component_id: str, config_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error
        self.component_id = component_id
        self.config_id = config_id

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Say it, in the events too: whoever asks for the job is told."""
        from docker_runner.job.job_events import resolving
        from docker_runner.job.request import full_run_id

        ids = {"component_id": self.component_id, "config_id": self.config_id, "job_id": self.job_id(context)}
        with resolving(self.tools(), run_id=full_run_id(context["params"], context["run_id"]), **ids):
            raise UserError(self.error)


def resolved_job(
    context: Mapping[str, Any],
    tools: Tools,
    *,
    component_id: str,
    config_id: str,
    branch: str,
    asked: Mapping[str, Any],
    job_id: str,
) -> Job:
    """The job of a DAG run, resolved from the project as it is when the configuration's turn has come.

    Raises:
        UserError: as of :func:`docker_runner.job.resolution.resolve_job`.
        StorageError: it cannot be told whether another run works with the configuration.
    """
    from docker_runner.job.definition import Mode
    from docker_runner.job.job_events import resolving
    from docker_runner.job.request import full_run_id
    from docker_runner.job.resolution import JobRequest, resolve_job
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project
    from docker_runner_airflow.turns import wait_for_turn

    settings = tools.settings
    ids = {"component_id": component_id, "config_id": config_id, "job_id": job_id}
    own = context["run_id"]
    with resolving(tools, run_id=full_run_id(asked, own), **ids):
        project, request = Project(settings.project, branch=branch), JobRequest.from_params(asked)
        if config_id and request.mode is Mode.RUN:
            wait_for_turn(context, settings, project, component_id=component_id, config_id=config_id, log=tools.log)
        return resolve_job(
            project,
            ComponentRegistry(settings.components),
            request=request,
            features=settings.features,
            vault=settings.vault,
            run_id=own,
            **ids,
        )


def refuse_other_rows(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuse rows for which a DAG has no tasks: they would be left out without a word.

    Raises:
        UserError: a configuration that came with the run has no rows where the stored one has some, or rows were
            added after the DAG was made.
    """
    missing = [row for row in wanted if row not in known]
    if missing == [""]:
        raise UserError(
            "This DAG has a task for each step of each row, and the given configuration has no rows: run it with "
            "`docker-runner run --config`, or as a configuration whose runtime.granularity is merged."
        )
    if missing:
        raise UserError(
            f"The rows {', '.join(missing)} were added after Airflow had read the configuration: start another run."
        )


def refuse_other_machine(context: Mapping[str, Any], workspace: Workspace) -> None:
    """Refuse a run whose folders are missing because they are on another machine.

    Raises:
        UserError: they are; tells what to share.
    """
    from docker_runner.job.shared_folder import refuse_other_folder

    created = context["ti"].xcom_pull(task_ids=CREATE_WORKSPACE.name)
    refuse_other_folder(workspace.root, created.get(FOLDER) if isinstance(created, Mapping) else None)


class PullImagesOperator(StepOperator):
    """Has every image of the run ready."""


class LoadTablesOperator(StepOperator):
    """Writes the mapped tables of a row into its data folder."""


class LoadFilesOperator(StepOperator):
    """Writes the mapped files of a row into its data folder."""


class WriteConfigOperator(StepOperator):
    """Checks that every config file of a row can be written, and shows it in its log with the secrets hidden."""


class RunProcessorOperator(StepOperator):
    """Runs a processor in its own container."""


class RunComponentOperator(StepOperator):
    """Runs the component in its own container."""


class UnloadOutputOperator(StepOperator):
    """Stores tables, files and state of a row in one commit."""


class UnloadAlwaysOperator(StepOperator):
    """Stores the tables that a row leaves also when it fails.

    It starts as soon as one of the row's images or its unloading has failed for good, or could not begin. Only a
    failure of the row's own is a reason to store something: without one the fault lies in the input, or in another row.
    """

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Store, when the row has failed itself."""
        states = task_states(context)
        if not any(states.get(self._task_id(name)) == "failed" for name in self.step.after):
            raise AirflowSkipException("The row did not get as far as to leave something.")
        return super().work(context)


class CleanUpOperator(StepOperator):
    """Removes containers and folders in every outcome, then gives the run its verdict.

    As the run's last task it decides the run's state: a teardown that succeeds would turn a failed run green, and a
    run that was stopped by hand leaves skipped tasks, which count as success too.

    Attributes:
        has_rows: whether the configuration has rows.
    """

    bad_states: ClassVar[frozenset[str]] = frozenset({"failed", "upstream_failed", "removed"})

    has_rows: bool

    def work(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Clean up, then fail when another task of the run failed or was stopped."""
        from docker_runner.job.steps import clean_up

        # Rows that were not chosen skip their tasks; without rows only a person can have stopped a task, but for the
        # one that is skipped whenever nothing fails.
        bad = self.bad_states if self.has_rows else self.bad_states | {"skipped"}
        states = task_states(context)
        failed = sorted(name for name, state in states.items() if state in bad and name != Kind.UNLOAD_ALWAYS.value)
        # What only follows from these tells a person nothing.
        causes = [name for name in failed if states[name] != "upstream_failed"] or failed
        problem = f"The run failed: see {', '.join(causes)}." if failed else ""
        workspace = self.workspace(context)
        is_gone = not workspace.folder.exists()
        # Containers are found without the folder.
        manifest = clean_up(workspace, self.tools(), problem=problem)
        if is_gone:
            refuse_other_machine(context, workspace)
        if failed:
            message = f"Cleaned up. {problem}"
            LOG.error(message)
            raise StepFailed(message, can_be_repeated=False)
        return manifest


OPERATORS: Mapping[Kind, type[StepOperator]] = {
    Kind.PULL_IMAGES: PullImagesOperator,
    Kind.LOAD_TABLES: LoadTablesOperator,
    Kind.LOAD_FILES: LoadFilesOperator,
    Kind.WRITE_CONFIG: WriteConfigOperator,
    Kind.RUN_PROCESSOR: RunProcessorOperator,
    Kind.RUN_COMPONENT: RunComponentOperator,
    Kind.UNLOAD_OUTPUT: UnloadOutputOperator,
    Kind.UNLOAD_ALWAYS: UnloadAlwaysOperator,
}


OPTIONS: Mapping[Kind, Mapping[str, Any]] = {
    # Nobody builds on what it returns; storing it would only cost time.
    Kind.WRITE_CONFIG: {"do_xcom_push": False},
    Kind.CLEAN_UP: {"do_xcom_push": False},
    Kind.UNLOAD_ALWAYS: {"trigger_rule": TriggerRule.ONE_FAILED},
}
"""What else Airflow is told of all tasks of a kind."""
