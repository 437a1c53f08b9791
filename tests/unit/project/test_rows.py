"""Rows: merging with the root, and which of them run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.configuration import Configuration
from docker_runner.project.rows import effective_configurations, merged, selected_rows

PROCESSOR = {"before": [{"definition": {"component": "p"}}]}


def read(built: ProjectBuilder, *args: Any, **more: Any) -> Configuration:
    built.configuration(*args, **more)
    return built.project.configuration("vendor.ex-foo", "main")


@pytest.mark.rules("RW-3", "TV-1")
@pytest.mark.parametrize(
    ("root", "row", "effective"),
    [
        (
            {"parameters": {"a": 1, "l": [1, 2, 3]}, "storage": {}},
            {"parameters": {"b": 2, "l": [9]}},
            {"parameters": {"a": 1, "l": [9, 2, 3], "b": 2}, "storage": {}},
        ),
        ({"a": [1, 2]}, {"a": []}, {"a": [1, 2]}),
        ({"a": [1]}, {"a": [5, 6]}, {"a": [5, 6]}),
        ({"a": [{"x": 1, "y": 1}]}, {"a": [{"y": 2}, 3]}, {"a": [{"x": 1, "y": 2}, 3]}),
        ({"a": {"x": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": {"x": 1}}, {"a": []}, {"a": {"x": 1}}),
        ({"a": []}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": [1]}, {"a": {}}, {"a": [1]}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_a_row_is_laid_over_the_root(root: dict[str, Any], row: dict[str, Any], effective: dict[str, Any]) -> None:
    assert merged(root, row) == effective


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
MAPS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Every scalar by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {inner: leaf for key, item in items for inner, leaf in paths(item, (*path, key)).items()}
    return {path: value}


@pytest.mark.rules("RW-3")
@given(MAPS, MAPS)
def test_every_value_of_the_row_is_in_the_result_and_nothing_is_made_up(
    root: dict[str, Any], row: dict[str, Any]
) -> None:
    result = paths(merged(root, row))
    assert paths(row).items() <= result.items()
    assert result.keys() <= paths(root).keys() | paths(row).keys()


def replaced_recursively(root: Any, row: Any) -> Any:
    """The rule said otherwise: lists are maps by position, and the row's scalars are put in one by one."""
    result = json.loads(json.dumps(root))
    for path, value in leaves(row):
        result = put(result, path, value)
    return result


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Every scalar and every empty map or list with its path."""
    if not isinstance(value, dict | list) or not value:
        return [(path, value)]
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [leaf for key, item in items for leaf in leaves(item, (*path, key))]


def put(target: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The target with one value replaced; where the path leads through something else, a map or list is made."""
    if not path:
        is_empty = isinstance(value, dict | list)
        return target if is_empty and isinstance(target, type(value)) else value
    key, *rest = path
    wanted: Any = [] if isinstance(key, int) else {}
    if not isinstance(target, type(wanted)):
        target = wanted
    if isinstance(target, dict):
        return {**target, key: put(target[key], tuple(rest), value) if key in target else make(tuple(rest), value)}
    before, after = target[:key], target[key + 1 :]
    return [*before, put(target[key], tuple(rest), value) if key < len(target) else make(tuple(rest), value), *after]


def make(path: tuple[Any, ...], value: Any) -> Any:
    """The value below a path of its own."""
    for key in reversed(path):
        value = [value] if isinstance(key, int) else {key: value}
    return value


ALIKE = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.lists(st.dictionaries(st.sampled_from("xy"), SCALARS | st.lists(SCALARS, max_size=3), max_size=2), max_size=3)
    | st.dictionaries(st.sampled_from("xy"), SCALARS | st.lists(SCALARS, max_size=3), max_size=2)
    | SCALARS,
    max_size=2,
)


@pytest.mark.rules("RW-3", "TV-1")
@given(ALIKE, ALIKE)
def test_merging_is_putting_each_value_of_the_row_in_its_place(root: dict[str, Any], row: dict[str, Any]) -> None:
    assume(not mixes(root, row))
    assert merged(root, row) == replaced_recursively(root, row)


