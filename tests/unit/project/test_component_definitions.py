"""Each field of a component's definition: what it may be, and what it is when nothing is said."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import component, component_document

from docker_runner.documents import checked
from docker_runner.errors import ConfigurationError
from docker_runner.project.component import Component

VERBOSITY = {
    "100": "none", "200": "normal", "250": "normal", "300": "normal", "400": "normal", "500": "camouflage",
    "550": "camouflage", "600": "camouflage",
}  # fmt: skip


@pytest.mark.rules(
    "CD-1", "CD-2", "CD-5", "CD-6", "CD-7", "CD-10", "CD-11", "CD-12", "CD-13", "CD-14", "CD-15", "CD-16", "CD-17",
    "CD-18", "CD-19", "CD-20", "CD-21", "CD-22", "CD-23", "CD-24", "CD-25", "CD-27", "CD-28", "CD-29", "D1",
)  # fmt: skip
def test_a_definition_that_names_only_an_image_gets_these_defaults() -> None:
    found = checked(component_document(), "component")
    data = found.pop("data")
    definition = data.pop("definition")
    assert (definition["tag"], definition["digest"], definition["name"]) == ("latest", "", None)
    assert found == {
        "id": "vendor.ex-foo",
        "type": "other",
        "name": "",
        "features": [],
        "dataTypesConfiguration": {"dataTypesSupport": "none"},
        "processorConfiguration": {"allowedProcessorPosition": "any"},
    }
    assert data == {
        "memory": "256m",
        "configuration_format": "json",
        "process_timeout": 3600,
        "network": "bridge",
        "granularity": "steps",
        "forward_token": False,
        "forward_token_details": False,
        "default_bucket": False,
        "default_bucket_stage": "in",
        "image_parameters": {},
        "stack_parameters": {},
        "synchronous_actions": [],
        "logging": {
            "type": "standard", "verbosity": VERBOSITY, "gelf_server_type": "tcp", "no_application_errors": False,
        },
        "staging_storage": {"input": "local", "output": "local"},
    }  # fmt: skip


@pytest.mark.rules("CD-21")
def test_a_given_verbosity_replaces_the_default_one_as_a_whole() -> None:
    assert component(logging={"verbosity": {"300": "verbose"}}).data["logging"]["verbosity"] == {"300": "verbose"}


@pytest.mark.rules(
    "CD-1", "CD-3", "CD-4", "CD-11", "CD-12", "CD-13", "CD-14", "CD-16", "CD-17", "CD-18", "CD-19", "CD-20", "CD-21",
    "CD-22", "CD-23", "CD-24", "CD-25", "CD-27", "CD-28", "CD-29", "CD-33",
)  # fmt: skip
@pytest.mark.parametrize(
    ("document", "key"),
    [
        (component_document(id=1) | {"id": 1}, "id"),
        (component_document(definition={"type": "podman", "uri": "x"}), "data.definition.type"),
        (component_document(definition={"type": "dockerhub", "uri": ""}), "data.definition.uri"),
        (component_document(configuration_format="xml"), "data.configuration_format"),
        (component_document(process_timeout=1.5), "data.process_timeout"),
        (component_document(network=""), "data.network"),
        (component_document(forward_token="yes"), "data.forward_token"),
        (component_document(default_bucket=1), "data.default_bucket"),
        (component_document(default_bucket_stage="sys"), "data.default_bucket_stage"),
        (component_document(image_parameters="a"), "data.image_parameters"),
        (component_document(synchronous_actions="a"), "data.synchronous_actions"),
        (component_document(logging={"type": "syslog"}), "data.logging.type"),
        (component_document(logging={"verbosity": {"100": "loud"}}), "data.logging.verbosity.100"),
        (component_document(logging={"gelf_server_type": "amqp"}), "data.logging.gelf_server_type"),
        (component_document(logging={"no_application_errors": 1}), "data.logging.no_application_errors"),
        (component_document(staging_storage={"input": "ftp"}), "data.staging_storage.input"),
        (component_document(staging_storage={"output": "s3"}), "data.staging_storage.output"),
        (component_document(root={"features": ["a", 1]}), "features[1]"),
        (component_document(root={"dataTypesConfiguration": {"dataTypesSupport": "all"}}),
         "dataTypesConfiguration.dataTypesSupport"),
        (component_document(root={"processorConfiguration": {"allowedProcessorPosition": "middle"}}),
         "processorConfiguration.allowedProcessorPosition"),
        (component_document(stack_parameters={"host": "a"}), "data.stack_parameters.host"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_key(document: Any, key: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Component.from_document(document, file="c.json")
    assert (error.value.file, error.value.key) == ("c.json", key)


@pytest.mark.rules("CD-34", "D27")
@pytest.mark.parametrize("inner", ["s3", "abs", "workspace-snowflake", "workspace-bigquery"])
def test_of_the_ways_to_exchange_data_only_files_are_offered(inner: str) -> None:
    assert component(staging_storage={"input": "local", "output": "local"}).writes_storage
    with pytest.raises(ConfigurationError, match="components get and give their data as files"):
        component(staging_storage={"input": inner})


@pytest.mark.rules("CD-40", "CD-41")
def test_parameters_of_a_stack_are_laid_over_the_general_ones_key_by_key() -> None:
    found = component(
        image_parameters={"a": {"deep": 1}, "b": 1},
        stack_parameters={"one.example.com": {"a": {"other": 2}}, "two.example.com": {"#secret": "c"}},
    )
    assert found.for_stack("one.example.com").data["image_parameters"] == {"a": {"other": 2}, "b": 1}
    assert found.for_stack("three.example.com").data["image_parameters"] == {"a": {"deep": 1}, "b": 1}
    assert "#secret" not in str(found.for_stack("one.example.com").definition)


@pytest.mark.rules("CD-40")
def test_parameters_of_a_stack_may_be_told_by_its_region_and_those_of_the_host_win() -> None:
    host = "connection.eu-central-1.example.com"
    found = component(stack_parameters={host: {"a": "host"}, "eu-central-1": {"a": "region", "b": 1}, "us": {"c": 1}})
    assert found.for_stack(host).data["image_parameters"] == {"a": "host", "b": 1}
    assert found.for_stack("connection.example.com").data["image_parameters"] == {}
