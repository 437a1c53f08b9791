"""All steps of a job in one process: what ``docker-runner run`` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ApplicationError, RunnerError, UserError
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.job.plan import PULL_IMAGES, Step, steps_of
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace

if TYPE_CHECKING:
    from filelock import FileLock

OnStep = Callable[[str, str, float], None]
_PATIENCE_SECONDS = 1.0


@dataclass
class JobResult:
    """What a job did: the manifest of each step, by row and step."""

    job: Job
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run_job(job: Job, tools: Tools, *, on_step: OnStep = lambda *_: None) -> JobResult:
    """Run a job from its first step to its last; clean up in every outcome.

    Args:
        job: what to run.
        tools: Storage, engine, keys, log.
        on_step: called with row, step and seconds after each step.

    Raises:
        UserError, ApplicationError: as the step that failed.
    """
    with only_run(job, tools):
        workspace = Workspace(tools.settings.workspaces, job.id)
        result = JobResult(job)
        try:
            _timed(result, "", "create_workspace", lambda: create_workspace(job, workspace, tools), on_step)
            pull = partial(perform, PULL_IMAGES, workspace=workspace, row_id="", tools=tools, manifests={})
            images = _timed(result, "", PULL_IMAGES.name, pull, on_step)
            for row in job.rows:
                _run_row(row, images, workspace=workspace, tools=tools, result=result, on_step=on_step)
        except BaseException as error:
            # What went wrong first is what the user must see, also when cleaning up fails for the same reason.
            with suppress(ApplicationError):
                clean_up(workspace, tools, problem=str(error) if isinstance(error, RunnerError) else "The run stopped.")
            raise
        _timed(result, "", "clean_up", lambda: clean_up(workspace, tools, problem=""), on_step)
        return result


def _run_row(
    row: JobDefinition,
    images: dict[str, Any],
    *,
    workspace: Workspace,
    tools: Tools,
    result: JobResult,
    on_step: OnStep,
) -> None:
    manifests = {PULL_IMAGES.name: images}

    def do(step: Step) -> None:
        work = partial(perform, step, workspace=workspace, row_id=row.row_id, tools=tools, manifests=manifests)
        manifests[step.name] = _timed(result, row.row_id, step.name, work, on_step)

    steps = steps_of(row)
    for step in steps:
        if step.on_failure:
            continue
        try:
            do(step)
        except (RunnerError, OSError):
            for other in steps:
                if other.on_failure and step.name in other.after:
                    do(other)
            raise


def _timed(result: JobResult, row_id: str, step: str, work: Callable[[], Any], on_step: OnStep) -> Any:
    begin = time.monotonic()
    manifest = work()
    seconds = time.monotonic() - begin
    name = f"{row_id}.{step}".lstrip(".")
    result.manifests[name] = manifest or {}
    result.seconds[name] = seconds
    on_step(row_id, step, seconds)
    return manifest


def only_run(job: Job, tools: Tools) -> AbstractContextManager[object]:
    """One run of a configuration at a time (D7): a second one on the same machine is refused, not mixed up.

    Runs that belong to no configuration never wait for each other (LC-11). Their locks tell that they are at work.
    """
    from filelock import Timeout

    tools.settings.workspaces.mkdir(parents=True, exist_ok=True)
    lock = _lock(tools.settings.workspaces, job.id)
    is_of_one_run = bool(job.rows) and not job.rows[0].config_id
    try:
        # Housekeeping holds it for a moment while it looks, or while it removes what an earlier run left.
        lock.acquire(timeout=_PATIENCE_SECONDS, poll_interval=0.05)
    except Timeout:
        if is_of_one_run:
            return nullcontext()
        raise UserError(f"{job.title} is running already; wait for it to finish.") from None
    return _held(lock, is_of_one_run=is_of_one_run)


def is_running(workspaces: Path, job_id: str) -> bool:
    """Whether a process of this machine is at work on this run of the command line."""
    from filelock import Timeout

    lock = _lock(workspaces, job_id)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def at_rest(workspaces: Path, job_id: str, *, seconds: float) -> Iterator[bool]:
    """Keep a run of the command line from beginning while the block lasts; tells whether it has ended by then.

    Args:
        workspaces: folder for the folders of runs.
        job_id: the run.
        seconds: how long to wait for its end.
    """
    from filelock import Timeout

    lock = _lock(workspaces, job_id)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.05)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _lock(workspaces: Path, job_id: str) -> FileLock:
    from filelock import FileLock

    return FileLock(workspaces / f"{Workspace(workspaces, job_id).folder.name}.lock")


@contextmanager
def _held(lock: FileLock, *, is_of_one_run: bool) -> Iterator[None]:
    """Give a lock back in the end; nobody needs one again that is a single run's own."""
    try:
        yield
    finally:
        if is_of_one_run:
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