def mixes(root: Any, row: Any) -> bool:
    """Whether a map meets a list, which the rule says nothing of."""
    if isinstance(root, dict) and isinstance(row, dict):
        return any(mixes(root[key], row[key]) for key in root.keys() & row.keys())
    if isinstance(root, list) and isinstance(row, list):
        return any(mixes(*pair) for pair in zip(root, row, strict=False))
    return isinstance(root, dict | list) and isinstance(row, dict | list)


@pytest.mark.rules("RW-3")
@given(MAPS)
def test_an_empty_row_and_a_repeated_row_change_nothing(root: dict[str, Any]) -> None:
    assert merged(root, {}) == root == merged(root, root) == merged({}, root)


@pytest.mark.rules("RW-1")
def test_without_rows_the_root_runs(built: ProjectBuilder) -> None:
    found = read(built, {"parameters": 1})
    assert effective_configurations(found) == [(None, {"parameters": 1})]
    assert selected_rows(found, []) == [""]


@pytest.mark.rules("RW-2", "RW-8")
def test_with_rows_each_row_runs_and_the_root_alone_does_not(built: ProjectBuilder) -> None:
    found = read(built, {"parameters": {"a": 1}}, rows={"x": {"parameters": {"b": 2}}, "y": {}})
    assert [(row.id if row else None, content["parameters"]) for row, content in effective_configurations(found)] == [
        ("x", {"a": 1, "b": 2}),
        ("y", {"a": 1}),
    ]


@pytest.mark.rules("RW-5", "PR-13")
def test_processors_in_root_and_row_are_refused_even_in_a_disabled_row(built: ProjectBuilder) -> None:
    found = read(built, {"processors": PROCESSOR}, rows={"x": {}, "y": {"processors": PROCESSOR}}, disabled=("y",))
    with pytest.raises(ConfigurationError, match=r"rows/y/config\.json:1: processors: .* not in both"):
        effective_configurations(found)


@pytest.mark.rules("RW-5")
@pytest.mark.parametrize("empty", [{}, [], {"before": []}, {"before": [], "after": []}])
def test_empty_processors_are_no_contradiction(built: ProjectBuilder, empty: Any) -> None:
    found = read(built, {"processors": PROCESSOR}, rows={"y": {"processors": empty}})
    assert effective_configurations(found)[0][1]["processors"]["before"] == PROCESSOR["before"]


@pytest.mark.rules("RW-6", "RW-7", "LC-20", "LC-24")
@pytest.mark.parametrize(
    ("requested", "selected"),
    [([], ["a", "c"]), (["c", "a"], ["a", "c"]), (["b"], ["b"]), (["b", "unknown"], ["b"])],
)
def test_requested_rows_run_in_stored_order_even_disabled_ones(
    built: ProjectBuilder, requested: list[str], selected: list[str]
) -> None:
    assert selected_rows(read(built, rows={"a": {}, "b": {}, "c": {}}, disabled=("b",)), requested) == selected


@pytest.mark.rules("RW-7", "LC-7")
def test_when_all_rows_are_disabled_nothing_runs_and_the_log_tells_why(
    built: ProjectBuilder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert selected_rows(read(built, rows={"a": {}, "b": {}}, disabled=("a", "b")), []) == []
    assert caplog.messages == ["The row a is disabled and left out.", "The row b is disabled and left out."]


@pytest.mark.rules("RW-6", "LC-20")
def test_rows_that_do_not_exist_are_all_named(built: ProjectBuilder) -> None:
    with pytest.raises(NotFoundError, match=r"rows x, y exists in vendor\.ex-foo/main; its rows are: a\."):
        selected_rows(read(built, rows={"a": {}}), ["x", "y"])
    built.configuration(config_id="bare")
    with pytest.raises(NotFoundError, match="has no rows"):
        selected_rows(built.project.configuration("vendor.ex-foo", "bare"), ["x"])
