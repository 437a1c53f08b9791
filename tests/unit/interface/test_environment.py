"""Environment variables of containers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import component

from docker_runner.interface.environment import RunIdentity, container_environment

IDENTITY = RunIdentity(
    run_id="1.2", project_id="7", stack_id="connection.example.com", config_id="main", config_version="3",
    row_id="", branch_id="", mode="run", features=("queuev2",),
)  # fmt: skip


@pytest.mark.rules(*(f"EV-{number}" for number in range(1, 11)))
def test_a_container_is_told_who_it_is() -> None:
    assert container_environment(component(), IDENTITY, parameters={}) == {
        "KBC_RUNID": "1.2",
        "KBC_PROJECTID": "7",
        "KBC_DATADIR": "/data/",
        "KBC_CONFIGID": "main",
        "KBC_CONFIGVERSION": "3",
        "KBC_COMPONENTID": "vendor.ex-foo",
        "KBC_STACKID": "connection.example.com",
        "KBC_STAGING_FILE_PROVIDER": "local",
        "KBC_PROJECT_FEATURE_GATES": "queuev2",
        "KBC_COMPONENT_RUN_MODE": "run",
    }


@pytest.mark.rules("EV-6", "EV-10", "EV-12", "EV-16", "PR-8")
def test_row_branch_and_mode_are_told_when_there_are_any() -> None:
    identity = replace(IDENTITY, row_id="r", branch_id="5", mode="debug")
    variables = container_environment(component("processor"), identity, parameters={})
    assert (variables["KBC_CONFIGROWID"], variables["KBC_BRANCHID"]) == ("r", "5")
    assert (variables["KBC_COMPONENTID"], variables["KBC_COMPONENT_RUN_MODE"]) == ("processor", "debug")
    assert variables["KBC_CONFIGID"] == "main"


@pytest.mark.rules("EV-4", "PR-8")
def test_without_a_configuration_its_id_is_a_hash_of_the_parameters() -> None:
    def config_id(parameters: object) -> str:
        identity = replace(IDENTITY, config_id="")
        return container_environment(component(), identity, parameters=parameters)["KBC_CONFIGID"]

    assert len(config_id({})) == 40
    assert config_id({"a": 1, "b": 2}) == config_id({"b": 2, "a": 1}) != config_id({"a": 1})
