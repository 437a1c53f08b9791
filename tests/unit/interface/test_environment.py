"""Environment variables of containers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import component

from docker_runner.errors import UserError
from docker_runner.interface.environment import RunIdentity, container_environment, refuse_missing_token
from docker_runner.project.component import Component
from docker_runner.settings import ForwardedToken

IDENTITY = RunIdentity(
    run_id="1.2", project_id="7", stack_id="connection.example.com", config_id="main", config_version="3",
    row_id="", branch_id="", mode="run", features=("queuev2",),
)  # fmt: skip


TOKEN = ForwardedToken("12-345-secret", "https://example.com", "of the runner", "My project")


def variables_of(component: Component, identity: RunIdentity = IDENTITY, **changes: Any) -> dict[str, str]:
    options: dict[str, Any] = {"parameters": {}, "data_type_support": "none", "token": TOKEN}
    return container_environment(component, identity, **options | changes)


@pytest.mark.rules(*(f"EV-{number}" for number in range(1, 11)))
def test_a_container_is_told_who_it_is() -> None:
    assert variables_of(component(), IDENTITY) == {
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


@pytest.mark.rules("EV-7", "EV-21")
def test_a_project_of_no_stack_has_a_stack_all_the_same() -> None:
    # Keboola's Python client would believe that it runs on a developer's machine.
    assert variables_of(component(), replace(IDENTITY, stack_id=""))["KBC_STACKID"] == "local"


@pytest.mark.rules("EV-6", "EV-10", "EV-12", "EV-16", "EV-19", "PR-8")
def test_row_branch_and_mode_are_told_when_there_are_any() -> None:
    identity = replace(IDENTITY, row_id="r", branch_id="5", mode="debug")
    variables = variables_of(component("processor"), identity)
    assert (variables["KBC_CONFIGROWID"], variables["KBC_BRANCHID"]) == ("r", "5")
    assert (variables["KBC_COMPONENTID"], variables["KBC_COMPONENT_RUN_MODE"]) == ("processor", "debug")
    assert variables["KBC_CONFIGID"] == "main"


@pytest.mark.rules("EV-10")
@pytest.mark.parametrize(("mode", "told"), [("run", "run"), ("debug", "debug"), ("dry-run", "debug")])
def test_components_are_told_whether_results_are_stored(mode: str, told: str) -> None:
    assert variables_of(component(), replace(IDENTITY, mode=mode))["KBC_COMPONENT_RUN_MODE"] == told


@pytest.mark.rules("EV-4", "PR-8")
def test_without_a_configuration_its_id_is_a_hash_of_the_parameters() -> None:
    def config_id(parameters: object) -> str:
        identity = replace(IDENTITY, config_id="")
        return variables_of(component(), identity, parameters=parameters)["KBC_CONFIGID"]

    assert len(config_id({})) == 40
    assert config_id({"a": 1, "b": 2}) == config_id({"b": 2, "a": 1}) != config_id({"a": 1})


@pytest.mark.rules("EV-11", "CD-59")
@pytest.mark.parametrize(
    ("features", "told"), [((), None), (("native-types",), None), (("new-native-types",), "hints")]
)
def test_data_type_support_is_told_where_tables_are_typed(features: tuple[str, ...], told: str | None) -> None:
    variables = variables_of(component(), replace(IDENTITY, features=features), data_type_support="hints")
    assert variables.get("KBC_DATA_TYPE_SUPPORT") == told


@pytest.mark.rules("EV-13", "EV-14", "CD-14", "CD-15")
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({}, {}),
        ({"forward_token": True}, {"KBC_TOKEN": "12-345-secret", "KBC_URL": "https://example.com"}),
        (
            {"forward_token_details": True},
            {"KBC_PROJECTNAME": "My project", "KBC_TOKENID": "345", "KBC_TOKENDESC": "of the runner"},
        ),
    ],
)
def test_only_a_component_that_asks_for_it_is_told_of_the_token(flags: dict[str, bool], told: dict[str, str]) -> None:
    plain = variables_of(component())
    assert {name: text for name, text in variables_of(component(**flags)).items() if name not in plain} == told
    assert "secret" not in repr(TOKEN)


@pytest.mark.rules("EV-13", "EV-14")
@pytest.mark.parametrize(
    ("flag", "token", "missing"),
    [
        ("forward_token", ForwardedToken(), "DOCKER_RUNNER_KBC_TOKEN and DOCKER_RUNNER_KBC_URL"),
        ("forward_token", ForwardedToken("t"), "set DOCKER_RUNNER_KBC_URL"),
        ("forward_token_details", ForwardedToken("t"), "set DOCKER_RUNNER_KBC_PROJECT_NAME"),
        ("forward_token_details", ForwardedToken(), "DOCKER_RUNNER_KBC_TOKEN and DOCKER_RUNNER_KBC_PROJECT_NAME"),
    ],
)
def test_a_missing_token_is_refused_with_the_variables_to_set(flag: str, token: ForwardedToken, missing: str) -> None:
    with pytest.raises(UserError, match=rf"vendor\.ex-foo.*{missing}\."):
        refuse_missing_token(component(**{flag: True}), token)
    refuse_missing_token(component(**{flag: True}), TOKEN)
    refuse_missing_token(component(), ForwardedToken())
