"""Gets an image from its registry: tells its progress, explains what went wrong (IG-5, IG-6, IG-10..IG-14)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from docker_runner.engine.attempts import DoubtfulError, Log, PassingError, PullLimits, with_attempts
from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.progress import OutOfTime, progress
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.registries import AskLogin, Login, registry_of
from docker_runner.errors import ApplicationError, NotFoundError, UserError

# What registries answer, through the engine, when asking again cannot help.
_REFUSALS = ("unauthorized", "access denied", "authentication required", "no basic auth", "403 forbidden", "denied:")
_MISSING = ("not found", "manifest unknown", "does not exist", "name unknown", "no such image", "no matching manifest")
_MALFORMED = ("invalid reference format", "repository name must be", "invalid tag")
_UNREACHABLE = ("dial tcp", "timeout", "connection refused", "toomanyrequests")
# A registry that nobody knows, or that is not what the engine expects there.
_DOUBTFUL = ("no such host", "x509:", "server gave http response to https client")
_MEGABYTE = 10**6


def pull_image(engine: Engine, uri: str, tag: str, log: Log, *, login: AskLogin, limits: PullLimits) -> None:
    """Pull an image.

    Args:
        engine: where it is needed.
        uri: its name without tag.
        tag: its tag.
        log: takes lines for people.
        login: gives the login, asked anew for each attempt because some logins end.
        limits: how long it is tried.

    Raises:
        NotFoundError: the registry does not have it.
        UserError: the registry refuses access, or the name is malformed.
        ApplicationError: the registry does not answer (IG-6).
    """
    image = f"{uri}:{tag}"
    log(f"Pulling the image {image}.")
    started = time.monotonic()
    with_attempts(lambda: _pull_once(engine, uri, tag, log, login=login(), limits=limits), log, limits)
    log(f"Pulled the image {image} in {time.monotonic() - started:.1f} s.")


def _pull_once(engine: Engine, uri: str, tag: str, log: Log, *, login: Login | None, limits: PullLimits) -> None:
    from docker.errors import APIError

    image = f"{uri}:{tag}"
    layers = _Layers(image, log, every=limits.progress_seconds)
    # The engine quotes registries, and a registry could quote what it was sent.
    hide = Redactor([login.password] if login else []).redact
    with engine_errors(engine, f"Pulling the image {image}"):
        try:
            with progress(
                engine,
                "/images/create",
                seconds=limits.attempt_seconds,
                params={"fromImage": uri, "tag": tag},
                headers={"X-Registry-Auth": login.to_header()} if login else _own_login(engine, uri),
            ) as messages:
                _take(messages, layers, image=image, hide=hide)
        except OutOfTime:
            raise PassingError(f"The image {image} was not pulled within {limits.attempt_seconds:g} s.") from None
        except APIError as error:
            raise refused(image, hide(explanation(error))) from None


def _own_login(engine: Engine, uri: str) -> dict[str, str]:
    """The login that this machine's own Docker configuration has for the registry, if any."""
    from docker.auth import INDEX_NAME, get_config_header
    from docker.errors import DockerException

    host = registry_of(uri)
    try:
        header = get_config_header(engine.client, INDEX_NAME if host == "docker.io" else host)
    except DockerException as error:
        raise ApplicationError(f"This machine's login for {host} cannot be read: {error}.") from None
    return {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else str(header)} if header else {}


def _take(messages: Iterable[Mapping[str, Any]], layers: _Layers, *, image: str, hide: Callable[[str], str]) -> None:
    for message in messages:
        # A pull that already runs sends its errors as part of the progress.
        if message.get("error"):
            raise refused(image, hide(str(message["error"])))
        layers.take(message)


class _Layers:
    """Counts what has come of an image, and says so now and then."""

    def __init__(self, image: str, log: Log, *, every: float) -> None:
        self._image = image
        self._log = log
        self._every = every
        self._told = time.monotonic()
        self._done: set[str] = set()
        self._bytes: dict[str, tuple[int, int]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        layer, status = str(message.get("id") or ""), str(message.get("status") or "")
        detail = message.get("progressDetail") or {}
        if status == "Pulling fs layer":
            self._bytes.setdefault(layer, (0, 0))
        elif status == "Downloading":
            self._bytes[layer] = (int(detail.get("current") or 0), int(detail.get("total") or 0))
        elif status in ("Download complete", "Pull complete", "Already exists"):
            size = max(self._bytes.get(layer, (0, 0)))
            self._bytes[layer] = (size, size)
            if status != "Download complete":
                self._done.add(layer)
        else:
            return
        if time.monotonic() - self._told >= self._every:
            self._told = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        have, whole = (sum(sizes) / _MEGABYTE for sizes in zip(*self._bytes.values(), strict=True))
        self._log(
            f"Pulling the image {self._image}: {len(self._done)} of {len(self._bytes)} layers are here, "
            f"{have:.1f} of {max(have, whole):.1f} MB downloaded."
        )


def refused(image: str, reason: str) -> UserError | PassingError:
    """The error for what a registry answered."""
    said = reason.lower()
    if any(text in said for text in _DOUBTFUL):
        return DoubtfulError(
            f"The image {image} cannot be pulled, its registry cannot be reached: {reason.rstrip('.')}. Check the "
            "name of the registry, which stands before the first slash, and this machine's network."
        )
    if any(text in said for text in _UNREACHABLE):
        return PassingError(f"The image {image} cannot be pulled, its registry does not answer: {reason}.")
    if any(text in said for text in _MALFORMED):
        return UserError(f"{image!r} is not the name of an image: {reason}.")
    # Docker Hub answers "pull access denied" for repositories that do not exist, so both causes are named.
    if any(text in said for text in _REFUSALS):
        return UserError(
            f"The registry refuses the image {image}: {reason}. Check its name and tag, and the login: in the "
            "component's definition (repository), in an Airflow connection (DOCKER_RUNNER_DOCKER_CONN_ID), or of this "
            "machine (docker login). An image that you built yourself needs no registry once it is on the engine under "
            "this name."
        )
    if any(text in said for text in _MISSING):
        return NotFoundError(
            f"The image {image} is not in its registry: {reason}. Check its name and tag, or build it "
            f"(docker build -t {image} ...)."
        )
    return PassingError(f"The image {image} cannot be pulled: {reason}.")
