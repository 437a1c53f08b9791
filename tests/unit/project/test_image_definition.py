"""Where a component's image comes from, as its definition says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, component

from docker_runner.engine.registries import registry_of, server_host
from docker_runner.errors import ConfigurationError

CIPHER = "KBC::ComponentSecure::abc"


@pytest.mark.rules("CD-3", "IG-1", "IG-10", "IG-13")
@pytest.mark.parametrize(
    ("kind", "uri", "reference"),
    [
        ("dockerhub", "vendor/foo", "vendor/foo:latest"),
        ("dockerhub-private", "registry.example.com/foo", "registry.example.com/foo:latest"),
        ("quayio", "vendor/foo", "quay.io/vendor/foo:latest"),
        ("quayio-private", "vendor/foo", "quay.io/vendor/foo:latest"),
        ("aws-ecr", "1.dkr.ecr.eu-west-1.amazonaws.com/foo", "1.dkr.ecr.eu-west-1.amazonaws.com/foo:latest"),
    ],
)
def test_every_kind_of_registry_has_its_own_names(kind: str, uri: str, reference: str) -> None:
    login = {"username": "user", "#password": CIPHER} if kind.endswith("private") else {}
    found = component(definition={"type": kind, "uri": uri, "repository": login})
    assert found.image().reference == reference


@pytest.mark.rules("CD-8", "IG-11", "IG-13", "EN-9")
@pytest.mark.parametrize(
    ("image", "key", "problem"),
    [
        ({"repository": {"username": "u", "#password": "plain"}}, "repository.#password", "not encrypted"),
        ({"repository": {"username": "u"}}, "repository.#password", "needs username and #password"),
        ({"repository": {"#password": CIPHER}}, "repository.username", "needs username and #password"),
        ({"type": "quayio-private"}, "repository.username", "needs username and #password"),
        ({"type": "dockerhub-private", "repository": {"username": "u"}}, "repository.#password", "needs username"),
        (
            {"repository": {"username": "u", "#password": CIPHER, "server": "https://other.example.com"}},
            "repository.server",
            "pulled from docker.io, not from https://other.example.com: write the server in front of the uri",
        ),
        ({"type": "aws-ecr", "uri": "foo"}, "uri", "begins with the account"),
        (
            {"type": "aws-ecr", "uri": "1.aws/foo", "repository": {"username": "u", "#password": CIPHER}},
            "repository.username",
            "AWS identity",
        ),
        ({"type": "builder"}, "", "The key 'build_options' is missing."),
    ],
)
def test_a_login_that_would_not_be_used_is_refused(
    built: ProjectBuilder, image: dict[str, Any], key: str, problem: str
) -> None:
    file = built.component(definition={"type": "dockerhub", "uri": "vendor/foo", **image})
    with pytest.raises(ConfigurationError) as error:
        built.registry.get("vendor.ex-foo")
    assert (error.value.file, error.value.key) == (str(file), f"data.definition.{key}".rstrip("."))
    assert problem in error.value.problem
    assert "plain" not in str(error.value)


@pytest.mark.rules("CD-8", "IG-13")
@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("vendor/foo", "https://index.docker.io/v1/"),
        ("foo", "docker.io"),
        ("registry.example.com:5000/foo", "http://registry.example.com:5000"),
        ("localhost/foo", "localhost"),
    ],
)
def test_a_server_may_be_written_in_every_usual_way(uri: str, server: str) -> None:
    login = {"username": "u", "#password": CIPHER, "server": server}
    component(definition={"type": "dockerhub", "uri": uri, "repository": login})
    assert registry_of(uri) == server_host(server)


@pytest.mark.rules("CD-7")
@pytest.mark.parametrize("name", [None, "replicated/foo", 7])
def test_a_name_in_a_replicated_registry_is_accepted_and_changes_nothing(name: Any) -> None:
    assert component(definition={"type": "dockerhub", "uri": "a/b", "name": name}).image().reference == "a/b:latest"
    with pytest.raises(ConfigurationError, match=r"data\.definition\.name"):
        component(definition={"type": "dockerhub", "uri": "a/b", "name": ["x"]})
