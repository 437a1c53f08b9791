"""Shared code: pieces of code kept once and inserted into transformations (SC-1..SC-8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docker_runner.documents import read_object
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import SHARED_CODE_COMPONENT

_PLACEHOLDER = re.compile(r"{{\s*([A-Za-z0-9_-]+)\s*}}")


def with_shared_code(configuration: dict[str, Any], project: Project) -> dict[str, Any]:
    """Insert the shared code that a configuration refers to.

    Raises:
        NotFoundError: the shared code or one of its rows does not exist (SC-2).
        ConfigurationError: a piece of shared code is wrong.
    """
    shared_id = str(configuration.get("shared_code_id") or "")
    given = configuration.get("shared_code_row_ids") or []
    if not isinstance(given, list):
        raise ConfigurationError("Must be a list of ids.", key="shared_code_row_ids")
    row_ids = [str(row_id) for row_id in given]
    if not shared_id or not row_ids:
        return configuration
    rows = dict(project.entry(SHARED_CODE_COMPONENT, shared_id).rows)
    pieces: dict[str, list[Any]] = {}
    for row_id in row_ids:
        if row_id not in rows:
            raise NotFoundError(f"The shared code {shared_id} has no row {row_id}; its rows are: {', '.join(rows)}.")
        content = read_object(rows[row_id] / "config.json", "shared-code-row")["code_content"]
        pieces[row_id] = content if isinstance(content, list) else [content]
    replaced: dict[str, Any] = _replaced(configuration, pieces)
    return replaced


def _replaced(value: Any, pieces: Mapping[str, list[Any]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(item, pieces) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if any(isinstance(item, Mapping | list) for item in value):
        return [_replaced(item, pieces) for item in value]
    return [new for item in value for new in _spliced(item, pieces)]


def _spliced(item: Any, pieces: Mapping[str, list[Any]]) -> list[Any]:
    """The item itself, or all pieces that it names in the order of the row ids (SC-4..SC-6)."""
    named = set(_PLACEHOLDER.findall(item)) if isinstance(item, str) else set()
    hits = [row_id for row_id in pieces if row_id in named]
    return [line for row_id in hits for line in pieces[row_id]] if hits else [item]
