"""Errors as callers see them: one document for all of them, whatever went wrong and wherever (API-3)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHttpException
from starlette.requests import Request

from docker_runner.errors import (
    EngineError,
    ForbiddenError,
    NotFoundError,
    RunnerError,
    StorageError,
    TokenError,
    UserError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from docker_runner.settings import Settings

LOG = logging.getLogger("docker_runner.api")
RUN_ID_HEADER = "X-KBC-RunId"
_SERVER_ERRORS = 500
_LONGEST_MESSAGE = 4_000


class ErrorDocument(BaseModel):
    """What every answer is that tells of an error."""

    status: str = Field("error", pattern="^error$")
    error: str = Field(description="`User error`: change the request. `Application error`: it may work again later.")
    code: int = Field(description="The HTTP status.")
    message: str = Field(description="What is wrong and what would be right.")
    exceptionId: str = Field(description="Under which the error is in the log of the API server.")  # noqa: N815
    runId: str = Field(description="The run id that came with the request.")  # noqa: N815


class ApiError(HTTPException):
    """An error with its HTTP status; the message says what would be right."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers) if headers else None)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a call may answer with, for its OpenAPI description.

    Args:
        statuses: beside those of every call.
    """
    words = {
        400: "The request is wrong.",
        401: "Nobody is named who may call this, or with a credential that is not good.",
        403: "The caller may not do this.",
        404: "There is no such thing.",
        405: "This action cannot be called.",
        409: "It cannot be done in the present state.",
        413: "The request is too large.",
        429: "Too many requests, or too much is being done at once.",
        500: "The runner, the Docker engine or Storage failed.",
    }
    every = (400, 401, 403, 413, 429, 500)
    return {status: {"model": ErrorDocument, "description": words[status]} for status in sorted({*every, *statuses})}


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of an application one document."""
    app.add_exception_handler(AnyHttpException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(RunnerError, answer_to_runner)  # type: ignore[arg-type]


def answer(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that tells of an error."""
    return _answer(request, status, message, exception_id=_new_id(), headers=headers)


def _answer(
    request: Request, status: int, message: str, *, exception_id: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]} …"
    document = ErrorDocument(
        status="error",
        error="Application error" if status >= _SERVER_ERRORS else "User error",
        code=status,
        message=message,
        exceptionId=exception_id,
        runId=request.headers.get(RUN_ID_HEADER, ""),
    )
    return JSONResponse(document.model_dump(), status, headers=dict(headers or {}))


def _new_id() -> str:
    return f"exception-{uuid.uuid4().hex}"


async def _http(request: Request, error: AnyHttpException) -> JSONResponse:
    words = {404: "There is no such call.", 405: "This call does not exist with this method."}
    message = error.detail if isinstance(error, ApiError) else words.get(error.status_code, error.detail)
    return answer(request, error.status_code, str(message), error.headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    return answer(request, 400, " ".join(_sentence(item) for item in error.errors()[:10]))


def _sentence(item: Mapping[str, Any]) -> str:
    place = _place(item["loc"])
    message = str(item["msg"]).rstrip(".")
    if item["type"] == "missing":
        return f"{place} is missing." if place else "The body is missing: send a JSON object."
    return f"{place}: {message}." if place else f"{message}."


def _place(loc: Sequence[str | int]) -> str:
    """Where in the request, as people write it: ``variableValuesData.values[0].name``."""
    _, *keys = loc
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")


async def answer_to_runner(request: Request, error: RunnerError) -> JSONResponse:
    """An error of the runner: the user's with its own words, others with words that give nothing away (API-3)."""
    if isinstance(error, UserError):
        return answer(request, status_of(error), without_folders(str(error), request.app.state.settings))
    exception_id = _new_id()
    LOG.error("%s: %s %s: %s", exception_id, request.method, request.url.path, error)
    what = "The runner failed"
    if isinstance(error, EngineError):
        what = "The Docker engine failed or cannot be reached"
    elif isinstance(error, StorageError):
        what = "Storage failed or cannot be reached"
    return _answer(request, 500, f"{what}. {_advice(exception_id)}", exception_id=exception_id)


def without_folders(message: str, settings: Settings) -> str:
    """A message whose files are named as the project names them: where they lie here is nobody's business."""
    for folder in (settings.project, settings.components):
        message = message.replace(f"{folder}/", "").replace(str(folder), folder.name)
    return message


def status_of(error: UserError) -> int:
    """The HTTP status of a user error."""
    kinds = {TokenError: 401, ForbiddenError: 403, NotFoundError: 404}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 400)


def _advice(exception_id: str) -> str:
    return (
        f"Try again; if it stays, give {exception_id} to whoever operates this Airflow: it is in the API server's log."
    )


class EveryErrorAnswered:
    """Answers what no handler knows with the same document, and keeps it from the server around (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        began = False

        async def note(message: Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception:
            if scope["type"] != "http" or began:
                raise
            request, exception_id = Request(scope), _new_id()
            LOG.exception("%s: %s %s", exception_id, request.method, request.url.path)
            message = f"The runner failed. {_advice(exception_id)}"
            await _answer(request, 500, message, exception_id=exception_id)(scope, receive, send)
