"""The usage file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import write

from docker_runner.errors import ConfigurationError
from docker_runner.interface.usage import read_usage


@pytest.mark.rules("US-1", "US-2", "UN-12")
@pytest.mark.parametrize(
    ("name", "text", "usage"),
    [
        ("usage.json", '[{"metric": "MB", "value": 5}, {"metric": "calls", "value": 0}]', [("MB", 5), ("calls", 0)]),
        ("usage.json", "[]", []),
        ("usage.json", '[{"metric": 5, "value": false}]', [(5, False)]),
        ("usage.yml", "- metric: MB\n  value: '5'\n", [("MB", "5")]),
    ],
)
def test_usage_is_read_in_the_components_format(tmp_path: Path, name: str, text: str, usage: list[object]) -> None:
    found = read_usage(write(tmp_path / name, text))
    assert found is not None
    assert [(item["metric"], item["value"]) for item in found] == usage


@pytest.mark.rules("US-2")
def test_no_usage_file_is_no_usage(tmp_path: Path) -> None:
    assert read_usage(tmp_path / "usage.json") is None


@pytest.mark.rules("US-1", "US-3", "D26")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"metric": "MB", "value": 5}', "Must be a list, not a map"),
        ("{}", "Must be a list, not a map"),
        ('[{"metric": "MB"}]', r"\[0\]: The key 'value' is missing"),
        ('[{"metric": "", "value": 1}]', r"\[0\]\.metric: Must not be empty"),
        ('[{"metric": "a", "value": 1, "unit": "MB"}]', r"\[0\]: Unknown key 'unit'"),
        ('[{"metric": "a", "value": [1]}]', r"\[0\]\.value: Must be a text or a number or true or false, not a list"),
        ('[{"metric": "a", "value": null}]', r"\[0\]\.value: Must be a text"),
        ("", "Must be a list, not null"),
        ("[", "not valid JSON"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"out/usage\.json: {problem}|out/usage\.json: .*{problem}"):
        read_usage(write(tmp_path / "usage.json", text))
