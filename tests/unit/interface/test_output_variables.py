"""What a component tells the caller of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import write

from docker_runner.interface.output_variables import read_output_variables


def read(folder: Path, content: Any) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    write(folder / "result.json", content)
    return read_output_variables(folder, warn=told.append), told


@pytest.mark.rules("OM-78")
def test_scalars_are_variables_and_everything_else_is_left_out(tmp_path: Path) -> None:
    values = {"text": "a", "number": 1.5, "no": False, "nothing": None}
    assert read(tmp_path, {"variables": {**values, "map": {}, "list": [1]}, "more": 1}) == (values, [])
    assert read(tmp_path, {"variables": []}) == ({}, [])


@pytest.mark.rules("OM-78")
def test_without_a_file_there_are_no_variables(tmp_path: Path) -> None:
    told: list[str] = []
    assert read_output_variables(tmp_path, warn=told.append) == {}
    assert told == []


@pytest.mark.rules("OM-78")
@pytest.mark.parametrize(
    "content", ["", "{", [], {}, {"variables": "a"}, {"variables": ["a"]}, {"variables": None}, "5"]
)
def test_another_structure_is_a_warning(tmp_path: Path, content: Any) -> None:
    variables, told = read(tmp_path, content)
    assert variables == {}
    assert len(told) == 1
    assert told[0].startswith("There are no output variables: out/result.json")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "result.json").symlink_to(write(tmp_path / "secret.json", {"variables": {"a": "secret"}}))
    told: list[str] = []
    assert read_output_variables(tmp_path, warn=told.append) == {}
    assert len(told) == 1
