"""What ``docker-runner validate`` is to check: told by paths, by ids, or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.project_check import project_problems
from docker_runner.job.validation import Checked, checkable
from docker_runner.project.branches import DEFAULT_FOLDER
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.entries import Key
from docker_runner.settings import Settings

_MANIFEST = Path(".keboola") / "manifest.json"


@dataclass
class Targets:
    """What is checked: ids of components, and configurations with their projects.

    ``projects`` are what is wrong with projects as a whole; one that cannot be read at all has no configurations.
    ``unnamed`` are folders that the manifests of their projects leave out.
    """

    components: list[str] = field(default_factory=list)
    configurations: list[tuple[Project, Key]] = field(default_factory=list)
    projects: list[Checked] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)

    def add(self, project: Project, keys: Sequence[Key]) -> None:
        """Add configurations of a project, each once."""
        known = {(other.branch_folder, key) for other, key in self.configurations}
        self.configurations += [(project, key) for key in keys if (project.branch_folder, key) not in known]

    def add_unnamed(self, folders: Sequence[Path]) -> None:
        """Add folders that a manifest leaves out, each once."""
        self.unnamed += [folder for folder in folders if folder not in self.unnamed]

    def add_project(self, folder: Path, branch: str, registry: ComponentRegistry) -> None:
        """Add a whole project."""
        try:
            project = Project(folder, branch=branch)
        except ConfigurationError as error:
            self.projects.append(Checked("project", str(folder), folder, (error,)))
            return
        if wrong := project_problems(project, registry):
            self.projects.append(Checked("project", str(folder), folder, tuple(wrong)))
        self.add(project, list(checkable(project)))
        self.add_unnamed(project.unnamed())


def targets(texts: Sequence[str], settings: Settings, *, branch: str = "") -> Targets:
    """Find what is meant.

    Args:
        texts: each a path or ``<component>/<configuration>``; none means the project of the settings and all
            components.
        settings: which project and which components.
        branch: path or id of the branch, where a path does not tell it; empty for the default branch.

    Raises:
        UserError: a text is neither a path nor a configuration, or there is nothing to check at a path.
    """
    found = Targets()
    if not texts:
        registry = ComponentRegistry(settings.components)
        found.components = registry.ids()
        found.add_project(settings.project, branch, registry)
    for text in texts:
        path = Path(os.path.normpath(Path(text).absolute()))
        if path.exists():
            _add_path(found, path, settings, branch)
        else:
            _add_ids(found, text, settings, branch)
    return found


def _add_ids(found: Targets, text: str, settings: Settings, branch: str) -> None:
    component_id, slash, config_id = text.partition("/")
    if not (component_id and slash and config_id):
        raise UserError(f"{text!r} is neither a path that exists nor <component>/<configuration>.")
    project = Project(settings.project, branch=branch)
    entry = project.entry(component_id, config_id)
    found.add(project, [entry.key])


def _add_path(found: Targets, path: Path, settings: Settings, branch: str) -> None:
    registry = ComponentRegistry(settings.components)
    named = [name for name in registry.ids() if path in (settings.components, settings.components / f"{name}.json")]
    if named:
        found.components += [name for name in named if name not in found.components]
        return
    root = _root_of(path, settings)
    inner = path.relative_to(root).parts
    if not inner or not (root / inner[0]).is_dir() or inner[0].startswith("."):
        found.add_project(root, branch, registry)
        return
    project = Project(root, branch=inner[0])
    keys = [key for key in checkable(project) if _is_about(path, project, key)]
    unnamed = project.unnamed()
    found.add_unnamed([folder for folder in unnamed if path in folder.parents])
    if not keys:
        left_out = any(path == folder or folder in path.parents for folder in unnamed)
        why = f" {_MANIFEST} does not name it: `kbc local persist` adds it there." if left_out else ""
        raise UserError(f"There is no configuration at {path}.{why}")
    found.add(project, keys)


def _root_of(path: Path, settings: Settings) -> Path:
    """The project directory that a path lies in."""
    around = [path, *path.parents]
    for folder in around:
        if (folder / _MANIFEST).is_file() or folder == settings.project:
            return folder
    if (path / DEFAULT_FOLDER).is_dir():
        return path
    raise UserError(f"{path} is no project directory and lies in none; {_MANIFEST} makes a folder one.")


def _is_about(path: Path, project: Project, key: Key) -> bool:
    """Whether a path is that of a configuration, lies in it, or holds it."""
    try:
        folder = project.entry(*key).folder.absolute()
    except ConfigurationError:
        return False
    return path == folder or folder in path.parents or path in folder.parents
