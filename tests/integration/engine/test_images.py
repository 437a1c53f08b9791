"""Pulling images from a registry that runs beside the test."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.engine.registry import Registry

from docker_runner.engine.attempts import PullLimits
from docker_runner.engine.client import Engine
from docker_runner.engine.images import ImageRequest, PreparedImage, PullPolicy, prepare_image
from docker_runner.engine.registries import Login
from docker_runner.errors import ApplicationError, EngineError, NotFoundError, UserError

pytestmark = pytest.mark.engine

FAST = PullLimits(attempts=3, first_pause_seconds=0.05)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    running = Registry()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def private_registry() -> Iterator[Registry]:
    running = Registry(login="user:pass")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def uri(engine: Engine, registry: Registry) -> Iterator[str]:
    """A fresh repository in the registry; what was pulled from it is removed."""
    registry.failures = 0
    registry.manifest_requests.clear()
    name = f"{registry.address}/keboola/{uuid.uuid4().hex}"
    yield name
    for image in engine.client.images(name=name):
        engine.client.remove_image(image["Id"], force=True)


@pytest.fixture
def push(registry: Registry, uri: str) -> Callable[..., str]:
    def store(content: str, tag: str = "1.0") -> str:
        return registry.push(uri.split("/", 1)[1], tag, f"{uri} {content}")

    return store


class Preparing:
    """Prepares images and keeps what people were told."""

    def __init__(self, engine: Engine, uri: str) -> None:
        self._engine = engine
        self._uri = uri
        self.told: list[str] = []

    def __call__(self, tag: str = "1.0", **request: Any) -> PreparedImage:
        wanted = ImageRequest(**{"uri": self._uri, "tag": tag, **request})
        return prepare_image(self._engine, wanted, self.told.append, limits=FAST)


@pytest.fixture
def prepare(engine: Engine, uri: str) -> Preparing:
    return Preparing(engine, uri)


@pytest.mark.rules("IG-1", "IG-3", "IG-7", "D3")
def test_an_image_that_is_not_there_is_pulled_once(
    prepare: Preparing, push: Callable[..., str], uri: str, registry: Registry, engine: Engine
) -> None:
    digest = push("first")
    first = prepare()
    assert (first.reference, first.digests, first.pulled) == (f"{uri}:1.0", (f"{uri}@{digest}",), True)
    assert engine.client.inspect_image(first.id)["RepoTags"] == [f"{uri}:1.0"]
    assert prepare.told[0] == f"Pulling the image {uri}:1.0."
    asked = len(registry.manifest_requests)
    again = prepare()
    assert (again.id, again.digests, again.pulled) == (first.id, first.digests, False)
    assert len(registry.manifest_requests) == asked
    assert len(prepare.told) == 2


@pytest.mark.rules("D3")
def test_always_pulls_a_tag_that_moved_and_if_not_present_does_not(
    prepare: Preparing, push: Callable[..., str]
) -> None:
    push("first")
    first = prepare()
    push("second")
    assert prepare().id == first.id
    moved = prepare(pull_policy=PullPolicy.ALWAYS)
    assert moved.pulled
    assert moved.id != first.id


@pytest.mark.rules("D3")
def test_always_never_falls_back_to_the_image_that_is_there(
    prepare: Preparing, push: Callable[..., str], registry: Registry
) -> None:
    push("first")
    prepare()
    registry.failures = 99
    with pytest.raises(ApplicationError, match="cannot be pulled"):
        prepare(pull_policy=PullPolicy.ALWAYS)


@pytest.mark.rules("D3")
def test_never_takes_what_is_there_or_says_how_to_get_it(
    prepare: Preparing, push: Callable[..., str], registry: Registry, uri: str
) -> None:
    push("first")
    with pytest.raises(NotFoundError, match=rf"{uri}:1.0 .*never.*docker build -t.*docker pull"):
        prepare(pull_policy=PullPolicy.NEVER)
    assert registry.manifest_requests == []
    image = prepare()
    assert prepare(pull_policy=PullPolicy.NEVER) == PreparedImage(image.reference, image.id, image.digests)


@pytest.mark.rules("IG-3", "D3")
@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_a_registered_digest_that_the_image_has_needs_no_pull(
    prepare: Preparing, push: Callable[..., str], prefix: str
) -> None:
    hexadecimal = push("first").removeprefix("sha256:")
    assert prepare(digest=prefix + hexadecimal).pulled
    assert not prepare(digest=prefix + hexadecimal.upper() if not prefix else prefix + hexadecimal).pulled


@pytest.mark.rules("IG-3", "D3")
def test_another_registered_digest_pulls_the_tag_anew(prepare: Preparing, push: Callable[..., str]) -> None:
    push("first")
    prepare()
    second = push("second")
    image = prepare(digest=second)
    assert image.pulled
    assert image.digests[0].endswith(second)


@pytest.mark.rules("D3")
@pytest.mark.parametrize("policy", list(PullPolicy))
def test_an_image_with_another_digest_than_the_registered_one_never_runs(
    prepare: Preparing, push: Callable[..., str], policy: PullPolicy
) -> None:
    real = push("first")
    prepare()
    with pytest.raises(ApplicationError, match=f"not the registered one.*sha256:0000.*{real}") as caught:
        prepare(digest="sha256:" + "0" * 64, pull_policy=policy)
    assert not isinstance(caught.value, EngineError)


@pytest.mark.rules("IG-4", "D3")
def test_an_image_built_here_runs_without_a_registry_and_is_pinned_by_its_id(
    engine: Engine, build: Callable[..., str]
) -> None:
    tag = build("LABEL made=here")
    request = ImageRequest(tag.partition(":")[0], "latest")
    image = prepare_image(engine, request, print)
    assert (image.digests, image.pulled) == ((), False)
    pinned = ImageRequest(request.uri, "latest", digest=image.id, pull_policy=PullPolicy.NEVER)
    assert prepare_image(engine, pinned, print) == image


@pytest.mark.rules("IG-11")
def test_an_image_that_the_registry_does_not_have_is_a_user_error_at_once(
    prepare: Preparing, push: Callable[..., str], registry: Registry, uri: str
) -> None:
    push("first")
    with pytest.raises(NotFoundError, match=rf"{uri}:2.0 is not in its registry.*manifest unknown.*Check its name"):
        prepare("2.0")
    assert len(prepare.told) == 1
    assert len(registry.manifest_requests) <= 2  # the engine's own HEAD and GET


@pytest.mark.rules("IG-13", "IG-14")
def test_a_private_image_needs_its_login(engine: Engine, private_registry: Registry) -> None:
    name = f"keboola/{uuid.uuid4().hex}"
    private_registry.push(name, "1.0", name)
    uri = f"{private_registry.address}/{name}"

    def pull(login: Login | None) -> PreparedImage:
        return prepare_image(engine, ImageRequest(uri, "1.0"), print, login=lambda: login, limits=FAST)

    for login in (None, Login("user", "wrong-password")):
        with pytest.raises(UserError, match=r"refuses the image.*login") as caught:
            pull(login)
        assert "wrong-password" not in str(caught.value)
    image = pull(Login("user", "pass"))
    assert image.pulled
    engine.client.remove_image(image.id, force=True)


def test_a_password_is_not_in_the_representation_of_a_login() -> None:
    assert "secret" not in repr(Login("user", "secret"))


@pytest.mark.rules("IG-5")
def test_a_registry_that_fails_is_asked_again(prepare: Preparing, push: Callable[..., str], registry: Registry) -> None:
    push("first")
    registry.failures = 2  # the engine asks twice for one pull
    assert prepare().pulled
    assert "Trying again in" in prepare.told[1]


@pytest.mark.rules("IG-5", "IG-6")
def test_a_registry_that_does_not_answer_is_an_application_error_after_the_last_attempt(
    engine: Engine, prepare: Preparing
) -> None:
    told: list[str] = []
    began = time.monotonic()
    with pytest.raises(ApplicationError, match=r"127.0.0.1:1/absent:1 cannot be pulled.*does not answer.*refused"):
        prepare_image(engine, ImageRequest("127.0.0.1:1/absent", "1"), told.append, limits=FAST)
    assert len(told) == FAST.attempts
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("name", ["Not A Name", "UPPER/case"])
def test_a_malformed_name_is_a_user_error(engine: Engine, name: str) -> None:
    with pytest.raises(UserError, match="is not the name of an image"):
        prepare_image(engine, ImageRequest(name, "1"), print, limits=FAST)


def test_a_prepared_image_survives_its_manifest() -> None:
    image = PreparedImage("a/b:1", "sha256:1", ("a/b@sha256:2",), pulled=True)
    assert PreparedImage.from_manifest(json.loads(json.dumps(image.to_manifest()))) == image
