"""Configurations as people write them: a project directory in the format of Keboola's ``kbc`` CLI.

::

    .keboola/manifest.json                              ids and paths of everything
    main/<type>/<component>/<configuration>/
        config.json  meta.json  description.md
        rows/<row>/{config.json,meta.json,description.md}
        variables/{config.json,values/<values>/config.json}
        schedules/<schedule>/config.json
        blocks/<block>/<code>/code.<ext>                code of transformations

Without a manifest the directory names are the ids.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from docker_runner.documents import read_json, read_object
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.blocks import with_code
from docker_runner.project.entries import (
    SCHEDULER_COMPONENT,
    VARIABLES_COMPONENT,
    Entries,
    Entry,
    FolderEntries,
    Key,
    ManifestEntries,
)
from docker_runner.project.schedule import Schedule


@dataclass(frozen=True)
class Row:
    """One row of a configuration, as written."""

    id: str
    name: str
    description: str
    is_disabled: bool
    configuration: dict[str, Any] = field(repr=False)
    file: Path


@dataclass(frozen=True)
class Configuration:
    """One configuration, as written: nothing merged, replaced or decrypted yet.

    ``version`` is a hash of the content: it changes when, and only when, something that a run uses changes (CF-2).
    """

    component_id: str
    id: str
    name: str
    description: str
    is_disabled: bool
    configuration: dict[str, Any] = field(repr=False)
    rows: tuple[Row, ...]
    schedules: tuple[Schedule, ...]
    version: str
    file: Path


class Project:
    """A project directory. Opening it reads only its manifest.

    Args:
        folder: the project directory.
        branch: name of the branch's folder.

    Raises:
        NotFoundError: there is no such directory.
        ConfigurationError: its manifest is wrong.
    """

    def __init__(self, folder: Path, *, branch: str = "main") -> None:
        self.folder = folder
        self.branch = branch
        if not folder.is_dir():
            raise NotFoundError(f"There is no project directory {folder}; DOCKER_RUNNER_PROJECT names the one to use.")
        self._manifest_file = folder / ".keboola" / "manifest.json"
        self._manifest = read_object(self._manifest_file, "project-manifest") if self._manifest_file.exists() else None

    @property
    def id(self) -> str:
        """The project's id, empty without a manifest."""
        return str((self._manifest or {}).get("project", {}).get("id", ""))

    @property
    def api_host(self) -> str:
        """The host name of the stack that the project was pulled from."""
        return str((self._manifest or {}).get("project", {}).get("apiHost", ""))

    @cached_property
    def _entries(self) -> Entries:
        if self._manifest is None:
            return FolderEntries(self.folder / self.branch)
        return ManifestEntries(self._manifest_file, self._manifest, folder=self.folder, branch=self.branch)

    def configurations(self) -> list[Key]:
        """Ids of the configurations that can be run, in the order of the manifest (or of the folders)."""
        return list(self._entries.keys())

    def has(self, key: Key) -> bool:
        """Whether there is such a configuration that can be run."""
        return self._entries.has(key)

    def entry(self, component_id: str, config_id: str) -> Entry:
        """Find a configuration by its ids.

        Raises:
            NotFoundError: there is none; the message names similar ones.
        """
        found = self._entries.get((component_id, config_id))
        if found is None:
            known = ["/".join(key) for key in self.configurations()]
            near = difflib.get_close_matches(f"{component_id}/{config_id}", known, n=3, cutoff=0.4)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise NotFoundError(
                f"There is no configuration {component_id}/{config_id} in the project {self.folder}.{hint}"
            )
        return found

    def configuration(self, component_id: str, config_id: str) -> Configuration:
        """Read one configuration with its rows and schedules.

        Raises:
            NotFoundError: there is no such configuration.
            ConfigurationError: one of its files cannot be read.
        """
        entry = self.entry(component_id, config_id)
        file = entry.folder / "config.json"
        meta = _read_meta(entry.folder)
        configuration = with_code(_read_map(file), entry.folder)
        rows = tuple(_read_row(row_id, folder) for row_id, folder in entry.rows)
        schedules = self._entries.children(entry.key, SCHEDULER_COMPONENT)
        self._relate_variables(entry, configuration)
        return Configuration(
            component_id=component_id,
            id=config_id,
            name=str(meta.get("name") or config_id),
            description=_read_description(entry.folder),
            is_disabled=bool(meta.get("isDisabled", False)),
            configuration=configuration,
            rows=rows,
            schedules=tuple(Schedule.read(child.folder / "config.json") for child in schedules),
            version=_version([configuration, *([row.id, row.is_disabled, row.configuration] for row in rows)]),
            file=file,
        )

    def _relate_variables(self, entry: Entry, configuration: dict[str, Any]) -> None:
        """Put back the ids of variables, which ``kbc`` keeps as a relation in the manifest instead."""
        for child in self._entries.children(entry.key, VARIABLES_COMPONENT)[:1]:
            configuration.setdefault("variables_id", child.key[1])
            if child.default_row:
                configuration.setdefault("variables_values_id", child.default_row)


def _read_row(row_id: str, folder: Path) -> Row:
    meta = _read_meta(folder)
    file = folder / "config.json"
    return Row(
        id=row_id,
        name=str(meta.get("name") or row_id),
        description=_read_description(folder),
        is_disabled=bool(meta.get("isDisabled", False)),
        configuration=_read_map(file),
        file=file,
    )


def _read_map(file: Path) -> dict[str, Any]:
    document = read_json(file)
    if document == []:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError("The file must hold a map.", file=file)
    return document


def _read_meta(folder: Path) -> dict[str, Any]:
    file = folder / "meta.json"
    return _read_map(file) if file.exists() else {}


def _read_description(folder: Path) -> str:
    file = folder / "description.md"
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""


def _version(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
