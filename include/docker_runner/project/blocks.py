"""Code that lies in files of its own, beside a ``config.json`` as ``kbc`` writes it.

Transformations keep theirs in ``blocks/<block>/<code>/code.<ext>``, pieces of shared code in ``code.<ext>``, and one
application in ``code.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import read_json, read_text
from docker_runner.errors import ConfigurationError
from docker_runner.project.code_links import split_at_links
from docker_runner.project.sql_statements import statements

# The one component whose code is a single text in its parameters.
_SINGLE_FILE = "kds-team.app-custom-python"
# SQL of these is written and read as one text.
_WHOLE_SQL = frozenset({"keboola.google-bigquery-transformation", "keboola.teradata-transformation"})


def with_code(configuration: dict[str, Any], folder: Path, *, component_id: str) -> dict[str, Any]:
    """Put the code files of a configuration back into its ``parameters`` (the stored form).

    Args:
        configuration: the content of ``config.json``.
        folder: the configuration's folder.
        component_id: its component, which decides how code becomes a list of scripts.

    Returns:
        The configuration itself when it has no code files, else a copy with the code in it.

    Raises:
        ConfigurationError: a code folder has no code file, or several.
    """
    code: dict[str, Any] = {}
    if (folder / "blocks").is_dir():
        code["blocks"] = [_block(block, component_id) for block in _folders(folder / "blocks")]
    if component_id == _SINGLE_FILE and (folder / "code.py").is_file():
        code["code"] = read_text(folder / "code.py")
    if not code:
        return configuration
    parameters = configuration.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ConfigurationError("Must be a map.", file=folder / "config.json", key="parameters")
    return {**configuration, "parameters": {**parameters, **code}}


def scripts_of(folder: Path, *, component_id: str) -> list[str]:
    """The scripts in the code file of a folder.

    Args:
        folder: holds one file ``code.<ext>``.
        component_id: the component that runs them.

    Raises:
        ConfigurationError: there is no code file, or there are several.
    """
    files = sorted(path for path in folder.glob("code.*") if path.is_file())
    if len(files) != 1:
        raise ConfigurationError(f"Must hold exactly one code file (code.py, …), not {len(files)}.", file=folder)
    code = read_text(files[0]).rstrip(" \t\r\n")
    if files[0].suffix == ".sql" and component_id not in _WHOLE_SQL:
        return [statement for piece in split_at_links(code) for statement in statements(piece)]
    return split_at_links(code)


def has_code(folder: Path) -> bool:
    """Whether there is a code file in a folder."""
    return any(path.is_file() for path in folder.glob("code.*"))


def _block(folder: Path, component_id: str) -> dict[str, Any]:
    codes = [{"name": _name(code), "script": scripts_of(code, component_id=component_id)} for code in _folders(folder)]
    return {"name": _name(folder), "codes": codes}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _name(folder: Path) -> str:
    meta = folder / "meta.json"
    content = read_json(meta) if meta.exists() else {}
    return str(content.get("name", folder.name)) if isinstance(content, dict) else folder.name
