"""All steps of a run in one task that may be repeated: it goes on where an earlier attempt of the same series stopped.

What is done is told by the run's folders, exactly as between tasks of their own: steps that are done are not done
again, and a container that outlived its worker is followed on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from docker_runner.errors import ApplicationError, RunnerError, UserError
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.job.plan import CREATE_WORKSPACE, PULL_IMAGES, Step, steps_of
from docker_runner.job.resolution import described
from docker_runner.job.shared_folder import other_folder
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.supervision import Following
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace, write_whole

Manifests = dict[str, dict[str, Any]]
_SERIES = "series"


@dataclass
class MergedRun:
    """A run whose steps are one task.

    Attributes:
        resolve: gives the job; asked once in each series of attempts.
        workspace: the run's folders.
        tools: Storage, engine, keys, log.
        following: how to deal with containers that outlive their attempt.
        is_last: there is no attempt after this one.
        manifests: what each step reported, by its name, with its row in front.
    """

    resolve: Callable[[], Job]
    workspace: Workspace
    tools: Tools
    following: Following
    is_last: bool
    manifests: Manifests = field(default_factory=dict)

    def run(self) -> Manifests:
        """Do what is left to do, and clean up when there is no attempt to come.

        Raises:
            UserError: the configuration or the data must be changed.
            ApplicationError: it may work when tried again; the folders stay for that.
            StillRunningError: a container is left to somebody else; call again when it has ended.
        """
        try:
            job = self._job()
            images = perform(PULL_IMAGES, workspace=self.workspace, row_id="", tools=self.tools, manifests={})
            self.manifests[PULL_IMAGES.name] = images
            for row in job.rows:
                self._row(row, images)
        except (RunnerError, OSError) as error:
            if self.is_last or isinstance(error, UserError):
                # What went wrong first is what people must see, also when cleaning up fails for the same reason.
                with suppress(ApplicationError):
                    clean_up(self.workspace, self.tools, problem=str(error))
            raise
        clean_up(self.workspace, self.tools, problem="")
        return self.manifests

    def _job(self) -> Job:
        """The job of this series of attempts, from its first one on."""
        record = self.workspace.folder / _SERIES
        if record.exists() and record.read_text() == self.following.series:
            job = self.workspace.job()
            self.tools.log.info("Going on with %s where an earlier attempt stopped.", job.title)
        elif self.following.resumed and not self.workspace.folder.exists():
            # Whoever begins anew here does all of the work twice.
            raise other_folder(self.workspace.root)
        else:
            job = self.resolve()
            create_workspace(job, self.workspace, self.tools)
            write_whole(record, self.following.series)
        self.manifests[CREATE_WORKSPACE.name] = described(job, selected=[row.row_id for row in job.rows])
        return job

    def _row(self, row: JobDefinition, images: dict[str, Any]) -> None:
        folders = self.workspace.row(row.row_id)
        steps = steps_of(row)
        manifests: Manifests = {PULL_IMAGES.name: images}
        for step in steps:
            if step.on_failure:
                continue
            try:
                done = folders.done(step.name)
                manifests[step.name] = self._do(step, row, manifests) if done is None else done
            except (RunnerError, OSError) as error:
                if self.is_last or isinstance(error, UserError):
                    for other in (other for other in steps if other.on_failure and step.name in other.after):
                        self._do(other, row, manifests)
                raise
            self.manifests[_name(row, step)] = manifests[step.name]

    def _do(self, step: Step, row: JobDefinition, manifests: Manifests) -> dict[str, Any]:
        self.tools.log.info("%s", _name(row, step))
        following = self.following
        if step.stage is None:
            following = replace(following, leave_after=None, resumed=False)
        else:
            # The first container that is not done is the one that was left; those after it begin anew.
            self.following = replace(following, resumed=False)
        return perform(
            step,
            workspace=self.workspace,
            row_id=row.row_id,
            tools=self.tools,
            manifests=manifests,
            following=following,
        )


def _name(row: JobDefinition, step: Step) -> str:
    return f"{row.row_id}.{step.name}".lstrip(".")
