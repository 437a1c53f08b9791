"""The tables that a configuration names in its mappings, told before anything of it is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def input_tables(content: Mapping[str, Any]) -> list[str]:
    """What a row names as the tables that it reads, each once; not checked yet."""
    return list(dict.fromkeys(_named(content, "input", "source")))


def output_tables(content: Mapping[str, Any]) -> list[str]:
    """What a row names as the tables that it writes, each once; not checked yet."""
    return list(dict.fromkeys(_named(content, "output", "destination")))


def _named(content: Mapping[str, Any], direction: str, key: str) -> Iterator[str]:
    storage = content.get("storage")
    mapping = storage.get(direction) if isinstance(storage, Mapping) else None
    tables = mapping.get("tables") if isinstance(mapping, Mapping) else None
    names = (item.get(key) for item in tables if isinstance(item, Mapping)) if isinstance(tables, list) else ()
    return (name for name in names if isinstance(name, str) and name)
