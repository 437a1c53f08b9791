"""One process of this machine at a time for what would otherwise be done twice."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from docker_runner.errors import ApplicationError

_POLL_SECONDS = 0.1


class LockBusyError(ApplicationError):
    """Another process holds a lock, and did not give it back in time."""


def lock_folder() -> Path:
    """Where this user's locks of this machine's engine lie: all installations of a machine share its engine.

    Raises:
        ApplicationError: the folder belongs to somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"docker-runner-images.{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ApplicationError(f"The folder {folder} belongs to another user; remove it.")
    return folder


@contextmanager
def one_at_a_time(name: str, *, seconds: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock of this machine; it ends with the process that holds it, however that ends.

    Args:
        name: what is locked.
        seconds: how long to wait for another process.
        waiting: called once when another process holds the lock.

    Raises:
        LockBusyError: it was not free in time.
    """
    from filelock import FileLock, Timeout

    path = lock_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        try:
            lock.acquire(timeout=seconds, poll_interval=_POLL_SECONDS)
        except Timeout:
            raise LockBusyError(f"Another run has been busy with {name} for {seconds:g} s.") from None
    try:
        yield
    finally:
        lock.release()
