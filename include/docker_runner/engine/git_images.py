"""Builds an image from a git repository, unless the same one was built before (IG-20..IG-30, D15)."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from docker_runner.engine.attempts import Log, PullLimits, with_attempts
from docker_runner.engine.built_images import BUILD_LABEL, find_built_image, image_lock, image_name, mark_used
from docker_runner.engine.client import Engine, engine_errors, explanation
from docker_runner.engine.container_logs import ContainerLog, one_by_one
from docker_runner.engine.container_spec import LABEL_PREFIX
from docker_runner.engine.dockerfile import dockerfile, write_context
from docker_runner.engine.frames import Stream
from docker_runner.engine.git_repository import GitRepository, Revision
from docker_runner.engine.images import PreparedImage
from docker_runner.engine.locks import one_at_a_time
from docker_runner.engine.progress import OutOfTime, progress
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.scratch import Scratch, scratch_folder
from docker_runner.errors import ApplicationError, UserError

_USER_ERROR = re.compile(r"KBC::USER_ERR:(.*?)KBC::USER_ERR", re.DOTALL)
# Docker repeats each instruction before it runs it; a marker in there is no message yet.
_STEP = re.compile(r"^Step \d+/\d+ : .*$", re.MULTILINE)
_SHOWN_CHARACTERS = 4000
# What every build may have; compilers need more than many a component that they make.
_BUILD_MEMORY_BYTES = 2_000_000_000
_BUILD_CPUS = 2
_CPU_PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True)
class BuildRequest:
    """An image to build.

    Attributes:
        component_id: whose image it is.
        repository: where the files come from.
        version: branch, tag or commit; the default branch if empty.
        parent: the image that it is built on, already on the engine.
        commands: as in :func:`~docker_runner.engine.dockerfile.dockerfile`.
        entry_point: likewise.
        cache: whether an image built from the same commit, parent and options is used again.
        layer_cache: whether the engine may use layers of earlier builds.
        memory_bytes: limit of memory of the build's commands, unless that of every build is higher.
    """

    component_id: str
    repository: GitRepository
    version: str
    parent: PreparedImage
    commands: tuple[str | tuple[str, ...], ...]
    entry_point: str | tuple[str, ...]
    cache: bool = True
    layer_cache: bool = True
    memory_bytes: int = 0


def build_image(
    engine: Engine,
    request: BuildRequest,
    log: Log,
    *,
    redactor: Redactor | None = None,
    limits: PullLimits | None = None,
) -> PreparedImage:
    """Have the image of a git repository on the engine, as the repository is now (D15).

    The repository is asked each time, with the user's own login: a branch that moved is built anew, one that did not is
    not, and nobody gets an image of a repository that they may not read.

    Args:
        engine: where to build.
        request: what to build.
        log: takes lines for people, also those that the build writes.
        redactor: secrets to hide in what the build writes.
        limits: how long the repository is tried, and how long a build may take (IG-29).

    Raises:
        UserError: the repository, the version or the login is wrong; or a command ended with a message between
            ``KBC::USER_ERR`` marks (IG-30).
        ApplicationError: the repository's server or the engine fails, or any other failure of a command (IG-30).
    """
    limits = limits or PullLimits()
    redactor = redactor if redactor is not None else Redactor()
    redactor.add([request.repository.password])
    with engine_errors(engine, f"Looking for the image {request.parent.reference}"):
        parent = engine.client.inspect_image(request.parent.id)  # type: ignore[no-untyped-call]
    text = dockerfile(parent, version=request.version, commands=request.commands, entry_point=request.entry_point)
    found: list[Revision] = []
    with_attempts(lambda: found.append(request.repository.resolve(request.version)), log, limits)
    revision = found[0]
    build = _build_id(request.repository.address, revision.commit, text)
    with one_at_a_time(
        image_lock(build),
        seconds=limits.attempt_seconds,
        waiting=lambda: log("Another run is building the same image; waiting for it."),
    ):
        image = find_built_image(engine, build) if request.cache else None
        if image is not None:
            log(f"Using the image built before from {_source(request, revision)}.")
        else:
            log(f"Building an image from {_source(request, revision)} on {request.parent.reference}.")
            build, image = _Build(engine, request, text, log, redactor, limits).run(revision)
        mark_used(engine, image["Id"], build)
    return PreparedImage(f"{image_name(build)}:latest", str(image["Id"]))


class _Build:
    """One build."""

    def __init__(
        self, engine: Engine, request: BuildRequest, text: str, log: Log, redactor: Redactor, limits: PullLimits
    ) -> None:
        self._engine = engine
        self._request = request
        self._text = text
        self._log = log
        self._redactor = redactor
        self._limits = limits

    def run(self, revision: Revision) -> tuple[str, Mapping[str, Any]]:
        """Clone and build; gives the build's id and the image."""
        with scratch_folder(Scratch.BUILD) as folder:
            commits: list[str] = []

            def clone() -> None:
                tree = Path(tempfile.mkdtemp(dir=folder))
                commits.append(self._request.repository.checkout(revision, tree))
                with archive.open("wb") as target:
                    write_context(target, self._text, tree)

            archive = folder / "context.tar"
            with_attempts(clone, self._log, self._limits)
            # A branch may have moved once more since it was looked up.
            build = _build_id(self._request.repository.address, commits[-1], self._text)
            with archive.open("rb") as context:
                image_id = self._build(context, _labels(self._request, build, commits[-1]))
        with engine_errors(self._engine, "Looking for the image that was built"):
            return build, self._engine.client.inspect_image(image_id)  # type: ignore[no-untyped-call]

    def _build(self, context: IO[bytes], labels: Mapping[str, str]) -> str:
        from docker.errors import APIError

        proxies = _proxies(self._engine)
        self._redactor.add(_passwords(proxies))
        output = ContainerLog(one_by_one(lambda _, line: self._log(line)), self._redactor)
        params = {
            "labels": json.dumps(labels),
            "nocache": int(not self._request.layer_cache),
            "buildargs": json.dumps(proxies),
            "rm": 1,
            "forcerm": 1,
            **self._limits_of_commands(),
        }
        with engine_errors(self._engine, "Building the image"):
            try:
                with progress(
                    self._engine, "/build", seconds=self._limits.attempt_seconds, params=params,
                    headers={"Content-Type": "application/x-tar"}, body=context,
                ) as messages:  # fmt: skip
                    image_id, failure = _follow(messages, output)
            except OutOfTime:
                raise ApplicationError(f"The image was not built within {self._limits.attempt_seconds:g} s.") from None
            except APIError as error:
                raise ApplicationError(
                    f"The image cannot be built: {self._redactor.redact(explanation(error))}."
                ) from None
            finally:
                output.close()
        if not image_id:
            raise _failed(self._redactor.redact(failure), output.tail(Stream.STDOUT))
        return image_id

    def _limits_of_commands(self) -> dict[str, int]:
        """Memory without swap, and CPUs; the engine knows no limit on a build's processes."""
        memory = max(self._request.memory_bytes, _BUILD_MEMORY_BYTES)
        return {
            "memory": memory,
            "memswap": memory,
            "cpuperiod": _CPU_PERIOD_MICROSECONDS,
            "cpuquota": min(_BUILD_CPUS, self._engine.cpus) * _CPU_PERIOD_MICROSECONDS,
        }


