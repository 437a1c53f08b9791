"""The branch and the component that a call names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path

if TYPE_CHECKING:
    from docker_runner.project.component import Component
    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings

ComponentPath = Annotated[str, Path(min_length=1, max_length=200, description="Id of a registered component.")]
BranchPath = Annotated[str, Path(min_length=1, max_length=200, description="Folder or id of a branch of the project.")]


def project_of(settings: Settings, branch: str = "") -> Project:
    """The project with a branch.

    Args:
        settings: name the project directory.
        branch: folder or id; empty for the one that this installation runs.

    Raises:
        NotFoundError: there is no such branch.
        ConfigurationError: the project's manifest is wrong.
    """
    from docker_runner.project.configuration import Project

    return Project(settings.project, branch=branch or settings.branch)


def component_of(settings: Settings, project: Project, component_id: str) -> Component:
    """A component, as the project's stack sees it.

    Raises:
        NotFoundError: it is not registered.
        ConfigurationError: its definition is wrong.
    """
    from docker_runner.project.component import ComponentRegistry, StackRegistry

    return StackRegistry(ComponentRegistry(settings.components), project.api_host).get(component_id)
