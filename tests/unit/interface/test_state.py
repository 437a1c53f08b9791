"""State: what is stored, what a component sees, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import write

from docker_runner.errors import ConfigurationError
from docker_runner.interface.state import (
    checked_state,
    component_state,
    new_state,
    read_out_state,
    rendered_state,
    text_of_state,
)

FULL = {
    "component": {"a": {}, "#t": "KBC::ProjectSecure::x"},
    "storage": {
        "input": {
            "tables": [{"source": "in.c-main.t", "lastImportDate": "2026-01-31T00:00:00+0100"}],
            "files": [{"tags": [{"name": "t", "match": "include"}], "lastImportId": "5"}],
        }
    },
    "data_app": [1],
}


@pytest.mark.rules("ST-1")
def test_a_stored_state_of_the_right_shape_is_accepted_unchanged() -> None:
    assert checked_state(FULL, owner="c/1") == FULL
    assert checked_state({}, owner="c/1") == {}


@pytest.mark.rules("ST-1")
@pytest.mark.parametrize("empty", [{"storage": []}, {"storage": {}}, {"storage": {"input": []}}])
def test_empty_lists_of_php_count_as_empty_maps(empty: Any) -> None:
    assert checked_state(empty, owner="c/1") == {"storage": {"input": {}}}
    assert component_state(checked_state({"component": []}, owner="c/1")) == {}


@pytest.mark.rules("ST-1")
@pytest.mark.parametrize(
    ("state", "key", "problem"),
    [
        ({"other": 1}, "", "Unknown key 'other'"),
        ({"storage": {"input": {"rows": []}}}, "storage.input", "Unknown key 'rows'"),
        (
            {"storage": {"input": {"tables": [{"source": "x"}]}}},
            "storage.input.tables[0]",
            "'lastImportDate' is missing",
        ),
        ({"storage": {"input": {"files": [{"lastImportId": 1}]}}}, "storage.input.files[0]", "'tags' is missing"),
        ({"component": "text"}, "component", "Must be a map"),
    ],
)
def test_a_stored_state_of_another_shape_names_owner_and_key(state: Any, key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        checked_state(state, owner="vendor.ex-foo/1")
    assert (error.value.file, error.value.key) == ("state of vendor.ex-foo/1", key)
    assert problem in error.value.problem


@pytest.mark.rules("ST-2")
def test_a_component_sees_only_its_own_part() -> None:
    assert component_state(FULL) == FULL["component"]
    assert component_state({}) == {}
    assert rendered_state({}, extension="json") == "{}"
    assert rendered_state({"a": {}, "b": [1]}, extension="yml") == "a: {}\nb:\n- 1\n"


@pytest.mark.rules("ST-5", "ST-8")
@pytest.mark.parametrize(
    ("name", "text", "state"),
    [
        ("state.json", '{"a": {}, "b": [], "#t": "x"}', {"a": {}, "b": [], "#t": "x"}),
        ("state.json", "", {}),
        ("state.json", "[]", {}),
        ("state.json", "null", {}),
        (
            "state.yml",
            "last: 2026-01-31T10:00:00Z\nd: 2026-01-31\n",
            {"last": "2026-01-31T10:00:00+00:00", "d": "2026-01-31"},
        ),
        ("missing.json", None, {}),
    ],
)
def test_the_state_that_a_component_left_is_read(tmp_path: Path, name: str, text: str | None, state: Any) -> None:
    if text is not None:
        write(tmp_path / name, text)
    found = read_out_state(tmp_path / name)
    assert found == state
    json.dumps(found)


@pytest.mark.rules("ST-9", "D25")
@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("state.json", b'{"a": 1,}', "line 1, column"),
        ("state.json", b'{"a": NaN}', "NaN is not a JSON number"),
        ("state.json", b'{"a": "\xff"}', "not UTF-8"),
        ("state.json", b"5", "must be a map"),
        ("state.json", b"false", "must be a map"),
        ("state.yml", b"a: [", "line 1, column"),
        ("state.yml", b"a: !!python/object:x.Y {}", "not valid YAML"),
    ],
)
def test_a_state_that_is_not_valid_names_file_and_place(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_out_state(write(tmp_path / name, content))
    assert error.value.file == f"out/{name}"
    assert problem in error.value.problem


def test_a_link_in_place_of_the_state_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "state.json").symlink_to(write(tmp_path / "secret.json", {"of": "the machine"}))
    with pytest.raises(ConfigurationError, match=r"out/state\.json: This must be a regular file"):
        read_out_state(tmp_path / "state.json")


@pytest.mark.rules("ST-6", "ST-8")
def test_a_new_state_is_that_of_the_component_and_of_the_mappings() -> None:
    assert new_state({}, tables=[], files=[]) == {
        "component": {},
        "storage": {"input": {"tables": [], "files": []}},
    }
    tables = [{"source": "t", "lastImportDate": "d"}]
    files = [{"tags": [], "lastImportId": "1"}]
    stored = new_state({"a": 1}, tables=tables, files=files)
    assert checked_state(stored, owner="c/1") == stored


@pytest.mark.parametrize(
    "same",
    [
        {"component": {}},
        {"component": None, "storage": {"input": {"tables": [], "files": []}}},
        {"storage": {}, "data_app": {"id": "1"}},
        {"component": [], "storage": {"input": []}},
    ],
)
def test_a_state_that_says_nothing_is_the_same_as_none(same: dict[str, Any]) -> None:
    assert text_of_state(same) == text_of_state({}) != text_of_state({"component": {"n": {}}})


@pytest.mark.parametrize(
    "other",
    [
        {**FULL, "component": {"a": {}}},
        {**FULL, "component": {"a": [], "#t": "KBC::ProjectSecure::x"}},
        {**FULL, "storage": {"input": {**FULL["storage"]["input"], "tables": []}}},  # type: ignore[index]
        {**FULL, "storage": {"input": {**FULL["storage"]["input"], "files": []}}},  # type: ignore[index]
    ],
)
def test_states_that_say_something_else_differ_and_the_order_of_keys_says_nothing(other: dict[str, Any]) -> None:
    assert text_of_state(other) != text_of_state(FULL)
    assert text_of_state(dict(reversed(FULL.items()))) == text_of_state({**FULL, "data_app": []})
    assert text_of_state({"component": {"a": True}}) != text_of_state({"component": {"a": 1}})
