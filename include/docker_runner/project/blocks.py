"""Code of transformations that lies in files: ``blocks/<block>/<code>/code.<ext>``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import read_json, read_text
from docker_runner.errors import ConfigurationError


def with_code(configuration: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put the code files of a transformation back into ``parameters.blocks`` (the stored form).

    Args:
        configuration: the content of ``config.json``.
        folder: the configuration's folder.

    Returns:
        The configuration itself when it has no ``blocks`` folder, else a copy with the code in it.

    Raises:
        ConfigurationError: a code folder has no code file, or several.
    """
    blocks_folder = folder / "blocks"
    if not blocks_folder.is_dir():
        return configuration
    blocks = [
        {"name": _name(block), "codes": [_code(code) for code in _folders(block)]} for block in _folders(blocks_folder)
    ]
    parameters = configuration.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigurationError("Must be a map.", file=folder / "config.json", key="parameters")
    return {**configuration, "parameters": {**parameters, "blocks": blocks}}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _name(folder: Path) -> str:
    meta = folder / "meta.json"
    content = read_json(meta) if meta.exists() else {}
    return str(content.get("name", folder.name)) if isinstance(content, dict) else folder.name


def _code(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("code.*"))
    if len(files) != 1:
        raise ConfigurationError(f"Must hold exactly one code file (code.py, …), not {len(files)}.", file=folder)
    if files[0].suffix == ".sql":
        raise ConfigurationError(
            "SQL transformations run inside a database workspace, which is not offered here.", file=files[0]
        )
    return {"name": _name(folder), "script": [read_text(files[0])]}
