"""The schemas in ``include/schemas`` as editors and other clients use them: the standard's words alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from tests.builders import configuration
from tests.corpus.cases import read_cases

from docker_runner.errors import ConfigurationError
from docker_runner.schemas import schema_folder

SCHEMAS = {path.name: json.loads(path.read_text()) for path in schema_folder().glob("*.json")}


def as_a_client_sees_it(name: str) -> Draft202012Validator:
    found = {key: Resource.from_contents(schema) for key, schema in SCHEMAS.items()}
    return Draft202012Validator(SCHEMAS[name], registry=Registry().with_resources(found.items()))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_a_valid_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    as_a_client_sees_it(name).is_valid({})


@pytest.mark.rules("CF-37")
@pytest.mark.parametrize("case", [case for case in read_cases("configurations") if "content" in case.parts])
def test_a_client_finds_what_the_runner_refuses_to_read(case: Any) -> None:
    try:
        configuration(case.content)
        taken = True
    except ConfigurationError:
        taken = False
    assert as_a_client_sees_it("configuration.json").is_valid(case.content) is taken
