"""The files that each configuration and row has: ``config.json``, ``meta.json`` and ``description.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import read_json, read_object
from docker_runner.errors import ConfigurationError


def read_map(file: Path) -> dict[str, Any]:
    """Read a ``config.json``: a map; an empty list is an empty map as PHP writes it.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    document = read_json(file)
    if document == []:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError("The file must hold a map.", file=file)
    return document


def read_meta(folder: Path) -> dict[str, Any]:
    """Read the ``meta.json`` of a folder, which may be missing.

    Raises:
        ConfigurationError: it cannot be read, or its name or ``isDisabled`` is of a wrong type.
    """
    file = folder / "meta.json"
    return read_object(file, "meta") if file.exists() else {}


def read_description(folder: Path) -> str:
    """Read the ``description.md`` of a folder; empty when there is none."""
    file = folder / "description.md"
    return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
