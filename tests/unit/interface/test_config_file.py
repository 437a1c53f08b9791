"""The config file that a component reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.builders import configuration

from docker_runner.errors import ConfigurationError
from docker_runner.interface.config_file import main_config, processor_config, refuse_misuse, rendered


@pytest.mark.rules("DF-15", "TV-5", "D1")
def test_an_empty_configuration_still_has_all_nodes() -> None:
    assert main_config(configuration({}), {}) == {
        "storage": {}, "parameters": {}, "image_parameters": {}, "authorization": {},
        "action": "run", "shared_code_row_ids": [],
    }  # fmt: skip
    empty: dict[str, Any] = {"storage": [], "parameters": [], "authorization": []}
    assert main_config(configuration(empty), []) == main_config(configuration({}), {})
    assert processor_config([], []) == {
        "storage": {}, "parameters": {}, "image_parameters": {}, "authorization": {}, "action": "run",
    }  # fmt: skip


@pytest.mark.rules("DF-11", "DF-13", "PR-15", "CF-11", "CF-30", "CD-43")
def test_runtime_and_processors_are_hidden_and_the_runner_overrules_what_is_its_own() -> None:
    ids = {
        "variables_id": "5", "variables_values_id": "6", "shared_code_id": "7", "shared_code_row_ids": ["8"],
    }  # fmt: skip
    content = configuration(
        {
            "parameters": {"a": []}, "runtime": {"tag": "1"}, "processors": {"before": []}, "action": "mine",
            "image_parameters": {"mine": 1}, "artifacts": {"options": {"zip": True}}, **ids,
        }
    )  # fmt: skip
    config = main_config(content, {"own": 1}, action="test")
    assert (config["action"], config["image_parameters"], config["parameters"]) == ("test", {"own": 1}, {"a": []})
    assert {name: config[name] for name in ids} == ids
    assert config["artifacts"] == {"options": {"zip": True}}
    assert not {"runtime", "processors"} & config.keys()


@pytest.mark.rules("AU-1", "AU-2", "AU-5", "AU-7", "DF-14")
def test_a_component_gets_credentials_proxy_and_context_and_nothing_else_of_its_authorization() -> None:
    content = configuration(
        {
            "authorization": {
                "oauth_api": {"id": "1", "version": 3, "credentials": {"#data": "x"}},
                "workspace": {"host": "h"},
                "app_proxy": {"p": 1},
            },
            "runtime": {"backend": {"context": "wlm"}},
        }
    )
    assert main_config(content, {})["authorization"] == {
        "oauth_api": {"credentials": {"#data": "x"}},
        "app_proxy": {"p": 1},
        "context": "wlm",
    }


@pytest.mark.rules("DF-12", "PR-7")
@pytest.mark.parametrize("empty", [{}, [], None])
def test_a_processor_sees_only_its_own_parameters(empty: Any) -> None:
    assert processor_config(empty, {"x": 1}) == {
        "storage": {}, "authorization": {}, "parameters": {}, "image_parameters": {"x": 1}, "action": "run",
    }  # fmt: skip


@pytest.mark.rules("DF-16")
def test_json_is_pretty_with_escaped_slashes_and_letters() -> None:
    text = rendered({"a": "ě/x\\/", "b": {}, "c": []}, extension="json")
    assert text == '{\n    "a": "\\u011b\\/x\\\\\\/",\n    "b": {},\n    "c": []\n}'
    assert json.loads(text) == {"a": "ě/x\\/", "b": {}, "c": []}


@pytest.mark.rules("DF-17", "CD-11")
def test_yaml_is_block_style_in_the_given_order() -> None:
    content = {"b": {"x": [1, "2", None, True]}, "a": "ě: #", "e": {}}
    text = rendered(content, extension="yml")
    assert text == "b:\n  x:\n  - 1\n  - '2'\n  - null\n  - true\na: 'ě: #'\ne: {}\n"
    assert yaml.safe_load(text) == content


@pytest.mark.rules("DF-17")
def test_yaml_below_the_tenth_level_is_inline() -> None:
    content: Any = {"k": [1, {"z": "end"}]}
    for level in range(9, 0, -1):
        content = {f"l{level}": content}
    text = rendered(content, extension="yml")
    assert text.endswith("                  k: [1, {z: end}]\n")
    assert text.count("\n") == 10
    assert yaml.safe_load(text) == content
    assert rendered({}, extension="yml") == "{}\n"
    assert rendered({"empty": {"list": [], "map": {}}}, extension="yml") == "empty:\n  list: []\n  map: {}\n"


@pytest.mark.rules("DF-17")
@pytest.mark.parametrize(
    "text", ["1e3", "0o14", "0x1F", "1_000", "12:30:45", "y", "N", "on", "no", "~", "1.", "-5", ""]
)
def test_a_text_that_looks_like_something_else_is_quoted_in_yaml(text: str) -> None:
    assert rendered({"k": text}, extension="yml") in (f"k: '{text}'\n", f'k: "{text}"\n')


@pytest.mark.rules("DF-20")
def test_a_secret_of_the_component_itself_may_not_be_used_by_a_configuration() -> None:
    own = {"oauth": {"#secret": "hunter2"}, "#empty": ""}
    with pytest.raises(ConfigurationError) as error:
        refuse_misuse({"parameters": {"list": [{"#mine": "hunter2"}]}}, own)
    assert error.value.key == "parameters.list[0].#mine"
    assert "hunter2" not in str(error.value)
    refuse_misuse({"#empty": "", "plain": "hunter2", "#other": "x"}, own)
    with pytest.raises(ConfigurationError) as error:
        refuse_misuse({"#mine": "hunter2"}, own, key="processors.before[1].parameters")
    assert error.value.key == "processors.before[1].parameters.#mine"
