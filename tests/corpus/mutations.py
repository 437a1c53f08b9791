"""Valid documents, broken at random: something is taken away, replaced, renamed or added, anywhere."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            "0",
            " ",
            "a",
            "{{ a }}",
            "{{",
            "}}",
            "{{{a}}}",
            "{{#a}}",
            "..",
            "../x",
            "a/b",
            "adaptive",
            "in.c-main.t",
            "-1 day",
        ]
    ),
    st.sampled_from([[], {}, [[]], [{}], {"": ""}, {"a": None}, [None]]),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3),
)
KEYS = st.text(max_size=6) | st.sampled_from(["source", "tables", "name", "#a", "component", "storage", "columns"])


def paths(document: Any, path: Path = ()) -> list[Path]:
    """Where anything stands in a document, the root first."""
    found = [path]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += paths(value, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> str:
    """The document's JSON with one to three changes."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        changed = _change(draw, changed)
    return json.dumps(changed)


def _change(draw: st.DrawFn, document: Any) -> Any:
    path = draw(st.sampled_from(paths(document)))
    value = copy.deepcopy(draw(VALUES))
    if not path:
        return value if draw(st.integers(0, 9)) == 0 else document
    around = document
    for key in path[:-1]:
        around = around[key]
    kind = draw(st.sampled_from(["replace", "replace", "delete", "rename", "repeat", "add"]))
    if kind == "replace":
        around[path[-1]] = value
    elif kind == "delete":
        del around[path[-1]]
    elif kind == "repeat" and isinstance(around, list):
        around.append(copy.deepcopy(around[path[-1]]))
    elif isinstance(around, dict):
        around[draw(KEYS)] = around.pop(path[-1]) if kind == "rename" else value
    return document


_BYTES = [b"", b'"', b"{", b"}", b",", b"\\", b"\xff", b"\0"]


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> bytes:
    """A text, or a document's JSON, with some bytes changed, cut out or cut off."""
    text = bytearray(document if isinstance(document, bytes) else json.dumps(document, indent=1).encode())
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.sampled_from([0, 1, 1, 5, 100_000])))
        text[begin:end] = draw(
            st.binary(max_size=3) | st.sampled_from([b"", b'"', b"{", b"}", b",", b"\\", b"\xff", b"\0"])
        )
    return bytes(text)
