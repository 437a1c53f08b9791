"""Makes sure that an image is on the engine, and that it is the right one (IG-1..IG-7, D3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from docker_runner.engine.attempts import Log, PullLimits
from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.locks import one_at_a_time
from docker_runner.engine.pull import pull_image, refused
from docker_runner.engine.registries import AskLogin
from docker_runner.errors import ApplicationError, NotFoundError


class PullPolicy(StrEnum):
    """When an image is pulled (D3)."""

    IF_NOT_PRESENT = "if_not_present"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class ImageRequest:
    """An image as a component's definition names it.

    Attributes:
        uri: name with the registry's host, unless that is Docker Hub; without a tag.
        tag: ``latest`` if empty.
        digest: sha256 that the image must have, as hex with or without ``sha256:``; empty for any.
        pull_policy: when to pull.
    """

    uri: str
    tag: str = "latest"
    digest: str = ""
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT

    @property
    def reference(self) -> str:
        """The full name, ``uri:tag`` (IG-1)."""
        return f"{self.uri}:{self.tag or 'latest'}"


@dataclass(frozen=True)
class PreparedImage:
    """An image that is on the engine. Containers run its ``id``, so a tag that moves changes nothing in mid-run.

    Attributes:
        reference: the name it was asked for by.
        id: ``sha256:...`` of the image.
        digests: names with digests under which registries know it; none for an image built here (IG-7).
        pulled: whether it was pulled just now.
    """

    reference: str
    id: str
    digests: tuple[str, ...] = ()
    pulled: bool = False

    def to_manifest(self) -> dict[str, Any]:
        """As a small JSON document."""
        return {"reference": self.reference, "id": self.id, "digests": list(self.digests), "pulled": self.pulled}

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> PreparedImage:
        """From the document that :meth:`to_manifest` made."""
        return cls(manifest["reference"], manifest["id"], tuple(manifest["digests"]), bool(manifest["pulled"]))


def prepare_image(
    engine: Engine,
    request: ImageRequest,
    log: Log,
    *,
    login: AskLogin = lambda: None,
    limits: PullLimits | None = None,
) -> PreparedImage:
    """Have the image on the engine, pulling it when the policy says so (IG-3..IG-7, D3).

    Of many processes that want the same image at once one pulls it, and the others wait for it.

    Args:
        engine: where it is needed.
        request: which image.
        log: takes a line for people when something takes time.
        login: gives the login for the registry; asked only for a pull.
        limits: how long a pull is tried.

    Raises:
        NotFoundError: the image is not there and may not be pulled, or the registry does not have it.
        UserError: the registry refuses access, or the name is malformed.
        ApplicationError: the registry does not answer, or the image is not the one whose digest is registered.
        EngineError: the engine fails.
    """
    limits = limits or PullLimits()
    found = usable_image(engine, request)
    if found is not None:
        return found
    name = f"the image {request.reference}"
    with one_at_a_time(
        name, seconds=limits.attempt_seconds, waiting=lambda: log(f"Another run is pulling {name}; waiting for it.")
    ):
        found = usable_image(engine, request)
        if found is not None:
            return found
        pull_image(engine, request.uri, request.tag or "latest", log, login=login, limits=limits)
        pulled = _inspect(engine, request)
    if pulled is None:
        raise ApplicationError(f"The image {request.reference} was pulled, but the Docker engine does not have it.")
    return _checked(request, pulled, pulled=True)


def usable_image(engine: Engine, request: ImageRequest) -> PreparedImage | None:
    """The image that is on the engine, or None when it must be pulled.

    Raises:
        NotFoundError: it is not there and may not be pulled.
        ApplicationError: it may not be pulled, and is not the one whose digest is registered.
        EngineError: the engine fails.
    """
    if request.pull_policy is PullPolicy.ALWAYS:
        return None
    local = _inspect(engine, request)
    if request.pull_policy is PullPolicy.NEVER:
        if local is None:
            raise NotFoundError(
                f"The image {request.reference} is not on the Docker engine and its pull_policy is never. "
                f"Build it (docker build -t {request.reference} ...) or pull it (docker pull {request.reference}), "
                "or check its name and tag."
            )
        return _checked(request, local, pulled=False)
    if local is None or not _digest_matches(request, local):
        return None
    return _checked(request, local, pulled=False)


def _inspect(engine: Engine, request: ImageRequest) -> Mapping[str, Any] | None:
    from docker.errors import APIError, ImageNotFound

    with engine_errors(engine, f"Looking for the image {request.reference}"):
        try:
            found: Mapping[str, Any] = engine.client.inspect_image(request.reference)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        except APIError as error:
            if error.status_code == 400:
                raise refused(request.reference, explanation(error)) from error
            raise
    return found


def _digests(image: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(image.get("RepoDigests") or ())


def _digest_matches(request: ImageRequest, image: Mapping[str, Any]) -> bool:
    wanted = request.digest.removeprefix("sha256:").lower()
    # An image that was built here has no digest of a registry; its id pins it as well.
    return not wanted or wanted in {name.rpartition("sha256:")[2] for name in (*_digests(image), image["Id"])}


def _checked(request: ImageRequest, image: Mapping[str, Any], *, pulled: bool) -> PreparedImage:
    if not _digest_matches(request, image):
        has = ", ".join(_digests(image)) or f"none from a registry, id {image['Id']}"
        raise ApplicationError(
            f"The image {request.reference} is not the registered one: it should have the digest {request.digest}, but "
            f"has {has}. Register the new digest if the image was meant to change; pull or push the right one if not."
        )
    return PreparedImage(request.reference, str(image["Id"]), _digests(image), pulled)
