"""Shows the configuration that a job would use (API-22, API-23, API-40 to API-44)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from docker_runner.documents import scalar_text
from docker_runner.errors import NotFoundError
from docker_runner_airflow.api.bodies import Body, StrictJson
from docker_runner_airflow.api.callers import Caller, CallerDep
from docker_runner_airflow.api.errors import ApiError, documented
from docker_runner_airflow.api.projects import BranchPath, project_of
from docker_runner_airflow.api.run_bodies import Scalar, VariableValuesData, refuse_two_sources, values_asked
from docker_runner_airflow.jobs_dag import JOBS_DAG

if TYPE_CHECKING:
    from docker_runner.job.effective import EffectiveConfiguration
    from docker_runner.project.configuration import Project
    from docker_runner.settings import Settings

router = APIRouter(route_class=StrictJson, tags=["Configurations"])


class ResolveBody(Body):
    """Which configuration, and with which values of variables (API-40)."""

    componentId: Scalar = Field(description="Its component.")  # noqa: N815
    configId: Scalar = Field(description="Its id.")  # noqa: N815
    configVersion: Scalar = Field(  # noqa: N815
        description="Its version. Project files have one, the present one; in a branch any value is accepted."
    )
    variableValuesId: Scalar | None = Field(None, description="Id of stored values of variables.")  # noqa: N815
    variableValuesData: VariableValuesData | None = None  # noqa: N815

    @field_validator("componentId", "configId", "configVersion")
    @classmethod
    def _not_empty(cls, value: Scalar) -> Scalar:
        if value == "":
            raise PydanticCustomError("empty", "Must not be empty")
        return value

    @model_validator(mode="after")
    def _one_source_of_values(self) -> ResolveBody:
        refuse_two_sources(self.variableValuesId, self.variableValuesData)
        return self


class _Detail(BaseModel):
    """What rows and configurations have in common; project files do not know who made them, and when."""

    id: str
    name: str
    description: str
    version: str = Field(description="A hash of the content with all rows: it changes when, and only when, they do.")
    created: None = None
    creatorToken: None = None  # noqa: N815
    changeDescription: str = ""  # noqa: N815
    isDisabled: bool  # noqa: N815
    configuration: dict[str, Any]
    state: list[Any] = Field(default_factory=list, description="Always empty here.")


class ResolvedRow(_Detail):
    """A row; its configuration is laid over the root's, with everything put in."""


class ResolvedConfiguration(_Detail):
    """A configuration. Without rows its content has everything put in; with rows it is as stored (API-41)."""

    isDeleted: bool = False  # noqa: N815
    rows: list[ResolvedRow]


_ABOUT = """Merges rows, and puts in shared code, variables and defaults as a job does. Ciphers stay ciphers, and
placeholders of the vault stay placeholders. Nothing is stored."""


@router.post(
    "/branch/{branch}/configuration/resolve",
    summary="Show the effective configuration in a branch",
    description=_ABOUT,
    responses=documented(404),
)
def resolve_in_branch(
    request: Request, branch: BranchPath, caller: CallerDep, body: ResolveBody
) -> ResolvedConfiguration:
    """As it is now: its version is not looked at (API-42)."""
    return _resolved(request.app.state.settings, caller, body, branch=branch)


@router.post(
    "/configuration/resolve",
    summary="Show the effective configuration",
    description=_ABOUT,
    responses=documented(404),
)
def resolve(request: Request, caller: CallerDep, body: ResolveBody) -> ResolvedConfiguration:
    """In the branch that this installation runs."""
    return _resolved(request.app.state.settings, caller, body)


def _resolved(settings: Settings, caller: Caller, body: ResolveBody, *, branch: str = "") -> ResolvedConfiguration:
    from docker_runner.job.effective import effective_configuration
    from docker_runner.job.request import JobRequest
    from docker_runner.project.component import ComponentRegistry

    project = project_of(settings, branch)
    component_id, config_id = scalar_text(body.componentId), scalar_text(body.configId)
    _refuse_unless_may_see(caller, project, component_id, config_id)
    stored = project.configuration(component_id, config_id)
    if not branch and scalar_text(body.configVersion) != stored.version:
        raise NotFoundError(
            f"The configuration {component_id}/{config_id} has no version {scalar_text(body.configVersion)[:100]!r}: "
            f"project files have one version, the present one, which is {stored.version!r}."
        )
    values = JobRequest.from_params(values_asked(body.variableValuesId, body.variableValuesData)).variables
    registry = ComponentRegistry(settings.components)
    return _document(effective_configuration(project, registry, stored, values=values, vault=settings.vault))


def _refuse_unless_may_see(caller: Caller, project: Project, component_id: str, config_id: str) -> None:
    """Users see what they may see of the configuration's DAG in Airflow, before they are told whether it is there.

    Raises:
        ApiError: 403.
    """
    from docker_runner.project.dag_ids import dag_id

    if caller.token:
        return
    own = dag_id(component_id, config_id, project.branch)
    dag = own if _is_known(own) else JOBS_DAG
    if not caller.may(dag, "GET", of_run=False):
        raise ApiError(403, f"You may not see the DAG {dag}: ask for this permission in Airflow.")


def _is_known(dag: str) -> bool:
    """Whether Airflow knows a DAG, so that permissions may be given for it."""
    from airflow.models import DagModel
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        return session.get(DagModel, dag) is not None


def _document(found: EffectiveConfiguration) -> ResolvedConfiguration:
    stored = found.stored
    rows = [
        ResolvedRow(
            id=row.id,
            name=row.name,
            description=row.description,
            version=stored.version,
            isDisabled=row.is_disabled,
            configuration=content,
        )
        for row, content in found.rows
    ]
    return ResolvedConfiguration(
        id=stored.id,
        name=stored.name,
        description=stored.description,
        version=stored.version,
        isDisabled=stored.is_disabled,
        configuration=found.root,
        rows=rows,
    )
