"""Removes what runs have left that ended without cleaning up: secrets, containers, folders, images.

Only what is this installation's own is ever touched: folders of its workspaces, containers that carry the runner's
labels *and* work in one of these folders, images that the runner built.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from docker_runner.engine.built_images import remove_unused_images
from docker_runner.engine.client import engine_errors
from docker_runner.engine.scratch import left_scratch_folders
from docker_runner.errors import ApplicationError, UserError
from docker_runner.interface.data_folder import EXTENSIONS, DataFolder
from docker_runner.job.event_log import store_left_events
from docker_runner.job.own_containers import OwnContainer, own_containers
from docker_runner.job.run import at_rest, is_running
from docker_runner.job.supervision import RunRecord
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import Workspace, remove_tree

_UNITS = {"d": 86_400, "h": 3600, "m": 60}
_MOST_DIGITS = 5
_ATTEMPTS = 10
# A run whose container was removed just now needs a moment to end.
_SECONDS_TO_END = 10
# Nothing that a clone or build still works on is as old.
_SCRATCH_AGE = timedelta(days=1)

# Whether a run is still at work; None when nobody can say.
IsAlive = Callable[[str], bool | None]


@dataclass(frozen=True)
class Limits:
    """How old something must be to be removed.

    Attributes:
        ended: what belongs to a run that has ended.
        unknown: what belongs to a run of which nobody knows whether it has ended, and that has no running container.
        images: images built from git repositories, since their last use.
    """

    ended: timedelta
    unknown: timedelta
    images: timedelta


@dataclass
class Cleaned:
    """What was removed, or would be: names of containers and folders, ids of images.

    Of the folders in ``secrets`` only what they held in plain text.
    """

    containers: list[str] = field(default_factory=list)
    workspaces: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)


def clean(tools: Tools, limits: Limits, *, is_alive: IsAlive | None = None, dry_run: bool = False) -> Cleaned:
    """Remove what runs left that are over; secrets first, and those at once when their run has ended.

    A run outlives whoever watched it when everything is killed at once; its containers are stopped here.

    Args:
        tools: the engine, the settings, the log.
        limits: how old things must be.
        is_alive: tells by a run's identity whether it is still at work; by default only runs of the command line can
            be told.
        dry_run: only tell what would be removed.

    Returns:
        What was removed.

    Raises:
        ApplicationError: something could not be removed; everything else was.
    """
    cleaned = Cleaned()
    problems: list[str] = []
    containers: list[OwnContainer] = []
    try:
        containers = list(own_containers(tools))
    except ApplicationError as error:
        problems.append(str(error))
    judge = _Judge(
        is_alive or (lambda job_id: is_running_here(tools, job_id)),
        limits,
        # Without the engine nobody knows whose container runs: then what may be at work stays.
        busy=None if problems else {container.job_id for container in containers if container.is_at_work},
    )
    folders = [folder for folder in _folders(tools) if judge.is_over(_job_id(folder), _last_change(folder))]
    over = [item for item in containers if judge.is_over(item.job_id, item.created)]
    work: list[tuple[list[str], str, Callable[[], bool]]] = [
        *((cleaned.containers, item.name, partial(_remove_container, tools, item, judge)) for item in over),
        *((cleaned.workspaces, folder.name, partial(_remove_folder, tools, folder, judge)) for folder in folders),
        *((cleaned.workspaces, folder.name, partial(_remove_scratch, folder)) for folder in _scratch(limits)),
    ]
    # Secrets first: whatever fails behind this, they are gone.
    for folder in _folders(tools):
        try:
            if _remove_secrets(tools, folder, judge, dry_run=dry_run) and folder not in folders:
                cleaned.secrets.append(folder.name)
        except OSError as error:
            problems.append(str(error))
    for names, name, remove in work:
        try:
            if dry_run or remove():
                names.append(name)
        except (ApplicationError, OSError) as error:
            problems.append(str(error))
    try:
        cleaned.images += remove_unused_images(tools.engine, limits.images, dry_run=dry_run)
    except ApplicationError as error:
        problems.append(str(error))
    if problems:
        raise ApplicationError(" ".join(dict.fromkeys(problems)))
    return cleaned


def is_running_here(tools: Tools, job_id: str) -> bool | None:
    """Whether a run of the command line holds its lock; None for runs that have none, such as Airflow's."""
    return is_running(tools.settings.workspaces, job_id) if _is_of_command_line(job_id) else None


@dataclass(frozen=True)
class _Judge:
    """Knows what is over.

    Attributes:
        alive: asked anew each time: a run may begin while this looks around.
        limits: how old things must be.
        busy: runs with a container that is at work; None when nobody knows.
    """

    alive: IsAlive
    limits: Limits
    busy: Set[str] | None

    def needs_no_secrets(self, job_id: str, changed: float) -> bool:
        """Whether neither a process nor a container can be reading the secrets of a run any more, however old it is."""
        has_ended = bool(job_id) and self.alive(job_id) is False
        is_at_rest = self.busy is not None and job_id not in self.busy
        return (has_ended and is_at_rest) or self.is_over(job_id, changed)

    def is_over(self, job_id: str, changed: float) -> bool:
        """Whether what belongs to a run, and changed last then, may go."""
        age = timedelta(seconds=time.time() - changed)
        if age < min(self.limits.ended, self.limits.unknown):
            return False
        state = self.alive(job_id) if job_id else None
        if state is None:
            return age >= self.limits.unknown and self.busy is not None and job_id not in self.busy
        return not state and age >= self.limits.ended


