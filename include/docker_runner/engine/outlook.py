"""Which image a run would get, without pulling it: the engine's, or what the registry has under its name."""

from __future__ import annotations

from dataclasses import dataclass

from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.images import ImageRequest, usable_image
from docker_runner.engine.pull import refused
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.registries import AskLogin
from docker_runner.errors import ApplicationError, RunnerError


@dataclass(frozen=True)
class ImageOutlook:
    """What a run would get.

    Attributes:
        reference: the name it is asked for by.
        digest: ``sha256:…`` by which its registry knows it; empty when it is not known.
        id: the image's own id, when it is on the engine.
        pulled: it would be pulled.
        problem: why a run would not get it, or why its digest is not known.
    """

    reference: str
    digest: str = ""
    id: str = ""
    pulled: bool = False
    problem: str = ""


def look_up(engine: Engine, request: ImageRequest, *, login: AskLogin = lambda: None) -> ImageOutlook:
    """Find out which image a run would get now.

    Args:
        engine: where it would run.
        request: which image.
        login: gives the login for the registry; asked only when the image would be pulled.
    """
    try:
        found = usable_image(engine, request)
    except RunnerError as error:
        return ImageOutlook(request.reference, problem=str(error))
    if found:
        digest = next((name.partition("@")[2] for name in found.digests), "")
        return ImageOutlook(request.reference, digest, found.id)
    try:
        digest = _asked(engine, request, login)
    except RunnerError as error:
        return ImageOutlook(request.reference, pulled=True, problem=str(error))
    wanted = request.digest.removeprefix("sha256:").lower()
    problem = ""
    if wanted and digest != f"sha256:{wanted}":
        problem = f"The registered digest is {request.digest}, but the registry has {digest}."
    return ImageOutlook(request.reference, digest, pulled=True, problem=problem)


def _asked(engine: Engine, request: ImageRequest, login: AskLogin) -> str:
    from docker.errors import APIError

    own = login()
    auth = {"username": own.username, "password": own.password} if own else None
    hide = Redactor([own.password] if own else []).redact
    with engine_errors(engine, f"Asking the registry for {request.reference}"):
        try:
            found = engine.client.inspect_distribution(request.reference, auth_config=auth)  # type: ignore[no-untyped-call]
        except APIError as error:
            reason = refused(request.reference, hide(explanation(error)))
            raise ApplicationError(str(reason)) from None
    return str(found["Descriptor"]["digest"])
