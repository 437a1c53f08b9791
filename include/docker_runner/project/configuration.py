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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from docker_runner.documents import read_json, read_object
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.blocks import with_code
from docker_runner.project.schedule import Schedule

VARIABLES_COMPONENT = "keboola.variables"
SHARED_CODE_COMPONENT = "keboola.shared-code"
SCHEDULER_COMPONENT = "keboola.scheduler"
_NOT_RUN = frozenset(
    {VARIABLES_COMPONENT, SHARED_CODE_COMPONENT, SCHEDULER_COMPONENT, "keboola.orchestrator", "keboola.flow"}
)


@dataclass(frozen=True)
class Entry:
    """Where one configuration lies; cheap to make, nothing of it is read yet.

    ``parent`` is the configuration that this one belongs to (variables, schedules); ``default_row`` the id of the row
    that is meant when none is named (values of variables).
    """

    component_id: str
    config_id: str
    folder: Path
    rows: tuple[tuple[str, Path], ...] = ()
    parent: tuple[str, str] | None = None
    default_row: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Component and configuration id."""
        return self.component_id, self.config_id


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
        manifest = folder / ".keboola" / "manifest.json"
        self._manifest = read_object(manifest, "project-manifest") if manifest.exists() else None

    @property
    def id(self) -> str:
        """The project's id, empty without a manifest."""
        return str((self._manifest or {}).get("project", {}).get("id", ""))

    @property
    def api_host(self) -> str:
        """The host name of the stack that the project was pulled from."""
        return str((self._manifest or {}).get("project", {}).get("apiHost", ""))

    @cached_property
    def _entries(self) -> dict[tuple[str, str], Entry]:
        found = self._from_manifest(self._manifest) if self._manifest is not None else self._from_folders()
        return {entry.key: entry for entry in found}

    def entries(self) -> list[Entry]:
        """The configurations that can be run, in the order of the manifest (or of the folders)."""
        return [entry for entry in self._entries.values() if entry.component_id not in _NOT_RUN and not entry.parent]

    def children(self, entry: Entry, component_id: str) -> list[Entry]:
        """The configurations of ``component_id`` that belong to ``entry``: its variables or schedules."""
        return [
            child
            for child in self._entries.values()
            if child.parent == entry.key and child.component_id == component_id
        ]

    def entry(self, component_id: str, config_id: str) -> Entry:
        """Find a configuration by its ids.

        Raises:
            NotFoundError: there is none; the message names similar ones.
        """
        found = self._entries.get((component_id, config_id))
        if found is None:
            known = [f"{entry.component_id}/{entry.config_id}" for entry in self.entries()]
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
        schedules = self.children(entry, SCHEDULER_COMPONENT)
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
        for child in self.children(entry, VARIABLES_COMPONENT)[:1]:
            configuration.setdefault("variables_id", child.config_id)
            if child.default_row:
                configuration.setdefault("variables_values_id", child.default_row)

    def _from_manifest(self, manifest: Mapping[str, Any]) -> Iterable[Entry]:
        file = self.folder / ".keboola" / "manifest.json"
        branches = {str(item["id"]): item["path"] for item in manifest["branches"] or []}
        branch_ids = [branch_id for branch_id, path in branches.items() if path == self.branch]
        if not branch_ids:
            raise ConfigurationError(
                f"There is no branch with the path {self.branch!r}; there are: {', '.join(branches.values())}.",
                file=file,
                key="branches",
            )
        own = [item for item in manifest["configurations"] or [] if str(item["branchId"]) in branch_ids]
        folders = {(item["componentId"], str(item["id"])): self.folder / self.branch / item["path"] for item in own}
        for item in own:
            parent = _parent(item)
            key = item["componentId"], str(item["id"])
            folder = folders[parent] / item["path"] if parent in folders else folders[key]
            rows = item.get("rows") or []
            defaults = [str(row["id"]) for row in rows if "variablesValuesFor" in _relation_types(row)]
            yield Entry(
                *key,
                folder=folder,
                rows=tuple((str(row["id"]), folder / row["path"]) for row in rows),
                parent=parent,
                default_row=defaults[0] if defaults else "",
            )

    def _from_folders(self) -> Iterable[Entry]:
        for file in sorted((self.folder / self.branch).glob("*/*/*/config.json")):
            folder = file.parent
            key = folder.parent.name, folder.name
            rows = tuple((row.parent.name, row.parent) for row in sorted(folder.glob("rows/*/config.json")))
            yield Entry(*key, folder=folder, rows=rows)
            if (folder / "variables" / "config.json").exists():
                values = [
                    (item.parent.name, item.parent) for item in sorted(folder.glob("variables/values/*/config.json"))
                ]
                yield Entry(
                    VARIABLES_COMPONENT,
                    f"{folder.parent.name}-{folder.name}",
                    folder=folder / "variables",
                    rows=tuple(values),
                    parent=key,
                    default_row="default" if "default" in dict(values) else (values[0][0] if values else ""),
                )
            for schedule in sorted(folder.glob("schedules/*/config.json")):
                schedule_id = f"{folder.parent.name}-{folder.name}-{schedule.parent.name}"
                yield Entry(SCHEDULER_COMPONENT, schedule_id, folder=schedule.parent, parent=key)


def _parent(item: Mapping[str, Any]) -> tuple[str, str] | None:
    for relation in item.get("relations") or []:
        if relation["type"] in ("variablesFor", "schedulerFor"):
            return str(relation.get("componentId", "")), str(relation.get("configId", ""))
    return None


def _relation_types(row: Mapping[str, Any]) -> list[str]:
    return [str(relation.get("type")) for relation in row.get("relations") or []]


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
