"""Where the configurations of a project lie that has no manifest: its folders are the ids."""

from __future__ import annotations

from collections.abc import Iterator
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


class FolderEntries:
    """The configurations of a project without manifest: ``<branch>/<type>/<component>/<configuration>``."""

    def __init__(self, folder: Path, ignored: Ignored) -> None:
        self._folder = folder
        self._entries = {
            entry.key: entry for entry in _found(folder, ignored) if not ignored.has(entry.parent or entry.key)
        }

    def keys(self) -> Iterator[Key]:
        """Those that can be run, by their folders."""
        return (key for key, entry in self._entries.items() if key[0] not in NOT_RUN and not entry.parent)

    def has(self, key: Key) -> bool:
        """Whether there is such a configuration that can be run."""
        return key in self._entries and key[0] not in NOT_RUN

    def get(self, key: Key) -> Entry | None:
        """The entry of a configuration."""
        return self._entries.get(key)

    def of(self, component_id: str) -> Iterator[Key]:
        """All configurations of a component, by their folders."""
        return (key for key in self._entries if key[0] == component_id)

    def at(self, path: str) -> Key | None:
        """The configuration that lies at a path of the branch."""
        wanted = self._folder / path.strip("/")
        return next((key for key, entry in self._entries.items() if entry.folder == wanted), None)

    def children(self, key: Key, component_id: str) -> list[Entry]:
        """The configurations of a component that belong to a configuration."""
        return [entry for entry in self._entries.values() if entry.parent == key and entry.key[0] == component_id]

    def unnamed(self) -> list[Path]:
        """None: folders name themselves."""
        return []


def _found(folder: Path, ignored: Ignored) -> Iterator[Entry]:
    for file in sorted(folder.glob("*/*/*/config.json")):
        config = file.parent
        key = config.parent.name, config.name
        name = "-".join(key)
        rows = tuple(
            (row.parent.name, row.parent)
            for row in sorted(config.glob("rows/*/config.json"))
            if (*key, row.parent.name) not in ignored.rows
        )
        yield Entry(key, folder=config, rows=rows)
        if (config / "variables" / "config.json").exists():
            values = {item.parent.name: item.parent for item in sorted(config.glob("variables/values/*/config.json"))}
            yield Entry(
                (VARIABLES_COMPONENT, name),
                folder=config / "variables",
                rows=tuple(values.items()),
                parent=key,
                default_row="default" if "default" in values else next(iter(values), ""),
            )
        for schedule in sorted(config.glob("schedules/*/config.json")):
            schedule_key = SCHEDULER_COMPONENT, f"{name}-{schedule.parent.name}"
            yield Entry(schedule_key, folder=schedule.parent, parent=key)
    for file in sorted(folder.glob("_shared/*/config.json")):
        codes = tuple((code.parent.name, code.parent) for code in sorted(file.parent.glob("codes/*/config.json")))
        shared = SHARED_CODE_COMPONENT, file.parent.name
        yield Entry(shared, folder=file.parent, rows=codes)
        for code_id, code in codes:
            if (code / "variables" / "config.json").exists():
                key = VARIABLES_COMPONENT, f"{file.parent.name}-{code_id}"
                yield Entry(key, folder=code / "variables", parent=shared)
