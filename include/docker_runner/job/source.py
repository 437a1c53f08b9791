"""Where the configuration of a job comes from: the project, or the request itself (CF-38, CF-39, LC-82)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from docker_runner.documents import id_text
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.request import JobRequest
from docker_runner.project.branches import Branch
from docker_runner.project.component import Component
from docker_runner.project.configuration import Configuration, Project, Row

_BLOCKED = "dev-branch-job-blocked"
_UNSAFE = "dev-branch-configuration-unsafe"


@dataclass(frozen=True)
class Source:
    """The configuration of a job, before its rows are merged.

    Attributes:
        configuration: what is run.
        is_inline: it came with the request.
        config_exists: the project has a configuration with its id.
        stored: the stored root configuration beside an inline one; some of its settings count where neither request
            nor inline configuration has them (LC-82).
    """

    configuration: Configuration
    is_inline: bool = False
    config_exists: bool = True
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def files(self, row: Row | None) -> list[Path | str]:
        """The files of a row's effective configuration, the row's own first."""
        return [row.file, self.configuration.file] if row else [self.configuration.file]

    def tag(self, content: Mapping[str, Any]) -> str:
        """The image tag that an effective configuration asks for (LC-82); empty for the registered one."""
        runtime, stored = _runtime(content), _runtime(self.stored)
        if self.is_inline:
            # The older name counts in stored configurations only.
            return id_text(runtime.get("tag")) or id_text(stored.get("tag")) or id_text(stored.get("image_tag"))
        return id_text(runtime.get("tag")) or id_text(runtime.get("image_tag"))

    @property
    def values_id(self) -> str:
        """Id of the stored values of variables that an inline configuration takes over (VR-5)."""
        return id_text(self.stored.get("variables_values_id"))


def guard_branch(component: Component, branch: Branch) -> None:
    """Refuse a component that never runs in development branches (BR-12).

    Raises:
        UserError: the branch is one, and the component has the feature.
    """
    if not branch.is_default and _BLOCKED in component.features:
        raise UserError(f"The component {component.id} cannot be run in development branches such as {branch.path!r}.")


def source_of(project: Project, component: Component, config_id: str, request: JobRequest) -> Source:
    """Find the configuration of a job.

    Raises:
        UserError: neither request nor project has one, it is disabled (LC-84), or it may not run in this branch
            (BR-13).
    """
    if request.config_data:
        return _inline(project, component, config_id, request)
    if not config_id:
        raise UserError(f"Name a configuration of {component.id}, or give one with the run.")
    configuration = project.configuration(component.id, config_id)
    title = f"{component.id}/{config_id}"
    if configuration.is_disabled and not request.force:
        raise UserError(f"The configuration {title} is disabled: enable it in its meta.json, or run it with forceRun.")
    guard_configuration(configuration, component, project.branch)
    return Source(replace(configuration, configuration=_with_backend(configuration.configuration, request.backend)))


def guard_configuration(configuration: Configuration, component: Component, branch: Branch) -> None:
    """Refuse a stored configuration that may not run in a development branch (BR-13).

    Raises:
        ConfigurationError: its component wants it to be marked as safe, and its root is not.
    """
    is_safe = _runtime(configuration.configuration).get("safe")
    if not branch.is_default and _UNSAFE in component.features and not is_safe:
        raise ConfigurationError(
            f"The component {component.id} may write to where the default branch writes too: set runtime.safe to true "
            "when it is safe to run this configuration in a development branch.",
            file=configuration.file,
            key="runtime.safe",
        )


def _inline(project: Project, component: Component, config_id: str, request: JobRequest) -> Source:
    stored: Mapping[str, Any] = {}
    exists = bool(config_id) and project.has((component.id, config_id))
    if exists:
        stored = project.configuration(component.id, config_id).configuration
    content = _with_backend(dict(request.config_data), _backend(stored), request.backend)
    configuration = Configuration.inline(component.id, config_id, content, file=request.config_file)
    return Source(configuration, is_inline=True, config_exists=exists, stored=stored)


def _with_backend(content: dict[str, Any], *backends: Mapping[str, Any]) -> dict[str, Any]:
    """Put the backend of a job into the root of its configuration, where rows may still override it (RW-11, LC-82).

    Args:
        content: the root configuration.
        backends: one that counts where the configuration says nothing, if any, and last the request's, which wins.
    """
    *below, above = backends
    own = _backend(content)
    backend = {**{key: value for part in below for key, value in part.items()}, **_given(own), **above}
    nothing_new = not above and not _given(*below)
    if nothing_new or not isinstance(content.get("runtime") or {}, Mapping):
        return content
    return {**content, "runtime": {**_runtime(content), "backend": backend}}


def _given(*backends: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for backend in backends for key, value in backend.items() if value not in (None, "")}


def _runtime(content: Mapping[str, Any]) -> Mapping[str, Any]:
    runtime = content.get("runtime")
    return runtime if isinstance(runtime, Mapping) else {}


def _backend(content: Mapping[str, Any]) -> Mapping[str, Any]:
    backend = _runtime(content).get("backend")
    return backend if isinstance(backend, Mapping) else {}