@contextmanager
def _at_rest(tools: Tools, folder: Path, may_go: Callable[[str, float], bool]) -> Iterator[bool]:
    """Whether a run's folder may still go; one of the command line does not begin anew while the block lasts."""
    job_id = _job_id(folder)
    try:
        is_over = may_go(job_id, _last_change(folder))
    except FileNotFoundError:
        is_over = False  # its run has removed it itself
    if not is_over or not _is_of_command_line(job_id):
        yield is_over
        return
    with at_rest(tools.settings.workspaces, job_id, seconds=_SECONDS_TO_END) as is_at_rest:
        yield is_at_rest and _job_id(folder) == job_id


def _is_of_command_line(job_id: str) -> bool:
    return job_id.startswith("cli.") and "/" not in job_id


def _folders(tools: Tools) -> Sequence[Path]:
    root = tools.settings.workspaces
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and _is_workspace(path))


def _is_workspace(folder: Path) -> bool:
    """Whether the runner made it: it has the runner's own parts, and nothing else."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".job.json.")}
    return names <= {"job.json", "rows", "events"}


def _job_id(folder: Path) -> str:
    """The run that a folder belongs to; empty when it was left before that was written."""
    try:
        document = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    job_id = document.get("id") if isinstance(document, dict) else None
    known = isinstance(job_id, str) and Workspace(folder.parent, job_id).folder.name == folder.name
    return str(job_id) if known else ""


def _last_change(folder: Path) -> float:
    """When a step last began or ended in it."""
    changed = (
        path.lstat().st_mtime for part in ("rows/*/manifests/*", "rows/*/stages/*") for path in folder.glob(part)
    )
    return max([folder.lstat().st_mtime, *changed])


def _remove_secrets(tools: Tools, folder: Path, judge: _Judge, *, dry_run: bool) -> bool:
    """Remove the files that hold secrets in plain text while a container runs; whether there were any."""
    data = [DataFolder(root, extension) for root in folder.glob("rows/*/stages/*/data") for extension in EXTENSIONS]
    if not any(one.secret_files() for one in data):
        return False
    with _at_rest(tools, folder, judge.needs_no_secrets) as is_at_rest:
        if is_at_rest and not dry_run:
            for one in data:
                if one.secret_files():
                    # Without the new state that it left, whoever takes up the run again must run the container again.
                    RunRecord.forget(one.root.parent)
                one.remove_secrets()
        return is_at_rest


def _remove_folder(tools: Tools, folder: Path, judge: _Judge) -> bool:
    """Remove a folder that a run, whose container was stopped just now, may be removing itself; keep its events."""
    with _at_rest(tools, folder, judge.is_over) as is_at_rest:
        if is_at_rest:
            store_left_events(folder, tools.ledger, tools.log)
            for _ in range(_ATTEMPTS):
                with suppress(FileNotFoundError):
                    remove_tree(folder)
                    return True
            remove_tree(folder)
    return not folder.exists()


def _scratch(limits: Limits) -> Sequence[Path]:
    """Source code that clones and builds left which were killed."""
    return left_scratch_folders(max(limits.unknown, _SCRATCH_AGE))


def _remove_scratch(folder: Path) -> bool:
    remove_tree(folder)
    return True


def _remove_container(tools: Tools, container: OwnContainer, judge: _Judge) -> bool:
    from docker.errors import APIError

    if not judge.is_over(container.job_id, container.created):
        return False
    with engine_errors(tools.engine, f"Removing the container {container.name}"):
        try:
            tools.engine.client.remove_container(container.id, force=True, v=True)
        except APIError as error:
            # Gone, or being removed by somebody else.
            if error.status_code not in (404, 409):
                raise
    return True


def as_text(cleaned: Cleaned, *, dry_run: bool) -> str:
    """What people read of it."""
    kinds = {"containers": cleaned.containers, "workspaces": cleaned.workspaces, "images": cleaned.images}
    numbers = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items())
    lines = [f"  {kind[:-1]} {name}" for kind, names in kinds.items() for name in names]
    lines += [f"  secrets in workspace {name}" for name in cleaned.secrets]
    return "\n".join([f"{'Would remove' if dry_run else 'Removed'} {numbers}.", *lines])


def period(text: str, *, option: str) -> timedelta:
    """A time as people write it: ``7d``, ``12h``, ``30m``; a number alone is days.

    Raises:
        UserError: it is none; names the option.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "d")
    if not (number.isascii() and number.isdecimal()) or len(number) > _MOST_DIGITS:
        raise UserError(f"{option} must be a time such as 7d, 12h or 30m, not {text!r}.")
    return timedelta(seconds=int(number) * _UNITS[unit])
