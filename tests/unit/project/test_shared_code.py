"""Shared code."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.project.shared_code import with_shared_code
from docker_runner.project.variables import VariableValues, with_variables

FOLDER = "main/other/keboola.shared-code/lib"


@pytest.fixture
def library(built: ProjectBuilder) -> ProjectBuilder:
    built.write(f"{FOLDER}/config.json", {})
    built.write(f"{FOLDER}/rows/x/config.json", {"code_content": "1"})
    built.write(f"{FOLDER}/rows/y/config.json", {"code_content": ["2", "3"], "variables_id": "1"})
    return built


def inserted(built: ProjectBuilder, parameters: Any, rows: Any = ("x", "y"), shared: Any = "lib") -> Any:
    rows = list(rows) if isinstance(rows, tuple) else rows
    content = {"parameters": parameters, "shared_code_id": shared, "shared_code_row_ids": rows}
    return with_shared_code(content, built.project)["parameters"]


@pytest.mark.rules("SC-3", "SC-4", "SC-5", "SC-6", "TV-6")
@pytest.mark.parametrize(
    ("written", "result"),
    [
        (["a", "{{y}} {{ x }} tail", "{{z}}"], ["a", "1", "2", "3", "{{z}}"]),
        (["a", "{{x}}", 5], ["a", "1", 5]),
        ("{{x}}", "{{x}}"),
        ({"k": "{{x}}", "l": {"m": ["{{x}}"]}}, {"k": "{{x}}", "l": {"m": ["1"]}}),
        (["{{x}}", {"m": ["{{x}}"]}], ["{{x}}", {"m": ["1"]}]),
        (["{{ x y }}"], ["{{ x y }}"]),
    ],
)
def test_placeholders_in_lists_of_scalars_are_replaced_by_code(
    library: ProjectBuilder, written: Any, result: Any
) -> None:
    assert inserted(library, written) == result


@pytest.mark.rules("SC-1")
@pytest.mark.parametrize(("rows", "shared"), [((), "lib"), ((), "gone"), (("x",), ""), (None, "lib"), (("x",), None)])
def test_without_id_or_rows_nothing_is_replaced(library: ProjectBuilder, rows: Any, shared: Any) -> None:
    assert inserted(library, ["{{x}}"], rows, shared) == ["{{x}}"]


@pytest.mark.rules("SC-5", "SC-7", "VR-11", "TV-6")
def test_variables_in_code_are_replaced_afterwards_and_unknown_ids_are_missing_variables(
    library: ProjectBuilder,
) -> None:
    library.write(f"{FOLDER}/rows/x/config.json", {"code_content": ["print({{v}})"]})
    library.configuration()
    library.variables(["v"], {"default": {"v": "5"}})
    content = {"variables_id": "vendor.ex-foo-main", "variables_values_id": "default"}
    code = inserted(library, ["{{x}}"])
    assert with_variables({**content, "p": code}, VariableValues(), project=library.project)[0]["p"] == ["print(5)"]
    with pytest.raises(UserError, match="no value: z"):
        with_variables({**content, "p": inserted(library, ["{{z}}"])}, VariableValues(), project=library.project)


@pytest.mark.rules("SC-2")
def test_code_that_is_one_text_is_one_item_whatever_its_lines(library: ProjectBuilder) -> None:
    library.write(f"{FOLDER}/rows/x/config.json", {"code_content": "a\nb"})
    assert inserted(library, ["{{x}}"]) == ["a\nb"]


@pytest.mark.rules("SC-2")
def test_code_that_does_not_exist_is_named(library: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match="shared code lib has no row q; its rows are: x, y") as error:
        inserted(library, [], ("x", "q"))
    assert error.value.key == "shared_code_row_ids"
    with pytest.raises(ConfigurationError, match=r"keboola\.shared-code/other") as error:
        inserted(library, [], ("x",), "other")
    assert error.value.key == "shared_code_id"


@pytest.mark.rules("SC-2")
@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "The key 'code_content' is missing"),
        ({"code_content": [{}]}, r"code_content\[0\]: Must be .* not a map"),
        ({"code_content": [], "name": "n"}, "Unknown key 'name'"),
    ],
)
def test_wrong_code_is_named(library: ProjectBuilder, row: Any, problem: str) -> None:
    library.write(f"{FOLDER}/rows/x/config.json", row)
    with pytest.raises(ConfigurationError, match=rf"rows/x/config\.json:1: .*{problem}"):
        inserted(library, [])


@pytest.mark.rules("SC-8")
def test_loading_is_told_with_the_ids(library: ProjectBuilder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="docker_runner")
    inserted(library, ["{{x}}"])
    assert "Inserting the shared code x, y of lib." in caplog.messages


@pytest.mark.parametrize("rows", ["x", 5, {"x": 1}])
def test_row_ids_that_are_no_list_are_refused(library: ProjectBuilder, rows: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"shared_code_row_ids: Must be a list"):
        inserted(library, [], rows)
