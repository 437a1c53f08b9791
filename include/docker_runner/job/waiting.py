"""Waits for a container on behalf of a step that has left it: what a triggerer does for hundreds of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.containers import STOP_SECONDS
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.signals import ToldToEndError
from docker_runner.engine.waiting import stop, wait_for_container
from docker_runner.engine.wire import Wire
from docker_runner.errors import ApplicationError
from docker_runner.interface.data_folder import DataFolder
from docker_runner.job.component_log import ComponentLog
from docker_runner.job.containers import time_limit
from docker_runner.job.stages import redactor_of
from docker_runner.job.steps import clean_up
from docker_runner.job.supervision import RunRecord
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace
from docker_runner.project.component import Component


@dataclass(frozen=True)
class LeftContainer:
    """A container that a step has left; names and numbers only, fit to be stored anywhere.

    Attributes:
        job_id: its run.
        row_id: its row.
        position: its place among the row's images.
        container_id: the container.
    """

    job_id: str
    row_id: str
    position: int
    container_id: str

    async def wait(self, tools: Tools) -> None:
        """Show what it writes, from where the step stopped, until it ends; what it wrote is redacted (LG-22).

        Secrets are read from the workspace, in a thread, and stay in this process.

        Raises:
            RunnerError: the workspace, the engine or the container is gone.
        """
        watch = await asyncio.to_thread(self._prepare, tools)
        try:
            await wait_for_container(
                watch.wire,
                self.container_id,
                watch.new_log,
                timeout_seconds=watch.timeout_seconds,
                on_progress=watch.remember,
            )
        except ToldToEndError:
            await asyncio.to_thread(partial(watch.end, told_to_end=True))
            raise
        await asyncio.to_thread(watch.end)

    async def stop(self, tools: Tools) -> None:
        """Stop it, with some grace: somebody has cancelled its step."""
        await stop(await asyncio.to_thread(_wire, tools), self.container_id, seconds=int(STOP_SECONDS))

    async def clean_up(self, tools: Tools) -> None:
        """Remove what its run has left, when nobody else will."""
        await asyncio.to_thread(clean_up, Workspace(tools.settings.workspaces, self.job_id), tools)

    def _prepare(self, tools: Tools) -> _Watch:
        workspace = Workspace(tools.settings.workspaces, self.job_id)
        job = workspace.job()
        row = job.row(self.row_id)
        if row is None:
            raise ApplicationError(f"The row {self.row_id!r} is not part of this run.")
        folders = workspace.row(self.row_id)
        stage = row.stages[self.position]
        return _Watch(
            wire=_wire(tools),
            tools=tools,
            folder=folders.stage(self.position),
            data=folders.data(self.position, extension=stage.component.extension),
            redactor=redactor_of(job, row, folders, tools),
            timeout_seconds=time_limit(stage, row),
            component=row.component,
        )


@dataclass(frozen=True)
class _Watch:
    """What is needed to follow a container."""

    wire: Wire
    tools: Tools
    folder: Path
    data: DataFolder
    redactor: Redactor
    timeout_seconds: int
    component: Component

    def new_log(self) -> ContainerLog:
        lines = ComponentLog(self.tools.log.getChild("component"), self.component)
        return ContainerLog(lines.lines, self.redactor, position=self._record.position)

    def remember(self, log: ContainerLog) -> None:
        replace(self._record, position=log.position).write(self.folder)

    def end(self, *, told_to_end: bool = False) -> None:
        """It has ended: its secrets are not needed any more, and its whole log was shown."""
        self.data.remove_secrets(also_new_state=False)
        replace(self._record, whole=True, told_to_end=told_to_end).write(self.folder)

    @property
    def _record(self) -> RunRecord:
        record = RunRecord.read(self.folder)
        if record is None:
            raise ApplicationError("The folders of this run are gone.")
        return record


def _wire(tools: Tools) -> Wire:
    """The way to the engine; the connection that found it out is given back."""
    wire = Wire.of(tools.engine)
    tools.engine.close()
    return wire
