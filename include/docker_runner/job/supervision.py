"""A container outlives the attempt that started it: what the next attempt must know to go on with it.

Beside the data folder of a stage lies a small record. It says to which series of attempts the container belongs and how
much of its log has been shown. Together with the labels of the container that is all that is needed to go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.containers import find_container
from docker_runner.engine.log_position import LogPosition
from docker_runner.engine.watching import Leaving
from docker_runner.errors import ApplicationError
from docker_runner.job.containers import LABEL_ATTEMPT, StageRun, container_name
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace, Workspace, write_whole

_RECORD = "run.json"
# Of a row: which attempt has begun a step of it last.
_FOLLOWER = "follower"
_GONE = (
    "The container is gone: somebody removed or stopped it, the Docker engine was started anew, or this is not the "
    "engine that started it, and all workers must use one. The next attempt starts another one."
)


@dataclass(frozen=True)
class Following:
    """How a step deals with a container that outlives it.

    Attributes:
        series: the attempts that belong together, a first one and its retries; empty where there are no retries. A
            container is only taken over by an attempt of the same series: whoever repeats a step by hand wants it anew.
        leave_after: seconds until the step asks whether it may leave its container to somebody else; None never does.
        may_leave: whether somebody does.
        resumed: this attempt has left its container to somebody, and goes on now.
        watched: that somebody has seen how it ended.
        problem: why he has not.
        attempt: identity of this attempt, by which it knows later whether another one has followed; empty where there
            is only one.
    """

    series: str = ""
    leave_after: float | None = None
    may_leave: Callable[[], bool] = field(default=lambda: True, repr=False)
    resumed: bool = False
    watched: bool = False
    problem: str = ""
    attempt: str = ""

    @property
    def leaving(self) -> Leaving | None:
        """The same for the engine's part."""
        return None if self.leave_after is None or self.resumed else Leaving(self.leave_after, self.may_leave)


# Where there are no retries and nobody else: the command line.
TO_THE_END = Following()


class StillRunningError(Exception):
    """A container is left running, to be waited for by somebody else; no failure.

    Args:
        container_id: the container.
        position: its place among the row's images.
        row_id: the row.
    """

    def __init__(self, container_id: str, position: int, row_id: str = "") -> None:
        super().__init__(f"The container {container_id[:12]} is still running.")
        self.container_id = container_id
        self.position = position
        self.row_id = row_id


@dataclass(frozen=True)
class RunRecord:
    """What is known of a container that was started.

    Attributes:
        series: as of :class:`Following`.
        position: how far its log has been shown.
        whole: its whole log has been shown.
        told_to_end: somebody else has told it to end: it has not done its work, whatever its exit code.
        artifacts: ids of the artifacts that were fetched for it.
        gelf_port: where it sends its GELF messages; 0 if it sends none.
    """

    series: str
    position: LogPosition = field(default_factory=LogPosition)
    whole: bool = False
    told_to_end: bool = False
    artifacts: tuple[int, ...] = ()
    gelf_port: int = 0

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """The record of a stage's folder; None when no container of it was ever about to start."""
        try:
            content = json.loads((folder / _RECORD).read_text())
        except FileNotFoundError:
            return None
        known = {"artifacts": tuple(content["artifacts"]), "position": LogPosition(**content["position"])}
        return cls(**{**content, **known})

    @classmethod
    def forget(cls, folder: Path) -> None:
        """Let no later attempt take the results of the container that has ended in a stage's folder."""
        (folder / _RECORD).unlink(missing_ok=True)

    def write(self, folder: Path) -> None:
        """Keep it; a folder that is gone stays away."""
        if folder.is_dir():
            write_whole(folder / _RECORD, json.dumps(asdict(self)))


def follow(folders: RowWorkspace, following: Following) -> None:
    """Write down that this attempt is at work in a row now, whoever was before."""
    if following.attempt and folders.folder.is_dir():
        write_whole(folders.folder / _FOLLOWER, following.attempt)


def has_been_followed(workspace: Workspace, attempt: str, *, row_id: str | None = None) -> bool:
    """Whether another attempt is at work in a row, or in the whole run, after this one.

    A worker that was suspended too long learns only then that its task is another worker's now.

    Args:
        workspace: the run's folders.
        attempt: as of :class:`Following`.
        row_id: the row; by default all rows, of which the one that was begun last tells.
    """
    files = [workspace.row(row_id).folder / _FOLLOWER] if row_id is not None else _followers(workspace)
    found = []
    for file in files:
        with suppress(FileNotFoundError):
            found.append((file.stat().st_mtime_ns, file.read_text()))
    return bool(attempt and found) and max(found)[1] != attempt


def _followers(workspace: Workspace) -> list[Path]:
    return list(workspace.folder.glob(f"rows/*/{_FOLLOWER}"))


def running_or_ended(run: StageRun, folders: RowWorkspace, following: Following, tools: Tools) -> ContainerState | None:
    """The container that an earlier attempt of the same series has started for this very folder, to go on with.

    Not taken is one that was stopped while nobody watched, e.g. with the engine: it has not done its work.

    Raises:
        ApplicationError: this attempt itself had left its container to somebody, and it is gone.
    """
    found = _found(run, folders, following, tools)
    if found is None and following.resumed:
        raise ApplicationError(following.problem or _GONE)
    return found


def _found(run: StageRun, folders: RowWorkspace, following: Following, tools: Tools) -> ContainerState | None:
    position = run.row.stages.index(run.stage)
    record = RunRecord.read(folders.stage(position))
    if record is None or not following.series or record.series != following.series:
        return None
    state = find_container(
        tools.engine, container_name(run.stage, run.job, run.row, installation=tools.settings.installation)
    )
    if state is None or state.labels.get(LABEL_ATTEMPT) != folders.attempt(position):
        return None
    if state.running:
        if not following.resumed:
            tools.log.info("Found the container of an earlier attempt still running; following it.")
        return state
    if not state.ended:
        return None
    stopped = not following.watched and state.was_stopped and not state.at_time_limit(run.time_limit)
    if record.told_to_end or stopped:
        tools.log.warning(
            "The container of an earlier attempt was stopped from outside (exit code %d); it is run again.",
            state.exit_code,
        )
        return None
    if not following.resumed:
        tools.log.info("Found the container of an earlier attempt, which has ended meanwhile; taking its results.")
    return state


def finished_before(step: str, position: int, folders: RowWorkspace, following: Following) -> dict[str, Any] | None:
    """What this step reported when an earlier attempt of the same series finished it but could not tell any more."""
    record = RunRecord.read(folders.stage(position))
    if record is None or not following.series or record.series != following.series:
        return None
    return folders.done(step)