def _proxies(engine: Engine) -> dict[str, str]:
    """The proxies that this machine's Docker configuration has for builds; Docker keeps them out of images."""
    proxies = getattr(engine.client, "_proxy_configs", None)
    return dict(proxies.get_environment()) if proxies else {}


def _passwords(proxies: Mapping[str, str]) -> set[str]:
    """Passwords of proxies, as written in an address and as meant; a command of a build may show its environment."""
    found = {urlsplit(address).password or "" for address in proxies.values() if "://" in address}
    return found | {unquote(password) for password in found}


def _follow(messages: Iterable[Mapping[str, Any]], output: ContainerLog) -> tuple[str, str]:
    """Show what the build writes; gives the image's id, or the error that it ends with."""
    image_id = ""
    for message in messages:
        if message.get("stream"):
            output.feed(Stream.STDOUT, str(message["stream"]).encode())
        if message.get("error"):
            return "", str(message["error"])
        image_id = (message.get("aux") or {}).get("ID") or image_id
    return image_id, "The engine ended the build without a result."


def _failed(reason: str, output: str) -> UserError | ApplicationError:
    told = _USER_ERROR.search(_STEP.sub("", output))
    if told and told[1].strip():
        return UserError(told[1].strip())
    return ApplicationError(f"The image cannot be built: {reason}\n{output[-_SHOWN_CHARACTERS:].strip()}")


def _build_id(address: str, commit: str, text: str) -> str:
    """What an image is known by: the same files, parent and commands make the same image."""
    return hashlib.sha256(json.dumps([address, commit, text]).encode()).hexdigest()


def _labels(request: BuildRequest, build: str, commit: str) -> dict[str, str]:
    """Where an image comes from, for people and to find it again; given last, so that they spoil no layer's cache."""
    return {
        BUILD_LABEL: build,
        f"{LABEL_PREFIX}componentId": request.component_id,
        f"{LABEL_PREFIX}repository": request.repository.address,
        f"{LABEL_PREFIX}commit": commit,
    }


def _source(request: BuildRequest, revision: Revision) -> str:
    return f"{request.repository.address}, {revision.name} (commit {revision.commit[:12]})"
