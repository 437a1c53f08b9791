"""The image of a component as its definition names it: where it comes from, and with which login (CD-3..CD-9)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.encryption import refuse_plain_secrets
from docker_runner.engine.registries import ecr_account, registry_of, server_host
from docker_runner.errors import ConfigurationError
from docker_runner.project.build_options import BUILDER, check_build_options

ECR = "aws-ecr"
_QUAY = ("quayio", "quayio-private")
_PRIVATE = ("dockerhub-private", "quayio-private")
_KEY = "data.definition"


def registry_type(definition: Mapping[str, Any]) -> str:
    """How the image is pulled; of an image that is built, how its parent is (IG-20)."""
    if definition["type"] == BUILDER:
        return str(definition["build_options"]["parent_type"])
    return str(definition["type"])


def image_uri(definition: Mapping[str, Any]) -> str:
    """Name of the image with its registry, without a tag (IG-1)."""
    uri = str(definition["uri"])
    return f"quay.io/{uri}" if registry_type(definition) in _QUAY else uri


def has_login(definition: Mapping[str, Any]) -> bool:
    """Whether the definition itself brings a login for the registry (CD-8)."""
    repository = definition.get("repository") or {}
    return bool(scalar_text(repository.get("username")))


def check_image_definition(definition: Mapping[str, Any], *, file: Path | str | None = None) -> None:
    """Check what the schema cannot.

    Args:
        definition: ``data.definition``, checked by the schema.
        file: where it stands, for the error.

    Raises:
        ConfigurationError: a login is incomplete, not encrypted or meant for another registry; an image of Amazon's
            registry without an account (IG-11); build options that cannot work. Names the key.
    """
    refuse_plain_secrets({"data": {"definition": definition}}, file=file)
    if definition["type"] == BUILDER:
        check_build_options(definition["build_options"], file=file)
    _check_login(definition, file)
    if registry_type(definition) == ECR and not ecr_account(str(definition["uri"])):
        raise ConfigurationError(
            "An image of Amazon's registry begins with the account, e.g. "
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-image.",
            file=file,
            key=f"{_KEY}.uri",
        )


def _check_login(definition: Mapping[str, Any], file: Path | str | None) -> None:
    repository = definition.get("repository") or {}
    given = {key: scalar_text(repository.get(key)) for key in ("username", "#password")}
    wanted = registry_type(definition)
    for key, value in given.items():
        if not value and (any(given.values()) or wanted in _PRIVATE):
            raise ConfigurationError("A login needs username and #password.", file=file, key=f"{_KEY}.repository.{key}")
    if wanted == ECR and any(given.values()):
        raise ConfigurationError(
            "Logins to Amazon's registry are made with the worker's own AWS identity; remove the key.",
            file=file,
            key=f"{_KEY}.repository.username",
        )
    server, registry = scalar_text(repository.get("server")), registry_of(image_uri(definition))
    if server and server_host(server) != registry:
        raise ConfigurationError(
            f"The image is pulled from {registry}, not from {server}: write the server in front of the uri.",
            file=file,
            key=f"{_KEY}.repository.server",
        )
