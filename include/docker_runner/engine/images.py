"""Makes sure that an image is on the engine, and that it is the right one (IG-1..IG-7, D3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.errors import ApplicationError, NotFoundError, UserError

Log = Callable[[str], None]

# What registries answer, through the engine, when asking again cannot help.
_REFUSALS = ("unauthorized", "access denied", "authentication required", "no basic auth", "403 forbidden", "denied:")
_MISSING = ("not found", "manifest unknown", "does not exist", "name unknown", "no such image", "no matching manifest")
_MALFORMED = ("invalid reference format", "repository name must be", "invalid tag")
_UNREACHABLE = ("no such host", "dial tcp", "timeout", "connection refused", "toomanyrequests")


class PullPolicy(StrEnum):
    """When an image is pulled (D3)."""

    IF_NOT_PRESENT = "if_not_present"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class PullLimits:
    """How long a pull is tried.

    The defaults give a registry about 15 s of pauses to come back: a person waits for the answer, and the scheduler
    tries the task again later anyway. The pauses grow by factor 2 (IG-5).

    Attributes:
        attempts: how many times at most.
        first_pause_seconds: pause after the first attempt.
        longest_pause_seconds: no pause is longer.
        attempt_seconds: limit of one attempt.
    """

    attempts: int = 6
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 60.0
    attempt_seconds: float = 3600.0


@dataclass(frozen=True)
class ImageRequest:
    """An image as a component's definition names it.

    Attributes:
        uri: name with the registry's host, unless that is Docker Hub; without a tag.
        tag: ``latest`` if empty.
        digest: sha256 that the image must have, as hex with or without ``sha256:``; empty for any.
        pull_policy: when to pull.
        registry_auth: login as the engine takes it (``username``, ``password``); None uses the machine's own logins.
    """

    uri: str
    tag: str = "latest"
    digest: str = ""
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    registry_auth: Mapping[str, str] | None = field(default=None, repr=False)

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
    engine: Engine, request: ImageRequest, log: Log, *, limits: PullLimits | None = None
) -> PreparedImage:
    """Have the image on the engine, pulling it when the policy says so (IG-3..IG-7, D3).

    Args:
        engine: where it is needed.
        request: which image.
        log: takes a line for people when something takes time.
        limits: how long a pull is tried.

    Raises:
        NotFoundError: the image is not there and may not be pulled, or the registry does not have it.
        UserError: the registry refuses access, or the name is malformed.
        ApplicationError: the registry does not answer, or the image is not the one whose digest is registered.
        EngineError: the engine fails.
    """
    local = None if request.pull_policy is PullPolicy.ALWAYS else _inspect(engine, request)
    if request.pull_policy is PullPolicy.NEVER:
        if local is None:
            raise NotFoundError(
                f"The image {request.reference} is not on the Docker engine and its pull_policy is never. "
                f"Build it (docker build -t {request.reference} ...) or pull it (docker pull {request.reference}), "
                "or check its name and tag."
            )
        return _checked(request, local, pulled=False)
    if local is not None and _digest_matches(request, local):
        return _checked(request, local, pulled=False)
    _pull(engine, request, log, limits or PullLimits())
    pulled = _inspect(engine, request)
    if pulled is None:
        raise ApplicationError(f"The image {request.reference} was pulled, but the Docker engine does not have it.")
    return _checked(request, pulled, pulled=True)


def _inspect(engine: Engine, request: ImageRequest) -> Mapping[str, Any] | None:
    from docker.errors import APIError, ImageNotFound

    with engine_errors(engine, f"Looking for the image {request.reference}"):
        try:
            found: Mapping[str, Any] = engine.client.inspect_image(request.reference)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        except APIError as error:
            if error.status_code == 400:
                raise _refused(request, explanation(error)) from error
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


def _pull(engine: Engine, request: ImageRequest, log: Log, limits: PullLimits) -> None:
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        log(f"{error} Trying again in {pause:g} s.")

    log(f"Pulling the image {request.reference}.")
    started = time.monotonic()
    Retrying(
        stop=stop_after_attempt(limits.attempts),
        wait=wait_exponential(multiplier=limits.first_pause_seconds, max=limits.longest_pause_seconds),
        retry=retry_if_exception_type(_PullError),
        before_sleep=tell,
        reraise=True,
    )(_pull_once, engine, request, limits)
    log(f"Pulled the image {request.reference} in {time.monotonic() - started:.1f} s.")


class _PullError(ApplicationError):
    """A pull that may go well next time."""


def _pull_once(engine: Engine, request: ImageRequest, limits: PullLimits) -> None:
    from docker.errors import APIError

    deadline = time.monotonic() + limits.attempt_seconds
    with engine_errors(engine, f"Pulling the image {request.reference}"):
        try:
            # A pull that already runs sends its errors as part of the progress.
            for progress in engine.client.pull(
                request.uri,
                tag=request.tag or "latest",
                auth_config=dict(request.registry_auth) if request.registry_auth is not None else None,
                stream=True,
                decode=True,
            ):
                if progress.get("error"):
                    raise _refused(request, str(progress["error"]))
                if time.monotonic() > deadline:
                    raise _PullError(
                        f"The image {request.reference} was not pulled within {limits.attempt_seconds:g} s."
                    )
        except APIError as error:
            raise _refused(request, explanation(error)) from error


def _refused(request: ImageRequest, reason: str) -> UserError | _PullError:
    """The error for what a registry answered."""
    said = reason.lower()
    if any(text in said for text in _UNREACHABLE):
        return _PullError(f"The image {request.reference} cannot be pulled, its registry does not answer: {reason}.")
    if any(text in said for text in _MALFORMED):
        return UserError(f"{request.reference!r} is not the name of an image: {reason}.")
    # Docker Hub answers "pull access denied" for repositories that do not exist, so both causes are named.
    if any(text in said for text in _REFUSALS):
        return UserError(
            f"The registry refuses the image {request.reference}: {reason}. "
            "Check its name and tag, and the login of this machine (docker login); an image that you built yourself "
            "needs no registry once it is on the engine under this name."
        )
    if any(text in said for text in _MISSING):
        return NotFoundError(
            f"The image {request.reference} is not in its registry: {reason}. Check its name and tag, or build it "
            f"(docker build -t {request.reference} ...)."
        )
    return _PullError(f"The image {request.reference} cannot be pulled: {reason}.")
