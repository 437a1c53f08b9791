"""Bodies of requests: strict JSON, with known attributes only (API-4, API-31)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from docker_runner.documents import parse_json
from docker_runner.errors import ConfigurationError
from docker_runner_airflow.api.errors import ApiError

DEEPEST = 100
_SHOWN = 50


class Body(BaseModel):
    """A body that has no attributes but its own."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_attributes(cls, value: Any) -> Any:
        """Refuse unknown attributes, and say which there are (API-31)."""
        if isinstance(value, dict):
            cls.check_first(value)
            known = {name for key, field in cls.model_fields.items() for name in (key, field.alias) if name}
            unknown = [str(key)[:_SHOWN] for key in value if key not in known]
            if unknown:
                shown = {"unknown": ", ".join(unknown[:5]), "known": ", ".join(_names(cls))}
                raise PydanticCustomError("unknown", "Unknown attribute {unknown}; allowed are {known}", shown)
        return value

    @classmethod
    def check_first(cls, value: dict[str, Any]) -> None:
        """Check what must be told before an unknown attribute is."""


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


class StrictJson(APIRoute):
    """A route whose body is JSON to the letter, as configurations in files are, and that ignores no parameter."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Look at the parameters and read the body this way, then go on as usual."""
        handler = super().get_route_handler()
        parameters = _query_parameters(self.dependant)

        async def handle(request: Request) -> Response:
            refuse_unknown_parameters(request, parameters)
            return await handler(_StrictRequest(request.scope, request.receive) if self.body_field else request)

        return handle


def _query_parameters(dependant: Dependant) -> frozenset[str]:
    """The names of the parameters of a call and of what it depends on."""
    own = frozenset(parameter.alias for parameter in dependant.query_params)
    return own.union(*(_query_parameters(other) for other in dependant.dependencies))


def refuse_unknown_parameters(request: Request, known: frozenset[str] = frozenset()) -> None:
    """Refuse what would be left out without a word, such as ``?tag=…`` where the path has the tag.

    Args:
        request: what was sent.
        known: the parameters that the call has.

    Raises:
        ApiError: 400.
    """
    unknown = [name[:_SHOWN] for name in request.query_params if name not in known]
    if unknown:
        allowed = f"allowed are {', '.join(sorted(known))}" if known else "this call has none"
        raise ApiError(400, f"Unknown parameter {', '.join(unknown[:5])}; {allowed}.")
    refuse_repeated(request)


def refuse_repeated(request: Request, *, but: str = "") -> None:
    """Refuse a parameter that was given several times, of which only one would count.

    Args:
        request: what was sent.
        but: the parameter that may have several values.

    Raises:
        ApiError: 400.
    """
    for name in request.query_params:
        if name != but and len(request.query_params.getlist(name)) > 1:
            raise ApiError(400, f"The parameter {name[:_SHOWN]} was given several times.")


class _StrictRequest(Request):
    async def body(self) -> bytes:
        """The body; whoever sends one says that it is JSON."""
        body = await super().body()
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            raise ApiError(400, "The body must be JSON, sent with the header Content-Type: application/json.")
        return body

    async def json(self) -> Any:
        """The document in the body."""
        try:
            text = (await self.body()).decode()
        except UnicodeDecodeError as error:
            raise ApiError(400, f"The body is not UTF-8 (byte {error.start}).") from None
        return parsed(text)


def parsed(text: str) -> Any:
    """The document in a text, of which every database can store every part.

    Raises:
        ApiError: 400, it is not JSON (API-4), has a key twice, is nested too deeply, or has a text that cannot be
            stored.
    """
    try:
        document = parse_json(text, file="the request's body", unique=True)
    except ConfigurationError as error:
        raise ApiError(400, str(error)) from None
    left = [(document, 0)]
    while left:
        value, depth = left.pop()
        if depth > DEEPEST:
            raise ApiError(400, f"The body is nested more than {DEEPEST} times.")
        if isinstance(value, dict):
            left += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            left += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and "\0" in value:
            raise ApiError(400, "A text of the body has the character \\u0000, which cannot be stored.")
    return document
