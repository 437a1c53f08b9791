"""Folders for the time of a clone or a build, and what is left of them when a process was killed in its midst."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class Scratch(StrEnum):
    """What a folder is for; the beginning of its name."""

    BUILD = "docker-runner-build-"
    REPOSITORY = "docker-runner-git-"
    HOME = "docker-runner-home-"


@contextmanager
def scratch_folder(kind: Scratch) -> Iterator[Path]:
    """A folder that only this user can read, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix=kind) as folder:
        yield Path(folder)


def left_scratch_folders(older_than: timedelta) -> list[Path]:
    """This user's folders that nobody changed for so long; a clone or build that still works is younger than a day."""
    until = time.time() - older_than.total_seconds()
    return [path for path in sorted(_own_folders()) if path.lstat().st_mtime <= until]


def _own_folders() -> Iterator[Path]:
    for kind in Scratch:
        for path in Path(tempfile.gettempdir()).glob(f"{kind}*"):
            if path.is_dir() and not path.is_symlink() and path.lstat().st_uid == os.getuid():
                yield path
