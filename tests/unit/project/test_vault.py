"""Vault variables: values that are kept outside the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.project.variables import VariableValues, with_variables
from docker_runner.project.vault import Vault

VALUES = {"token": 'a "b"\n', "of_branch": {"main": "m", "dev": "d"}}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(write(tmp_path / "vault.json", VALUES))


def replaced(built: ProjectBuilder, parameters: Any, vault: Vault | None, **more: Any) -> Any:
    return with_variables({"parameters": parameters, **more}, VariableValues(), project=built.project, vault=vault)


@pytest.mark.rules("VR-14", "VR-12")
def test_placeholders_of_the_vault_are_replaced_without_variables_too(built: ProjectBuilder, vault: Vault) -> None:
    content, used = replaced(built, {"{{vault.token}}": ["<{{ vault.token }}>", "{{ other }}"]}, vault)
    assert content["parameters"] == {'a "b"\n': ['<a "b"\n>', "{{ other }}"]}
    assert used == {"vault.token": 'a "b"\n'}
    built.configuration()
    built.variables(["v"], {"default": {"v": "5"}})
    ids = {"variables_id": "vendor.ex-foo-main", "variables_values_id": "default"}
    content, used = replaced(built, "{{ v }} {{ vault.token }}", vault, **ids)
    assert content["parameters"] == '5 a "b"\n'
    assert used == {"vault.token": 'a "b"\n', "v": "5"}


@pytest.mark.rules("VR-14")
@pytest.mark.parametrize(
    "text", ["{{{ vault.token }}}", "{{ vault.a.b }}", "{{ vault.a b }}", "{{vault.}}", "vault.token"]
)
def test_what_only_looks_like_one_is_left_alone(built: ProjectBuilder, vault: Vault, text: str) -> None:
    assert replaced(built, text, vault) == ({"parameters": text}, {})


@pytest.mark.rules("VR-14")
def test_values_may_differ_by_branch(built: ProjectBuilder, tmp_path: Path) -> None:
    file = write(tmp_path / "vault.json", VALUES)
    for branch, value in (("main", "m"), ("dev", "d")):
        assert replaced(built, "{{ vault.of_branch }}", Vault(file, branch))[0]["parameters"] == value
    with pytest.raises(UserError, match=r"no value: vault\.of_branch"):
        replaced(built, "{{ vault.of_branch }}", Vault(file, "third"))


@pytest.mark.rules("VR-14")
def test_the_vault_is_read_only_when_a_placeholder_occurs(built: ProjectBuilder, tmp_path: Path) -> None:
    broken = Vault(write(tmp_path / "vault.json", "{"))
    assert replaced(built, "{{ no }}", broken)[0] == {"parameters": "{{ no }}"}
    with pytest.raises(ConfigurationError, match=r"vault\.json: This is not valid JSON"):
        replaced(built, "{{ vault.a }}", broken)


@pytest.mark.rules("VR-11", "VR-14", "D21")
def test_missing_names_of_the_vault_are_listed_before_others(built: ProjectBuilder, vault: Vault) -> None:
    built.configuration()
    built.variables(["v"], {"default": {"v": "1"}})
    ids = {"variables_id": "vendor.ex-foo-main", "variables_values_id": "default"}
    text = "{{ a }} {{ vault.x }} {{ v }} {{ b }} {{ vault.y }} {{ vault.token }}"
    with pytest.raises(UserError, match=r"no value: vault\.x, vault\.y, a, b\. .* DOCKER_RUNNER_VAULT"):
        replaced(built, text, vault, **ids)
    with pytest.raises(UserError, match=r"no value: vault\.x\."):
        replaced(built, "{{ vault.x }} {{ a }}", None)


@pytest.mark.parametrize("content", [{"a b": "c"}, {"a": 4711}, {"a": ["hunter2"]}, {"a": {"main": 4711}}, ["a"]])
def test_a_wrong_vault_is_told_without_its_values(built: ProjectBuilder, tmp_path: Path, content: Any) -> None:
    vault = Vault(write(tmp_path / "vault.json", json.dumps(content)))
    with pytest.raises(ConfigurationError, match=r"vault\.json") as error:
        replaced(built, "{{ vault.a }}", vault)
    assert "4711" not in str(error.value)
    assert "hunter2" not in str(error.value)
