"""Synchronous actions: a component is asked something and gives its answer (API-16, API-17, LC-70 to LC-76)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.requests import Request

from docker_runner.errors import NotFoundError
from docker_runner_airflow.api.action_places import ActionPlaces
from docker_runner_airflow.api.bodies import Body, StrictJson
from docker_runner_airflow.api.callers import CallerDep
from docker_runner_airflow.api.errors import ApiError, documented
from docker_runner_airflow.api.projects import BranchPath, ComponentPath, component_of, project_of
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from docker_runner.project.component import Component
    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings

router = APIRouter(route_class=StrictJson, tags=["Synchronous actions"])

LOG = logging.getLogger("docker_runner")


class ActionBody(Body):
    """What an action is called with."""

    configData: dict[str, Any] = Field(  # noqa: N815
        description="The whole configuration; stored ones cannot be named. Values of keys that begin with `#` may be "
        "ciphers or plain texts, and are kept nowhere."
    )


@dataclass(frozen=True)
class Called:
    """An action that there is."""

    project: Project
    component: Component
    action: str


def _called_in_branch(request: Request, branch: BranchPath, component: ComponentPath, action: str) -> Called:
    """The action of a call, before its body is looked at (API-38).

    Raises:
        NotFoundError: there is no such branch or component, or the component has no such action.
        ApiError: 405, it is declared and may not be called all the same (LC-70).
    """
    settings: Settings = request.app.state.settings
    project = project_of(settings, branch)
    found = component_of(settings, project, component)
    known = found.data["synchronous_actions"]
    if action not in known:
        offered = ", ".join(name for name in known if name != "run") or "none"
        raise NotFoundError(f"The component {found.id} has no action {action[:100]!r}; it has: {offered}.")
    if action == "run":
        raise ApiError(405, "The action run cannot be called: start a job with POST /{component}/run instead.")
    return Called(project, found, action)


def _called(request: Request, component: ComponentPath, action: str) -> Called:
    return _called_in_branch(request, "", component, action)


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The JSON document that the component printed: a map, a list, a text, a number, ….",
        "content": {"application/json": {"schema": {}}},
    },
    **documented(404, 405),
}
_ABOUT = """Runs the component with `action` in its config file, isolated as in a job but without Storage, and gives its
answer. It has 30 seconds after its image is there. When too many actions are running the answer is 429: try again."""


@router.post(
    "/branch/{branch}/{component}/action/{action}",
    summary="Call an action of a component in a branch",
    description=_ABOUT,
    responses=_RESPONSES,
    response_class=JSONResponse,
)
async def act_in_branch(
    request: Request, called: Annotated[Called, Depends(_called_in_branch)], caller: CallerDep, body: ActionBody
) -> JSONResponse:
    """As :func:`act`; the component is told of the branch, and ciphers of its type can be read."""
    return await act(request, called, caller, body)


@router.post(
    "/{component}/action/{action}",
    summary="Call an action of a component",
    description=_ABOUT,
    responses=_RESPONSES,
    response_class=JSONResponse,
)
async def act(
    request: Request, called: Annotated[Called, Depends(_called)], caller: CallerDep, body: ActionBody
) -> JSONResponse:
    """Run the action, and answer with exactly what the component answered (API-39)."""
    await to_thread.run_sync(caller.refuse_unless_may_run, JOBS_DAG)
    places: ActionPlaces = request.app.state.action_places
    with places.taken(caller.name):
        # Not Airflow's own threads, which all its other calls need. When the client goes away the thread goes on: the
        # container ends, and is removed.
        answer = await to_thread.run_sync(
            _answer, called, body.configData, request.app.state.settings, limiter=CapacityLimiter(1)
        )
    return JSONResponse(answer)


def _answer(called: Called, configuration: dict[str, Any], settings: Settings) -> Any:
    from docker_runner.job.action import run_action
    from docker_runner_airflow.tools import airflow_tools

    tools = airflow_tools(settings, log=LOG)
    try:
        return run_action(called.component, called.action, configuration, tools, project=called.project)
    finally:
        tools.close()
