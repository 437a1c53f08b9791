"""Notices that the project has changed, and has Airflow parse the DAG files again.

Airflow looks at the time stamps of DAG files, not at what these files read. The configurations stand elsewhere, so a
changed one would show only after ``[dag_processor] min_file_process_interval``. Here the time stamps of the project are
looked at every second or so, and a change is passed on by touching the DAG files.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

LOOK_SECONDS = 1.0
SHARE = 0.02
"""The most that looking may take of one core; big projects are looked at less often."""


class ProjectChanges:
    """Watches folders and touches DAG files when something in the folders changes.

    Args:
        watched: folders whose files are read by the DAG files.
        dags_folder: folder with the DAG files.
    """

    def __init__(self, *, watched: list[Path], dags_folder: Path) -> None:
        self._watched = watched
        self._dags_folder = dags_folder
        self._seen = newest_change(watched)

    @classmethod
    def from_environment(cls) -> ProjectChanges:
        """Watch the project and the components that the environment names."""
        names = ("DOCKER_RUNNER_PROJECT", "DOCKER_RUNNER_COMPONENTS")
        return cls(
            watched=[Path(os.environ[name]) for name in names if os.environ.get(name)],
            dags_folder=Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]),
        )

    def look(self) -> float:
        """Touch the DAG files when the project has changed; return the seconds to wait before the next look."""
        started = time.monotonic()
        now = newest_change(self._watched)
        if now != self._seen:
            self._seen = now
            touch_dag_files(self._dags_folder)
        return max(LOOK_SECONDS, (time.monotonic() - started) / SHARE)


def newest_change(folders: list[Path]) -> tuple[int, int]:
    """When the folders last changed (nanoseconds), and how many entries they have.

    A folder's own time stamp changes when an entry is added, removed or renamed, so nothing goes unnoticed.
    """
    newest, count = 0, 0
    for folder in folders:
        for modified in _time_stamps(folder):
            newest = max(newest, modified)
            count += 1
    return newest, count


def touch_dag_files(dags_folder: Path) -> None:
    """Make Airflow parse all DAG files again, within a second or two."""
    for path in dag_files(dags_folder):
        # A file that somebody has just removed, or that may not be touched, is parsed at the next interval.
        with contextlib.suppress(OSError):
            os.utime(path)


def dag_files(dags_folder: Path) -> list[Path]:
    """The Python files below the DAGs folder."""
    return [path for path in dags_folder.rglob("*.py") if "__pycache__" not in path.parts]


def _time_stamps(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _time_stamps(Path(entry.path))
                else:
                    yield entry.stat().st_mtime_ns
