"""Registries: which one an image comes from, and the login that it wants (IG-10..IG-14)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from docker_runner.engine.attempts import DoubtfulError, PassingError
from docker_runner.errors import UserError

DOCKER_HUB = "docker.io"
DEFAULT_ECR_REGION = "us-east-1"
# Names under which people and tools know Docker Hub.
_DOCKER_HUB_NAMES = (
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
    "hub.docker.com",
)


@dataclass(frozen=True)
class Login:
    """A user's name and password at a registry."""

    username: str
    password: str = field(repr=False)

    def to_header(self) -> str:
        """As the engine takes it with a call."""
        content = json.dumps({"username": self.username, "password": self.password})
        return base64.urlsafe_b64encode(content.encode()).decode("ascii")


# The login for an image; None is the machine's own (docker login), or none at all. Asked only when it is needed.
AskLogin = Callable[[], Login | None]


def registry_of(uri: str) -> str:
    """The host of the registry that an image's name leads to, with its port.

    Args:
        uri: name of an image without tag; without a host it is Docker Hub's.
    """
    host = _host_in(uri)
    return server_host(host) if host else DOCKER_HUB


def without_registry(name: str) -> str:
    """The name of an image, also with a tag or a digest, without the host of its registry (LC-8)."""
    host = _host_in(name)
    return name[len(host) + 1 :] if host else name


def _host_in(name: str) -> str:
    """The host of a registry that an image's name begins with; empty without one."""
    host, slash, _ = name.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else ""


def server_host(server: str) -> str:
    """The host of a registry as people write it: a URL, with a path, or just a name."""
    host = server.strip().partition("://")[2] or server.strip()
    host = host.partition("/")[0].lower()
    return DOCKER_HUB if host in _DOCKER_HUB_NAMES else host


def ecr_account(uri: str) -> str:
    """The account of an image in Amazon's registry: what stands before the first dot (IG-11); empty without one."""
    account, dot, _ = uri.partition(".")
    return account if dot else ""


def ecr_login(uri: str, region: str = "") -> Login:
    """Ask Amazon for a temporary login (IG-11).

    The worker's own AWS identity is used, as boto3 finds it: environment, ``~/.aws``, or the machine's role.

    Args:
        uri: name of the image.
        region: region of the registry, ``us-east-1`` if empty.

    Raises:
        UserError: boto3 is not installed.
        PassingError: Amazon gives no login.
        DoubtfulError: this worker has no AWS identity, or a wrong one.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise UserError(
            f"The image {uri} is in Amazon's registry, whose logins need the package boto3: pip install boto3. "
            "Or log this machine in (docker login) and register the image with the type dockerhub."
        ) from None
    try:
        client = boto3.client("ecr", region_name=region or DEFAULT_ECR_REGION)
        answer = client.get_authorization_token(registryIds=[ecr_account(uri)])
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    except (BotoCoreError, ClientError, LookupError, binascii.Error, UnicodeDecodeError) as error:
        kind = PassingError if _may_pass(error) else DoubtfulError
        raise kind(f"Amazon gives no login for the image {uri}: {error}.") from None
    username, _, password = token.partition(":")
    return Login(username, password)


def _may_pass(error: Exception) -> bool:
    """Whether Amazon could not be reached, failed itself, or was asked too often; all else is an identity's fault."""
    from botocore.exceptions import ClientError, HTTPClientError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or "throttl" in error.response.get("Error", {}).get("Code", "").lower()
    return isinstance(error, HTTPClientError)
