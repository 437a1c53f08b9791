"""Variables: Mustache placeholders and their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.project.templates import render
from docker_runner.project.variables import VariableValues, with_variables

ID = "vendor.ex-foo-main"


def replaced(
    built: ProjectBuilder, parameters: Any, given_values: VariableValues | None = None, **more: Any
) -> tuple[Any, dict[str, str]]:
    content = {"parameters": parameters, "variables_id": ID, **more}
    result, used = with_variables(content, given_values or VariableValues(), project=built.project)
    return result["parameters"], used


@pytest.fixture
def shop(built: ProjectBuilder) -> ProjectBuilder:
    built.configuration()
    built.variables(["a", "b"], {"default": {"a": "1", "b": "2"}, "other": {"a": "3", "b": "4", "extra": "5"}})
    return built


@pytest.mark.rules("VR-1")
def test_without_variables_double_braces_are_left_alone(built: ProjectBuilder) -> None:
    content = {"parameters": "{{ a }}", "variables_id": ""}
    assert with_variables(content, VariableValues(), project=built.project) == (content, {})


@pytest.mark.rules("VR-1")
def test_values_for_a_configuration_without_variables_are_refused_not_ignored(built: ProjectBuilder) -> None:
    with pytest.raises(UserError, match="the configuration has no variables"):
        with_variables({}, VariableValues(inline={"a": "1"}), project=built.project)


@pytest.mark.rules("VR-4", "VR-8", "VR-12")
@pytest.mark.parametrize(
    ("values", "stored", "used"),
    [
        (VariableValues(), "default", {"a": "1", "b": "2"}),
        (VariableValues(row_id="other"), "default", {"a": "3", "b": "4", "extra": "5"}),
        (VariableValues(inline={"a": "7", "b": 8, "c": True}), "default", {"a": "7", "b": "8", "c": "true"}),  # type: ignore[dict-item]
    ],
)
def test_values_come_from_the_run_else_from_stored_ones(
    shop: ProjectBuilder, values: VariableValues, stored: str, used: dict[str, str]
) -> None:
    parameters, found = replaced(shop, "{{a}}-{{ b }}", values, variables_values_id=stored)
    assert parameters == f"{used['a']}-{used['b']}"
    assert found == used


@pytest.mark.rules("VR-4")
def test_values_by_name_and_by_id_together_are_refused(shop: ProjectBuilder) -> None:
    with pytest.raises(UserError, match="not both"):
        replaced(shop, "", VariableValues(inline={"a": "1"}, row_id="other"))


@pytest.mark.rules("VR-4", "VR-6")
def test_missing_values_are_told(shop: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match=f"No values were given for the variables {ID}") as error:
        replaced(shop, "")
    assert error.value.key == "variables_id"
    with pytest.raises(ConfigurationError, match=f"{ID} have no stored values 'x'; there are: default, other") as error:
        replaced(shop, "", variables_values_id="x")
    assert error.value.key == "variables_values_id"
    with pytest.raises(NotFoundError, match=f"{ID} have no stored values 'x'; there are: default, other"):
        replaced(shop, "", VariableValues(row_id="x"))


@pytest.mark.rules("VR-7")
def test_every_declared_variable_needs_a_value_even_an_unused_one(shop: ProjectBuilder) -> None:
    with pytest.raises(UserError, match="no value: a, b"):
        replaced(shop, "", VariableValues(inline={"c": "1"}))


@pytest.mark.rules("VR-11", "VR-14", "D21")
@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("{{x}} {{a}} {{ y }} {{{z}}} {{x}}", "x, y, z"),
        ("{{ vault.token }} {{vault.other}}", "vault.token, vault.other"),
        ("{{a.b}}", "a.b"),
        ("{{#section}}{{/section}}{{x}}", "section, x"),
    ],
)
def test_placeholders_without_a_value_are_all_listed(shop: ProjectBuilder, text: str, missing: str) -> None:
    with pytest.raises(UserError, match=f"no value: {missing}\\."):
        replaced(shop, text, variables_values_id="default")


@pytest.mark.rules("VR-9", "TV-7")
def test_quotes_and_line_ends_in_a_value_arrive_unchanged(shop: ProjectBuilder) -> None:
    value = 'say "hi"\n\\o/ {{b}} \u2028 ě'
    values = VariableValues(inline={"a": value, "b": "2"})
    assert replaced(shop, {"t": "<{{a}}>"}, values)[0] == {"t": f"<{value}>"}
    for raw in ("{{{a}}}", "{{& a }}"):
        with pytest.raises(ConfigurationError, match="triple braces"):
            replaced(shop, {"t": raw}, values)


@pytest.mark.rules("VR-8", "VR-10")
@pytest.mark.parametrize(
    ("value", "text"), [("0", "0 off"), (0, "0 off"), ("1", "1 on"), ("00", "00 on"), (False, "false on")]
)
def test_a_section_takes_zero_for_false_and_any_other_value_for_true(
    shop: ProjectBuilder, value: Any, text: str
) -> None:
    template = "{{a}} {{#a}}on{{/a}}{{^a}}off{{/a}}"
    assert replaced(shop, template, VariableValues(inline={"a": value, "b": "1"}))[0] == text


@pytest.mark.rules("VR-9")
@given(st.text(), st.text(alphabet=st.characters(exclude_characters="{}")))
def test_any_value_arrives_unchanged_in_double_braces(value: str, around: str) -> None:
    content = {f"k{around}": [f"{around}{{{{v}}}}{around}", {"{{v}}!": 1, "n": None}]}
    expected = {f"k{around}": [f"{around}{value}{around}", {f"{value}!": 1, "n": None}]}
    assert render(content, {"v": value}) == (expected, [])


@pytest.mark.rules("VR-9")
def test_a_raw_value_may_be_a_piece_of_json(shop: ProjectBuilder) -> None:
    values = VariableValues(inline={"a": 'x", "more": "y', "b": "2"})
    assert replaced(shop, {"t": "{{{a}}}"}, values)[0] == {"t": "x", "more": "y"}


@pytest.mark.rules("VR-10", "VR-13", "D1")
def test_keys_are_replaced_and_empty_maps_stay_maps(shop: ProjectBuilder) -> None:
    parameters = {"k{{a}}": {}, "l": [], "c": "{{! comment }}{{#a}}yes{{/a}}{{=<% %>=}}<%b%>"}
    assert replaced(shop, parameters, variables_values_id="default")[0] == {"k1": {}, "l": [], "c": "yes2"}


@pytest.mark.rules("VR-9")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{a", "not closed"),
        ("{{/a}}", "not valid Mustache"),
        ("{{#a}}", "is not closed"),
        ("{{> /etc/passwd}}", "may not name other templates"),
    ],
)
def test_a_broken_placeholder_is_told(shop: ProjectBuilder, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        replaced(shop, {"t": text, "u": {"v": {}}}, variables_values_id="default")


@pytest.mark.rules("VR-2", "VR-3", "VR-6", "VR-8")
@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        ("config.json", {"variables": [{"name": "", "type": "string"}]}, r"variables\[0\]\.name: Must not be empty"),
        ("config.json", {"variables": [{"name": "a"}]}, r"variables\[0\]: The key 'type' is missing"),
        ("values/default/config.json", {"values": [{"name": "a", "value": ""}]}, r"values\[0\]\.value: Must not be"),
        ("values/default/config.json", {"values": [{"name": "a", "value": None}]}, r"values\[0\]\.value: Must be"),
        ("values/default/config.json", {}, "The key 'values' is missing"),
    ],
)
def test_wrong_files_of_variables_are_named(shop: ProjectBuilder, path: str, content: Any, problem: str) -> None:
    shop.write(f"main/extractor/vendor.ex-foo/main/variables/{path}", content)
    with pytest.raises(ConfigurationError, match=f"{path}:1: {problem}"):
        replaced(shop, "", variables_values_id="default")


@pytest.mark.rules("VR-3")
def test_wrong_values_of_a_run_are_named(shop: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match=r"values of variables: values\[1\]\.value: Must be .* not a list"):
        replaced(shop, "", VariableValues(inline={"a": "1", "b": ["hidden"]}))  # type: ignore[dict-item]


@pytest.mark.rules("VR-2")
def test_variables_that_do_not_exist_are_named(built: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match=r"keboola\.variables/nowhere"):
        replaced(built, "", variables_id="nowhere")


@pytest.mark.rules("VR-9")
def test_a_file_of_the_machine_is_never_read_as_a_template(
    shop: ProjectBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.mustache").write_text("of the machine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="may not name other templates"):
        replaced(shop, "{{> secret}}", variables_values_id="default")
