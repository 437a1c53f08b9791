"""Encrypts secrets for those who may read them (API-18, API-27, API-45 to API-48); nothing decrypts them here (D17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import Request
from starlette.responses import Response

from docker_runner.encryption import Scope, kind_of
from docker_runner.errors import ApplicationError, UserError
from docker_runner_airflow.api.bodies import parsed, refuse_repeated
from docker_runner_airflow.api.errors import ApiError, documented
from docker_runner_airflow.api.projects import ComponentPath, project_of
from docker_runner_airflow.tools import airflow_encryptor

if TYPE_CHECKING:
    from docker_runner.settings import Settings

router = APIRouter(tags=["Encrypt"])

_BRANCH_TYPES = ("default", "dev")
_PARAMETERS = ("componentId", "projectId", "configId", "branchType")
_CHARSETS = ("", "utf-8", "utf8", "us-ascii")
_DOCUMENT: dict[str, Any] = {"anyOf": [{"type": "object"}, {"type": "array", "items": {}}]}
_BOTH = {"text/plain": {"schema": {"type": "string"}}, "application/json": {"schema": _DOCUMENT}}
_DESCRIBED: dict[str, Any] = {
    "responses": {
        200: {"description": "The cipher, or the same document with ciphers.", "content": _BOTH},
        **documented(),
    },
    "response_class": Response,
    "openapi_extra": {"requestBody": {"required": True, "content": _BOTH}},
}
_ABOUT = """A text (`Content-Type: text/plain`) is encrypted as a whole. In a JSON document (`application/json`) the
values of keys that begin with `#` are encrypted; ciphers stay as they are, and so does everything else. Nothing is
stored, and no call decrypts."""


@dataclass(frozen=True)
class Readers:
    """Who may read what is encrypted: the ids, and the kind of cipher that is bound to them (EN-4)."""

    scope: Scope
    kind: str


def _readers(
    request: Request,
    component: Annotated[str, Query(alias="componentId", description="Component that may read the secrets.")] = "",
    project: Annotated[str, Query(alias="projectId", description="The project of this installation.")] = "",
    config: Annotated[str, Query(alias="configId", description="Configuration that may read the secrets.")] = "",
    branch_type: Annotated[
        str, Query(alias="branchType", description="`default` or `dev`: branches where they can be read.")
    ] = "",
) -> Readers:
    """Who is meant by the parameters (API-45).

    Raises:
        ApiError: 400, one is missing, unknown or wrong.
    """
    if not component and (config or not project):
        raise ApiError(400, "The parameter componentId is required; only projectId may stand alone.")
    for name, value in (("configId", config), ("branchType", branch_type)):
        if value and not project:
            raise ApiError(400, f"The parameter {name} needs projectId too.")
    _refuse_unknown(request)
    if branch_type and branch_type not in _BRANCH_TYPES:
        raise ApiError(400, f"The parameter branchType must be {' or '.join(_BRANCH_TYPES)}.")
    if project:
        _refuse_another_project(project, request.app.state.settings)
    given = {"component": component, "project": project, "configuration": config, "branch_type": branch_type}
    ids = {name: value for name, value in given.items() if value}
    return Readers(Scope(**{"component": "", **ids}), kind_of(ids))


def _refuse_unknown(request: Request, known: tuple[str, ...] = _PARAMETERS) -> None:
    allowed = f"allowed are {', '.join(known)}" if known else "there are none"
    for name in request.query_params:
        if name not in known:
            raise ApiError(400, f"Unknown parameter {name[:100]!r}; {allowed}.")
    refuse_repeated(request)


def _refuse_another_project(project_id: str, settings: Settings) -> None:
    """A cipher for another project could be read nowhere: its own installation has other keys, and this one other ids.

    Components and configurations may come later (EN-6); the project is there.
    """
    own = project_of(settings).id
    if project_id != own:
        known = f"is {own}" if own else "has none: give it one in .keboola/manifest.json (project.id)"
        raise ApiError(400, f"The parameter projectId must be the id of this installation's project, which {known}.")


def _readers_of_component(request: Request, component: ComponentPath) -> Readers:
    _refuse_unknown(request, ())
    return Readers(Scope(component), kind_of(["component"]))


async def _body(request: Request) -> bytes:
    return await request.body()


BodyDep = Annotated[bytes, Depends(_body)]


@router.post("/encrypt", summary="Encrypt", description=_ABOUT, **_DESCRIBED)
def encrypt(request: Request, readers: Annotated[Readers, Depends(_readers)], body: BodyDep) -> Response:
    """Encrypt for what the parameters name."""
    return _encrypted(request, body, readers)


@router.post("/{component}/encrypt", summary="Encrypt for a component", description=_ABOUT, **_DESCRIBED)
def encrypt_for_component(
    request: Request, readers: Annotated[Readers, Depends(_readers_of_component)], body: BodyDep
) -> Response:
    """Encrypt for all configurations of a component."""
    return _encrypted(request, body, readers)


def _encrypted(request: Request, body: bytes, readers: Readers) -> Response:
    """The same in ciphers (API-46).

    Raises:
        ApiError: 400, the body is not what its content type says, or has none that is known.
    """
    kind, charset = _content_type(request)
    if kind not in _BOTH:
        raise ApiError(400, "The header Content-Type must be text/plain or application/json.")
    if charset not in _CHARSETS:
        raise ApiError(400, f"The charset of the body must be utf-8, not {charset[:50]!r}.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(400, f"The body is not UTF-8 (byte {error.start}).") from None
    if not text:
        raise ApiError(400, "The body is empty: there is nothing to encrypt.")
    document = {"#": text} if kind == "text/plain" else parsed(text)
    if not isinstance(document, dict | list):
        raise ApiError(400, "The JSON must be a map or a list; a single value is sent as text/plain.")
    try:
        encryptor = airflow_encryptor(request.app.state.settings)
        encrypted = encryptor.encrypt(document, readers.scope, kind=readers.kind)
    except UserError as error:
        # Whoever calls cannot mend the installation's keys.
        raise ApplicationError(f"The encryption keys cannot be used: {error}") from None
    return PlainTextResponse(encrypted["#"]) if kind == "text/plain" else JSONResponse(encrypted)


def _content_type(request: Request) -> tuple[str, str]:
    """Media type and charset, in small letters; empty where there is none."""
    kind, *parameters = request.headers.get("Content-Type", "").lower().split(";")
    named = dict(parameter.strip().partition("=")[::2] for parameter in parameters)
    return kind.strip(), named.get("charset", "").strip(' "')
