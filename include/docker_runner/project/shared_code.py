"""Shared code: pieces of code kept once and inserted into transformations (SC-1..SC-8)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, id_at, read_json
from docker_runner.errors import ConfigurationError
from docker_runner.project.blocks import has_code, scripts_of
from docker_runner.project.code_links import target_component
from docker_runner.project.configuration import Project
from docker_runner.project.entries import SHARED_CODE_COMPONENT

_LOG = logging.getLogger(__name__)
_PLACEHOLDER = re.compile(r"{{\s*([A-Za-z0-9_-]+)\s*}}")


def with_shared_code(configuration: dict[str, Any], project: Project) -> dict[str, Any]:
    """Insert the shared code that a configuration refers to.

    Raises:
        ConfigurationError: the shared code or one of its rows does not exist, or a piece is wrong (SC-2).
    """
    shared_id = id_at(configuration, "shared_code_id")
    given = configuration.get("shared_code_row_ids") or []
    if not isinstance(given, list):
        raise ConfigurationError("Must be a list of ids.", key="shared_code_row_ids")
    row_ids = [str(row_id) for row_id in given]
    if not shared_id or not row_ids:
        return configuration
    library = project.named(SHARED_CODE_COMPONENT, shared_id, key="shared_code_id")
    rows = dict(library.rows)
    target = target_component(library)
    pieces: dict[str, list[Any]] = {}
    for row_id in row_ids:
        if row_id not in rows:
            problem = f"The shared code {shared_id} has no row {row_id}; its rows are: {', '.join(rows) or 'none'}."
            raise ConfigurationError(problem, key="shared_code_row_ids")
        pieces[row_id] = code_of(rows[row_id], component_id=target)
    _LOG.info("Inserting the shared code %s of %s.", ", ".join(row_ids), shared_id)
    replaced: dict[str, Any] = _replaced(configuration, pieces)
    return replaced


def code_of(folder: Path, *, component_id: str) -> list[Any]:
    """The code of one piece: in its ``config.json``, or in a code file beside it as ``kbc`` writes it.

    Args:
        folder: the folder of the piece.
        component_id: the component that the code is for.

    Raises:
        ConfigurationError: its ``config.json`` is wrong (SC-2), or there are several code files.
    """
    file = folder / "config.json"
    content = read_json(file)
    if isinstance(content, dict) and "code_content" not in content and has_code(folder):
        content = {**content, "code_content": scripts_of(folder, component_id=component_id)}
    code = checked(content, "shared-code-row", file=file)["code_content"]
    return code if isinstance(code, list) else [code]


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
