"""State: what a component and the mappings remember from run to run (section 10.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, read_output
from docker_runner.errors import ConfigurationError
from docker_runner.interface.config_file import rendered_yaml

MEANT_BYTES = 1_000_000


def checked_state(document: Any, *, owner: str) -> dict[str, Any]:
    """Check a stored state document (ST-1).

    Raises:
        ConfigurationError: the state has another shape; names the owner and the key.
    """
    state: dict[str, Any] = checked(document, "state", file=f"state of {owner}")
    # PHP writes empty maps as empty lists.
    storage = state.get("storage") or {}
    return {**state, "storage": {**storage, "input": storage.get("input") or {}}} if "storage" in state else state


def component_state(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part that the component itself sees (ST-2)."""
    return document.get("component") or {}


def read_out_state(file: Path) -> dict[str, Any]:
    """Read what the component wrote as its new state; a missing file is an empty state (ST-5, ST-8).

    Raises:
        ConfigurationError: the file is not a map in the component's format (D25); names the place.
    """
    content = read_output(file, shown=f"out/{file.name}")
    if content in (None, []):
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError("The state must be a map.", file=f"out/{file.name}")
    return content


def is_large(state: Mapping[str, Any]) -> bool:
    """Whether a state is larger than what states are meant for (ST-12)."""
    return len(json.dumps(state).encode()) > MEANT_BYTES


def rendered_state(state: Mapping[str, Any], *, extension: str) -> str:
    """The text of ``/data/in/state.json``."""
    if extension == "json":
        return json.dumps(state)
    return rendered_yaml(state)


def text_of_state(document: Mapping[str, Any]) -> str:
    """What a run builds on of a state, as a text that is the same for the same states: nothing is as good as empty."""
    inputs = (document.get("storage") or {}).get("input") or {}
    parts = [component_state(document), inputs.get("tables") or [], inputs.get("files") or []]
    return json.dumps(parts, sort_keys=True)


def new_state(
    component: Mapping[str, Any],
    *,
    tables: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The root keys to store after a successful run; others of the stored document survive (ST-6).

    Args:
        component: the component's new state, secrets encrypted.
        tables: ``{"source", "lastImportDate"}`` of every input table.
        files: ``{"tags", "lastImportId"}`` of every input file mapping.
    """
    return {
        "component": dict(component),
        "storage": {"input": {"tables": [dict(item) for item in tables], "files": [dict(item) for item in files]}},
    }
