"""Configurations as people write them: a project directory in the format of Keboola's ``kbc`` CLI.

::

    .keboola/manifest.json                              ids and paths of everything
    <branch>/meta.json                                  isDefault: whether it is the default branch
    <branch>/<type>/<component>/<configuration>/
        config.json  meta.json  description.md
        rows/<row>/{config.json,meta.json,description.md}
        variables/{config.json,values/<values>/config.json}
        schedules/<schedule>/{config.json,meta.json}
        blocks/<block>/<code>/code.<ext>                code of transformations
        phases/<phase>/{phase.json,<task>/task.json}    orchestrations and flows
    <branch>/_shared/<component>/                       shared code for a component
        config.json  codes/<piece>/{config.json,code.<ext>}

Without a manifest the directory names are the ids. Files that mean nothing here are left alone.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from docker_runner.documents import lines_shown, read_object
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.blocks import with_code
from docker_runner.project.branches import branch_of_folder, branch_of_manifest
from docker_runner.project.code_links import with_shared_code_ids
from docker_runner.project.core_files import read_description, read_map, read_meta
from docker_runner.project.entries import (
    FLOW_COMPONENTS,
    SCHEDULER_COMPONENT,
    VARIABLES_COMPONENT,
    Entries,
    Entry,
    Key,
    ManifestEntries,
)
from docker_runner.project.flow import Flow, flow_errors, phases_version, read_phases
from docker_runner.project.folder_entries import FolderEntries
from docker_runner.project.ignored import Ignored
from docker_runner.project.manifest_items import SCHEMA, read_manifest_again
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

    ``version`` is a hash of the content with code and rows: it changes when, and only when, one of them does (CF-2).
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
    file: Path | str

    @classmethod
    def inline(cls, component_id: str, config_id: str, content: dict[str, Any], *, file: Path | str) -> Configuration:
        """A configuration that comes with a job: it has neither rows nor a version (CF-39).

        Args:
            component_id: its component.
            config_id: the id that its results carry; may be empty.
            content: the configuration.
            file: what errors name as its file.
        """
        return cls(
            component_id=component_id,
            id=config_id,
            name=config_id or component_id,
            description="",
            is_disabled=False,
            configuration=content,
            rows=(),
            schedules=(),
            version="",
            file=file,
        )


class Project:
    """A project directory. Opening it reads only its manifest and which branch is the default one.

    Args:
        folder: the project directory.
        branch: path or id of the branch to read; empty for the default branch.
        was_read: somebody has read this manifest to the letter before. Each task of Airflow reads it again, and need
            neither look for keys that stand in it twice nor decode more of it than it asks for.

    Raises:
        NotFoundError: there is no such directory.
        ConfigurationError: its manifest is wrong, or has no such branch.
    """

    @lines_shown()
    def __init__(self, folder: Path, *, branch: str = "", was_read: bool = False) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise NotFoundError(f"There is no project directory {folder}; DOCKER_RUNNER_PROJECT names the one to use.")
        self._manifest_file = folder / ".keboola" / "manifest.json"
        self._manifest: dict[str, Any] | None = None
        if self._manifest_file.exists():
            read = read_manifest_again if was_read else partial(read_object, schema=SCHEMA)
            self._manifest = read(self._manifest_file)
        self._ignored = Ignored.read(folder, self._manifest)
        self._open(branch)

    @lines_shown()
    def in_branch(self, branch: str) -> Project:
        """The same project with another of its branches: its manifest is not read again.

        Args:
            branch: path or id of the branch; empty for the default branch.

        Raises:
            NotFoundError: it has no such branch.
        """
        other = copy(self)
        vars(other).pop("_entries", None)
        other._open(branch)
        return other

    def _open(self, branch: str) -> None:
        folder = self.folder
        if self._manifest is None:
            self.branch = branch_of_folder(folder, branch)
        else:
            self.branch = branch_of_manifest(folder, self._manifest, branch, file=self._manifest_file)
        if self._ignored.branches & {self.branch.path, self._branch_name()}:
            raise NotFoundError(f"The branch {self.branch.path!r} is ignored by {folder / '.keboola' / '.kbcignore'}.")

    @property
    def id(self) -> str:
        """The project's id, empty without a manifest."""
        return str((self._manifest or {}).get("project", {}).get("id", ""))

    @property
    def api_host(self) -> str:
        """The host name of the stack that the project was pulled from."""
        return str((self._manifest or {}).get("project", {}).get("apiHost", ""))

    @property
    def naming(self) -> dict[str, str]:
        """Templates of the paths of new things, as the manifest has them; empty without a manifest."""
        return dict((self._manifest or {}).get("naming") or {})

    @property
    def branch_folder(self) -> Path:
        """The folder of the branch that is read."""
        return self.folder / self.branch.path

    def _branch_name(self) -> str:
        return str(read_meta(self.branch_folder).get("name", "")) if self._ignored.branches else ""

    @cached_property
    def _entries(self) -> Entries:
        if self._manifest is None:
            return FolderEntries(self.branch_folder, self._ignored)
        return ManifestEntries(
            self._manifest_file, self._manifest, folder=self.folder, branch=self.branch, ignored=self._ignored
        )

    def configurations(self) -> list[Key]:
        """Ids of the configurations that can be run, in the order of the manifest (or of the folders)."""
        return list(self._entries.keys())

    def flows(self) -> list[Key]:
        """Ids of the orchestrations and flows, which :meth:`configurations` leaves out."""
        return [key for component_id in FLOW_COMPONENTS for key in self._entries.of(component_id)]

    def runnable(self) -> list[Key]:
        """Ids of everything that becomes a DAG: the configurations, then the flows."""
        return [*self.configurations(), *self.flows()]

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

    def named(self, component_id: str, config_id: str, *, key: str) -> Entry:
        """Find a configuration that another one names under a key.

        Raises:
            ConfigurationError: there is none; names the key.
        """
        try:
            return self.entry(component_id, config_id)
        except NotFoundError as error:
            raise ConfigurationError(str(error), key=key) from None

    def configurations_of(self, component_id: str) -> list[Key]:
        """Ids of all configurations of a component, also of one that is never run itself, e.g. of shared code."""
        return list(self._entries.of(component_id))

    def children(self, key: Key, component_id: str) -> list[Entry]:
        """The configurations of a component that belong to a configuration: its variables or schedules."""
        return self._entries.children(key, component_id)

    def belongs(self, key: Key) -> bool:
        """Whether a configuration belongs to another one of the project."""
        try:
            entry = self._entries.get(key)
            return bool(entry and entry.parent and self._entries.get(entry.parent))
        except ConfigurationError:
            return False

    def at(self, path: str) -> Key | None:
        """Ids of the configuration that lies at a path of the branch; None when there is none."""
        return self._entries.at(path)

    def unnamed(self) -> list[Path]:
        """Folders that look like configurations or rows, and are left alone since the manifest does not name them."""
        return self._entries.unnamed()

    @lines_shown()
    def configuration(self, component_id: str, config_id: str) -> Configuration:
        """Read one configuration with its rows and schedules.

        Raises:
            NotFoundError: there is no such configuration.
            ConfigurationError: one of its files cannot be read.
        """
        entry = self.entry(component_id, config_id)
        file = entry.folder / "config.json"
        meta = read_meta(entry.folder)
        configuration = with_code(read_map(file), entry.folder, component_id=component_id)
        configuration = with_shared_code_ids(configuration, self._entries, component_id=component_id, file=file)
        rows = tuple(_read_row(row_id, folder) for row_id, folder in entry.rows)
        schedules = self._entries.children(entry.key, SCHEDULER_COMPONENT)
        self._relate_variables(entry, configuration)
        return Configuration(
            component_id=component_id,
            id=config_id,
            name=str(meta.get("name") or config_id),
            description=read_description(entry.folder),
            is_disabled=meta.get("isDisabled", False),
            configuration=configuration,
            rows=rows,
            schedules=tuple(Schedule.read(child.folder / "config.json") for child in schedules),
            version=_version([configuration, *([row.id, row.is_disabled, row.configuration] for row in rows)]),
            file=file,
        )

    @lines_shown()
    def flow(self, component_id: str, config_id: str) -> Flow:
        """Read an orchestration or a flow with its phases, tasks and schedules.

        Raises:
            NotFoundError: there is no such flow.
            ConfigurationError: one of its files cannot be read, its phases have no order, or a task names what does
                not exist.
        """
        entry = self.entry(component_id, config_id)
        meta = read_meta(entry.folder)
        phases = read_phases(entry, self._entries)
        schedules = self._entries.children(entry.key, SCHEDULER_COMPONENT)
        return Flow(
            component_id=component_id,
            id=config_id,
            name=str(meta.get("name") or config_id),
            description=read_description(entry.folder),
            is_disabled=meta.get("isDisabled", False),
            phases=phases,
            schedules=tuple(Schedule.read(child.folder / "config.json") for child in schedules),
            version=phases_version(phases),
            file=entry.folder / "config.json",
        )

    def flow_errors(self, key: Key) -> list[ConfigurationError]:
        """Everything that is wrong with phases and tasks of a flow."""
        return flow_errors(self.entry(*key), self._entries)

    def _relate_variables(self, entry: Entry, configuration: dict[str, Any]) -> None:
        """Put back the ids of variables, which ``kbc`` keeps as a relation in the manifest instead."""
        for child in self._entries.children(entry.key, VARIABLES_COMPONENT)[:1]:
            configuration.setdefault("variables_id", child.key[1])
            if child.default_row:
                configuration.setdefault("variables_values_id", child.default_row)


def _read_row(row_id: str, folder: Path) -> Row:
    meta = read_meta(folder)
    file = folder / "config.json"
    return Row(
        id=row_id,
        name=str(meta.get("name") or row_id),
        description=read_description(folder),
        is_disabled=meta.get("isDisabled", False),
        configuration=read_map(file),
        file=file,
    )


def _version(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
