"""Lines of keys in JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import write

from docker_runner.positions import holds, line_of

TEXT = """
{
  "a.b": {"c": [
    1,
    {"d": "x\\"}]",
\t "e": {}}
  ]},
  "a": 1,
  "a": {
    "b": 2
  }
}"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("", 2), ("a.b.c", 3), ("a.b.c[0]", 4), ("a.b.c[1].d", 5), ("a.b.c[1].e", 6), ("a", 9), ("a.b", 10),
        ("a.nothing", 9), ("nothing", 2), ("a.b.c[7]", 3),
    ],
)  # fmt: skip
def test_the_line_of_a_key_or_of_the_nearest_one_around_it(tmp_path: Path, key: str, line: int) -> None:
    assert line_of(write(tmp_path / "a.json", TEXT), key) == line


@pytest.mark.parametrize("content", ["", "{", '{"a"', "[1,", b"\xff"])
def test_a_file_that_is_no_json_has_no_lines(tmp_path: Path, content: Any) -> None:
    file = write(tmp_path / "a.json", content)
    assert line_of(file, "a.b") in (None, 1)
    assert not holds(file, "a.b")
    assert line_of(tmp_path / "missing.json", "a") is None


@given(
    st.recursive(
        st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='ab"{[,:', min_size=1), inner),
        max_leaves=10,
    )
)
def test_every_key_of_any_document_is_found_on_its_own_line(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    file = write(tmp_path_factory.mktemp("json") / "a.json", json.dumps({"x": value, "last": 1}, indent=1))
    lines = file.read_text().splitlines()
    assert lines[(line_of(file, "last") or 0) - 1].startswith(' "last"')
    assert line_of(file, "x") == 2
    assert holds(file, "last")
