"""Where the configurations of a project lie that has no manifest: its folders are the ids.

Only what is asked for is looked at: there may be thousands of configurations, and a task needs one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from docker_runner.project.entries import (
    NOT_RUN,
    SCHEDULER_COMPONENT,
    SHARED_CODE_COMPONENT,
    VARIABLES_COMPONENT,
    Entry,
    Key,
)
from docker_runner.project.ignored import Ignored

_WITHIN_OTHERS = (VARIABLES_COMPONENT, SCHEDULER_COMPONENT)
"""Components whose configurations lie in the folders of others; their ids do not tell in which."""
_SHARED = "_shared"
_DEPTH = 3
"""Names in the path of a configuration: ``<type>/<component>/<configuration>``."""


class FolderEntries:
    """The configurations of a project without manifest: ``<branch>/<type>/<component>/<configuration>``."""

    def __init__(self, folder: Path, ignored: Ignored) -> None:
        self._folder = folder
        self._ignored = ignored
        self._known: dict[Key, Entry] = {}
        self._all_known = False

    @cached_property
    def _folders(self) -> dict[Key, Path]:
        """The folders of all configurations that do not lie in others."""
        folders = (file.parent for file in sorted(self._folder.glob("*/*/*/config.json")))
        found = {(folder.parent.name, folder.name): folder for folder in folders}
        return {key: folder for key, folder in found.items() if not self._ignored.has(key)}

    def keys(self) -> Iterator[Key]:
        """Those that can be run, by their folders."""
        return (key for key in self._folders if key[0] not in NOT_RUN)

    def has(self, key: Key) -> bool:
        """Whether there is such a configuration that can be run."""
        return key[0] not in NOT_RUN and self.get(key) is not None

    def get(self, key: Key) -> Entry | None:
        """The entry of a configuration."""
        if key not in self._known and not self._all_known:
            if key[0] in _WITHIN_OTHERS:
                self._look_at_all()
            else:
                self._look_at(key, self._folder_of(key))
            if key[0] == SHARED_CODE_COMPONENT:
                self._look_at_shared_code()
        return self._known.get(key)

    def of(self, component_id: str) -> Iterator[Key]:
        """All configurations of a component, by their folders."""
        if component_id not in (*_WITHIN_OTHERS, SHARED_CODE_COMPONENT):
            return (key for key in self._folders if key[0] == component_id)
        self._look_at_all()
        return (key for key in self._known if key[0] == component_id)

    def at(self, path: str) -> Key | None:
        """The configuration that lies at a path of the branch."""
        wanted = self._folder / path.strip("/")
        names = wanted.relative_to(self._folder).parts
        if names[:1] == (_SHARED,):
            self._look_at_shared_code()
        elif len(names) == _DEPTH:
            self.get((names[1], names[2]))
        else:
            self._look_at_all()
        return next((key for key, entry in self._known.items() if entry.folder == wanted), None)

    def children(self, key: Key, component_id: str) -> list[Entry]:
        """The configurations of a component that belong to a configuration."""
        self.get(key)
        return [entry for entry in self._known.values() if entry.parent == key and entry.key[0] == component_id]

    def unnamed(self) -> list[Path]:
        """None: folders name themselves."""
        return []

    def _folder_of(self, key: Key) -> Path | None:
        """The folder of one configuration, found without a look at all others."""
        if "/" in "".join(key) or {"", ".", ".."} & set(key):
            return None
        found: list[Path] = []
        # What can be no name of a folder is none.
        with suppress(OSError):
            found = sorted(path for path in self._folder.glob("*") if path.joinpath(*key, "config.json").exists())
        return found[-1].joinpath(*key) if found and not self._ignored.has(key) else None

    def _look_at_all(self) -> None:
        if not self._all_known:
            self._known.clear()
            for key, folder in self._folders.items():
                self._look_at(key, folder)
            self._look_at_shared_code()
            self._all_known = True

    def _look_at(self, key: Key, folder: Path | None) -> None:
        if folder:
            self._known.update((entry.key, entry) for entry in _configuration(key, folder, self._ignored))

    def _look_at_shared_code(self) -> None:
        entries = (entry for entry in _shared_code(self._folder) if not self._ignored.has(entry.parent or entry.key))
        self._known.update((entry.key, entry) for entry in entries)


def _configuration(key: Key, folder: Path, ignored: Ignored) -> Iterator[Entry]:
    """A configuration, and those that lie in its folder."""
    name = "-".join(key)
    rows = tuple(
        (row.parent.name, row.parent)
        for row in sorted(folder.glob("rows/*/config.json"))
        if (*key, row.parent.name) not in ignored.rows
    )
    yield Entry(key, folder=folder, rows=rows)
    if (folder / "variables" / "config.json").exists():
        values = {item.parent.name: item.parent for item in sorted(folder.glob("variables/values/*/config.json"))}
        yield Entry(
            (VARIABLES_COMPONENT, name),
            folder=folder / "variables",
            rows=tuple(values.items()),
            parent=key,
            default_row="default" if "default" in values else next(iter(values), ""),
        )
    for schedule in sorted(folder.glob("schedules/*/config.json")):
        schedule_key = SCHEDULER_COMPONENT, f"{name}-{schedule.parent.name}"
        yield Entry(schedule_key, folder=schedule.parent, parent=key)


def _shared_code(folder: Path) -> Iterator[Entry]:
    for file in sorted(folder.glob(f"{_SHARED}/*/config.json")):
        codes = tuple((code.parent.name, code.parent) for code in sorted(file.parent.glob("codes/*/config.json")))
        shared = SHARED_CODE_COMPONENT, file.parent.name
        yield Entry(shared, folder=file.parent, rows=codes)
        for code_id, code in codes:
            if (code / "variables" / "config.json").exists():
                key = VARIABLES_COMPONENT, f"{file.parent.name}-{code_id}"
                yield Entry(key, folder=code / "variables", parent=shared)
