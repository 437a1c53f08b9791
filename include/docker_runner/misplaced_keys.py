"""Keys that a schema ignores, but that look like ones that it knows: written wrongly, or in the wrong place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from docker_runner.schemas import load_schema

# Less alike are different words.
_CUTOFF = 0.85


def misplaced_keys(document: Any, schema: str) -> Iterator[tuple[str, str]]:
    """The dotted path of every such key, and that of what may have been meant.

    Unknown keys are legal in definitions of components: those that are like nothing that is known are left alone, and
    so are common words such as ``uri``, which stand in many places with many meanings.

    Args:
        document: parsed JSON.
        schema: name of the schema.
    """
    root = load_schema(schema)
    known = dict(_known(root, ""))
    yield from _misplaced(document, root, "", known)


def _known(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Every name of several words that a schema knows, with its place."""
    for name, inner in (schema.get("properties") or {}).items():
        place = f"{path}.{name}".lstrip(".")
        if _is_telling(name):
            yield name, place
        yield from _known(inner, place)


def _is_telling(name: str) -> bool:
    return "_" in name or not name.islower()


def _misplaced(
    document: Any, schema: Mapping[str, Any], path: str, known: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") or {}
    if not isinstance(document, Mapping) or not properties:
        return
    for name, value in document.items():
        place = f"{path}.{name}".lstrip(".")
        if name in properties:
            yield from _misplaced(value, properties[name], place, known)
        elif near := difflib.get_close_matches(name, properties, n=1, cutoff=_CUTOFF):
            yield place, f"{path}.{near[0]}".lstrip(".")
        elif near := difflib.get_close_matches(name, known, n=1, cutoff=_CUTOFF):
            yield place, known[near[0]]
