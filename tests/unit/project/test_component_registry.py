"""Components as registered."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, component, component_document, write

from docker_runner.engine.images import PullPolicy
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.component import Component


@pytest.mark.rules("CD-1")
def test_components_are_listed_and_read_by_their_id(built: ProjectBuilder) -> None:
    built.component("vendor.wr-bar", root={"type": "writer", "features": ["no-swap"]})
    assert built.registry.ids() == ["vendor.ex-foo", "vendor.wr-bar"]
    found = built.registry.get("vendor.wr-bar")
    assert (found.id, found.type, found.features, found.sanitized_id) == (
        "vendor.wr-bar", "writer", ("no-swap",), "vendor-wr-bar",
    )  # fmt: skip


@pytest.mark.parametrize("component_id", ["vendor.ex-fooo", "../components/vendor.ex-foo", ""])
def test_an_unknown_component_is_named_with_similar_ones(built: ProjectBuilder, component_id: str) -> None:
    with pytest.raises(NotFoundError, match="is not registered") as error:
        built.registry.get(component_id)
    assert ("Did you mean vendor.ex-foo?" in str(error.value)) == bool(component_id)


@pytest.mark.rules("CD-2", "CD-3", "CD-4", "CD-10", "CD-33", "D27")
@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        ({"memory": "256"}, "data.memory", "a number followed by m or g, e.g. 256m"),
        ({"memory": "0m"}, "data.memory", "a number followed by m or g"),
        ({"memory": "999999999999g"}, "data.memory", "at most 999999g"),
        ({"network": "host"}, "data.network", "Must be one of 'none', 'bridge', 'no-internet'"),
        ({"definition": {"type": "dockerhub"}}, "data.definition", "The key 'uri' is missing."),
        ({"definition": {"type": "podman", "uri": "x"}}, "data.definition.type", "Must be one of 'dockerhub'"),
        ({"process_timeout": -1}, "data.process_timeout", "-1"),
        ({"process_timeout": True}, "data.process_timeout", "Must be a whole number, not true."),
        ({"staging_storage": {"input": "s3"}}, "data.staging_storage.input", "'s3' is not supported here"),
        ({"staging_storage": {"output": "workspace-snowflake"}}, "data.staging_storage.output", "not supported here"),
    ],
)
def test_a_wrong_definition_names_file_and_key(
    built: ProjectBuilder, change: dict[str, Any], key: str, problem: str
) -> None:
    file = built.component(**change)
    with pytest.raises(ConfigurationError) as error:
        built.registry.get("vendor.ex-foo")
    assert (error.value.file, error.value.key) == (str(file), key)
    assert problem in error.value.problem


def test_a_definition_under_another_name_is_refused(built: ProjectBuilder) -> None:
    write(built.folder / "components/copy.json", component_document("vendor.ex-foo"))
    with pytest.raises(ConfigurationError, match=r"copy\.json:1: id: The id must be .* 'copy'"):
        built.registry.get("copy")


@pytest.mark.rules("CD-26", "CD-32")
def test_unknown_keys_of_a_definition_are_ignored() -> None:
    image = {"type": "dockerhub", "uri": "vendor/foo", "flavour": 1}
    found = component(
        definition=image, flavour=1, vendor={"contact": 1}, staging_storage={"other": "x"}, logging={"colour": 1},
        root={"uiOptions": []},
    )  # fmt: skip
    assert found.reads_storage


@pytest.mark.rules("CD-5", "CD-6", "LC-82", "PR-4", "D3", "IG-2")
@pytest.mark.parametrize(
    ("image", "tag", "reference", "digest"),
    [
        ({}, "", "vendor/foo:latest", ""),
        ({"tag": ""}, "", "vendor/foo:latest", ""),
        ({"tag": 1.5, "digest": "abc"}, "", "vendor/foo:1.5", "abc"),
        ({"tag": "1.0", "digest": "abc"}, "2.0", "vendor/foo:2.0", ""),
        ({"tag": "1.0", "digest": "abc"}, "1.0", "vendor/foo:1.0", "abc"),
        ({"type": "quayio"}, "", "quay.io/vendor/foo:latest", ""),
    ],
)
def test_the_tag_of_a_run_wins_over_the_registered_one(
    image: dict[str, Any], tag: str, reference: str, digest: str
) -> None:
    request = component(definition={"type": "dockerhub", "uri": "vendor/foo", **image}).image(tag)
    assert (request.reference, request.digest, request.pull_policy) == (reference, digest, PullPolicy.IF_NOT_PRESENT)


@pytest.mark.rules("CD-10")
@pytest.mark.parametrize(("memory", "size"), [("256m", 256_000_000), ("2G", 2_000_000_000), ("010M", 10_000_000)])
def test_memory_is_counted_in_powers_of_ten(memory: str, size: int) -> None:
    assert component(memory=memory).memory_bytes == size


@pytest.mark.rules("LC-31")
@pytest.mark.parametrize(
    ("staging", "reads", "writes"),
    [
        ({}, True, True),
        ({"output": "none"}, True, False),
        ({"input": "none"}, False, False),
        ({"input": "none", "output": "local"}, False, False),
    ],
)
def test_staging_none_switches_mapping_off(staging: dict[str, str], reads: bool, writes: bool) -> None:
    found = component(staging_storage=staging)
    assert (found.reads_storage, found.writes_storage) == (reads, writes)


def test_printing_a_component_shows_nothing_of_its_definition() -> None:
    found = component(image_parameters={"#token": "KBC::ComponentSecure::abc"})
    assert isinstance(found, Component)
    assert "KBC" not in repr(found)
