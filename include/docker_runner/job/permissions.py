"""Whose the files of a data folder are: the container user's, then the worker's own again (DF-30..DF-33)."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from docker_runner.engine.client import Engine
from docker_runner.engine.containers import ContainerSpec, run_container
from docker_runner.errors import ApplicationError

_SECONDS = 120
_ATTEMPTS = 3
_PAUSE_SECONDS = (60, 180)
_COMMANDS = "chown -R {user} /data /tmp && chmod -R u+rwX /data /tmp"


def container_user(uid: int) -> str:
    """The user of a container: the worker's own; for a root worker an unprivileged one (D11)."""
    if os.geteuid() != 0:
        return f"{os.geteuid()}:{os.getegid()}"
    return f"{uid}:{uid}"


def hand_over(user: str | None, folder: Path) -> None:
    """Give the folders to the container's user; only root can and needs to."""
    if user is None or os.geteuid() != 0:
        return
    uid, gid = (int(part) for part in user.split(":"))
    for parent, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(parent) / name, uid, gid, follow_symlinks=False)


def take_over(spec: ContainerSpec, engine: Engine) -> None:
    """Make what a container that ran as root left in its folders the worker's own, to read and to change (DF-33).

    A root worker does so itself. Any other one lets root do it in a second container of the same image.

    Args:
        spec: the container that has ended.
        engine: where it ran.

    Raises:
        ApplicationError: it does not end in time or fails, also when tried again.
    """
    if os.geteuid() == 0:
        for folder in (spec.data, spec.tmp):
            _normalise(folder)
    else:
        normalise_in_container(spec, engine, user=f"{os.geteuid()}:{os.getegid()}")


def _normalise(folder: Path) -> None:
    for parent, folders, files in os.walk(folder):
        # Of a folder only its content is listed before it is entered, so its own permissions come first.
        for path in (Path(parent), *(Path(parent) / name for name in (*folders, *files))):
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                may_run = stat.S_ISDIR(mode) or mode & 0o111
                path.chmod(stat.S_IMODE(mode) | (0o700 if may_run else 0o600))


def normalise_in_container(spec: ContainerSpec, engine: Engine, *, user: str) -> None:
    """Give the folders of a container to a user, by commands of its own image that run as root."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

    helper = replace(
        spec,
        name=f"{spec.name}-permissions",
        command=("sh", "-c", _COMMANDS.format(user=user)),
        user="0:0",
        environment={},
        network="none",
        timeout_seconds=_SECONDS,
    )
    for attempt in Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random(*_PAUSE_SECONDS),
        retry=retry_if_exception_type(_TooSlowError),
        reraise=True,
    ):
        with attempt:
            _normalise_once(helper, engine)


class _TooSlowError(ApplicationError):
    """The command did not end in time, which it may when tried again."""


def _normalise_once(spec: ContainerSpec, engine: Engine) -> None:
    problem = "The permissions of the files that the component wrote could not be normalised"
    outcome = run_container(engine, spec, lambda *_: None)
    if outcome.timed_out:
        raise _TooSlowError(f"{problem} within {spec.timeout_seconds} seconds.")
    if outcome.exit_code:
        raise ApplicationError(f"{problem}: {outcome.stderr_tail.strip()[-500:] or outcome.exit_code}.")
