"""A process's working folder on its machine, and the removal of those of processes that were killed."""

from __future__ import annotations

import atexit
import os
import shutil
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from docker_runner.storage.lake.location import Location

if TYPE_CHECKING:
    from filelock import FileLock


class Scratch:
    """A folder of one open lake. It exists from its first use until :meth:`remove`, which its owner should call.

    A locked file beside the folder shows that its owner lives: the kernel takes the lock away from a killed process.
    """

    def __init__(self, location: Location) -> None:
        from filelock import FileLock

        self.folder = location.scratch / uuid.uuid4().hex
        self._lock = FileLock(self.folder.with_suffix(".lock"), thread_local=False)
        # Whoever forgets a lake, or ends with one that is open, leaves nothing behind.
        self._removal = weakref.finalize(self, _remove, self.folder, self._lock, os.getpid())

    @property
    def spill(self) -> Path:
        """Folder for what DuckDB cannot keep in memory; DuckDB makes and removes it."""
        self._show_owner()
        return self.folder.with_suffix(".spill")

    def new_file(self, suffix: str) -> Path:
        """A path in the folder that is not used yet."""
        self._show_owner()
        self.folder.mkdir(exist_ok=True)
        return self.folder / (uuid.uuid4().hex + suffix)

    def _show_owner(self) -> None:
        if not self._lock.is_locked:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            # By itself too: Airflow clears what was to be done at a process's end when it forks, not what comes after.
            atexit.register(self._removal)

    def clear(self) -> None:
        """Remove the files in the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder."""
        self._removal()
        atexit.unregister(self._removal)


def _remove(folder: Path, lock: FileLock, owner: int) -> None:
    if os.getpid() != owner:
        return  # a process that its owner has forked off
    for path in (folder, folder.with_suffix(".spill")):
        shutil.rmtree(path, ignore_errors=True)
    if lock.is_locked:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def remove_abandoned(location: Location) -> None:
    """Remove the folders whose owners are gone."""
    from filelock import FileLock, Timeout

    for path in location.scratch.glob("*.lock"):
        lock = FileLock(path)
        try:
            with lock.acquire(blocking=False):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                shutil.rmtree(path.with_suffix(".spill"), ignore_errors=True)
                path.unlink(missing_ok=True)
        except Timeout:
            continue  # its owner is at work
