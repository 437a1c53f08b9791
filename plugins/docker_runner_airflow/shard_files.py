"""A DAG file for each shard of the project's configurations.

The files hold no more than the number of their shard and lie where the runner keeps its things, so nobody edits them.
Airflow parses them side by side, each well within the time that it gives a file. When the project changes, their time
stamps do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from docker_runner.errors import RunnerError
from docker_runner.project.configuration import Project
from docker_runner.project.shards import shard_count
from docker_runner.replacing import replace_text
from docker_runner.settings import Settings

_SHARE = 0.02
"""The most that looking for changes may take of one core; big projects are looked at less often."""

_FILE = '''"""DAGs of configurations: shard {shard}. Written by Docker Runner; what they do stands in the project."""

from docker_runner_airflow.dag_factory import build_dags

globals().update(build_dags(shard={shard}))
'''


class ShardFiles:
    """The files of the shards.

    Args:
        settings: which project; where the runner keeps its things.
        beside: a folder with DAG files that people write, which may read the project too.
    """

    def __init__(self, settings: Settings, *, beside: Path | None = None) -> None:
        self.settings = settings
        self.beside = beside
        self.folder = settings.home / "dags"
        self._seen: tuple[int, int] | None = None
        self._next_look = 0.0

    @property
    def _stamp(self) -> Path:
        return self.folder / ".written"

    def file(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / f"configurations_{shard:03d}.py"

    def all_there(self) -> bool:
        """Whether the files were written after any configuration came or went, told without reading one."""
        manifest = self.settings.project / ".keboola" / "manifest.json"
        # Without a manifest a new configuration changes the folder of its component: <branch>/<type>/<component>.
        places = [manifest] if manifest.exists() else list(self.settings.project.glob("*/*/*"))
        try:
            written = self._stamp.stat().st_mtime_ns
            return all(place.stat().st_mtime_ns <= written for place in places)
        except OSError:
            return False

    def write(self) -> None:
        """Write the missing files, and remove those of shards that are no more.

        While a project cannot be read the files stay: Airflow shows the error with each, and keeps their DAGs.
        """
        there = set(self.folder.glob("configurations_*.py"))
        try:
            project = Project(self.settings.project, branch=self.settings.branch)
            count = shard_count(len(project.runnable()))
        except RunnerError:
            count = len(there) or 1
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = {self.file(shard): _FILE.format(shard=shard) for shard in range(count)}
        for path, text in wanted.items():
            if not path.exists() or path.read_text() != text:
                replace_text(path, text, mode=0o644)
        for path in there - set(wanted):
            path.unlink(missing_ok=True)
        self._stamp.touch()

    def refresh(self) -> None:
        """Write the files when the project has changed since the last look, and have them parsed again."""
        begin = time.monotonic()
        if begin < self._next_look:
            return
        now = newest_change([self.settings.project, self.settings.components])
        if now != self._seen:
            self.write()
            if self._seen is not None:
                self.touch()
            self._seen = now
        self._next_look = time.monotonic() + (time.monotonic() - begin) / _SHARE

    def touch(self) -> None:
        """Have Airflow parse all files again: it looks at their time stamps."""
        beside = self.beside.rglob("*.py") if self.beside else ()
        for path in (*self.folder.glob("configurations_*.py"), *beside):
            # One that somebody has just removed, or that may not be touched, is parsed at the next interval.
            with suppress(OSError):
                os.utime(path)


def newest_change(folders: list[Path]) -> tuple[int, int]:
    """When folders last changed (nanoseconds), and how many entries they have.

    A folder's own time stamp changes when an entry is added, removed or renamed, so nothing goes unnoticed.
    """
    newest, count = 0, 0
    for folder in folders:
        for modified in _time_stamps(folder):
            newest = max(newest, modified)
            count += 1
    return newest, count


def _time_stamps(folder: Path) -> Iterator[int]:
    with suppress(OSError):
        yield folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _time_stamps(Path(entry.path))
                else:
                    yield entry.stat().st_mtime_ns
