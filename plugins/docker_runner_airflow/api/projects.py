"""The branch and the component that a call names."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import fastapi

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from docker_runner.project.component import Component
    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings

ComponentPath = Annotated[str, fastapi.Path(min_length=1, max_length=200, description="Id of a registered component.")]
BranchPath = Annotated[
    str, fastapi.Path(min_length=1, max_length=200, description="Folder or id of a branch of the project.")
]


_read: ContextVar[dict[tuple[Path, str], Project] | None] = ContextVar("_read", default=None)


class ReadOnce:
    """Has the manifest of a project read once for each request, however many branches and parts the request looks at.

    ASGI middleware. So nothing changes either while a request is at work.

    Args:
        app: what is behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        token = _read.set({})
        try:
            await self._app(scope, receive, send)
        finally:
            _read.reset(token)


def open_project(folder: Path, branch: str) -> Project:
    """A project with a branch, as this request has read it.

    Args:
        folder: the project directory.
        branch: folder or id; empty for the default one.

    Raises:
        NotFoundError: there is no such branch.
        ConfigurationError: the project's manifest is wrong.
    """
    from docker_runner.project.configuration import Project

    known = _read.get()
    if known is None:
        return Project(folder, branch=branch)
    if (folder, branch) not in known:
        read = next((project for project in known.values() if project.folder == folder), None)
        known[folder, branch] = read.in_branch(branch) if read else Project(folder, branch=branch)
    return known[folder, branch]


def project_of(settings: Settings, branch: str = "") -> Project:
    """The project of this installation with a branch.

    Args:
        settings: name the project directory.
        branch: folder or id; empty for the one that this installation runs.

    Raises:
        NotFoundError: there is no such branch.
        ConfigurationError: the project's manifest is wrong.
    """
    return open_project(settings.project, branch or settings.branch)


def component_of(settings: Settings, project: Project, component_id: str) -> Component:
    """A component, as the project's stack sees it.

    Raises:
        NotFoundError: it is not registered.
        ConfigurationError: its definition is wrong.
    """
    from docker_runner.project.component import ComponentRegistry, StackRegistry

    return StackRegistry(ComponentRegistry(settings.components), project.api_host).get(component_id)
