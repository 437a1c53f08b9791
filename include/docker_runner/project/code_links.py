"""Shared code as ``kbc`` writes it: by path, where the stored form has ids.

A configuration names the shared code by ``shared_code_path``; a line of its code that is nothing but
``# {{:codes/<piece>}}`` (or with the language's own comment sign) stands for one piece of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import read_json
from docker_runner.errors import ConfigurationError
from docker_runner.project.entries import SHARED_CODE_COMPONENT, Entries, Entry

_PATH = "shared_code_path"
_LINK = re.compile(r"^[ \t]*(?:#|--|//)?[ \t]*{{:([^:{}\n]+)}}[ \t]*$", re.MULTILINE)


def split_at_links(code: str) -> list[str]:
    """Make each line that stands for shared code a script of its own; other code stays as it is."""
    if not _LINK.search(code):
        return [code]
    pieces: list[str] = []
    end = 0
    for link in _LINK.finditer(code):
        pieces += [code[end : link.start()], link[0]]
        end = link.end()
    return [stripped for piece in [*pieces, code[end:]] if (stripped := piece.strip("\r\n"))]


def with_shared_code_ids(
    configuration: dict[str, Any], entries: Entries, *, component_id: str, file: Path
) -> dict[str, Any]:
    """Put the ids of shared code back where paths stand.

    Args:
        configuration: a configuration with its code (see :mod:`docker_runner.project.blocks`).
        entries: where shared code is looked up.
        component_id: the configuration's component; shared code is written for one component.
        file: the configuration's file, for errors.

    Returns:
        The configuration itself when it has no code in blocks, else a copy.

    Raises:
        ConfigurationError: the shared code or one of its pieces does not exist, or is for another component.
    """
    if _PATH not in configuration:
        _scripts_replaced(configuration, lambda path: _no_library(path, file))
        return configuration
    library = _library(configuration[_PATH], entries, component_id=component_id, file=file)
    ids = {str(folder.relative_to(library.folder)): row_id for row_id, folder in library.rows}
    used: set[str] = set()

    def placeholder(path: str) -> str:
        if path not in ids:
            raise ConfigurationError(
                f"The shared code {configuration[_PATH]} has no piece {path!r}; there are: {', '.join(ids) or 'none'}.",
                file=file,
                key="parameters.blocks",
            )
        used.add(ids[path])
        return f"{{{{{ids[path]}}}}}"

    linked = _scripts_replaced(configuration, placeholder)
    own = {key: value for key, value in linked.items() if key != _PATH}
    return {**own, "shared_code_id": library.key[1], "shared_code_row_ids": sorted(used)}


def _library(path: Any, entries: Entries, *, component_id: str, file: Path) -> Entry:
    key = entries.at(path) if isinstance(path, str) else None
    entry = entries.get(key) if key and key[0] == SHARED_CODE_COMPONENT else None
    if not entry:
        raise ConfigurationError(f"There is no shared code at {path!r} in this branch.", file=file, key=_PATH)
    target = target_component(entry)
    if target and target != component_id:
        raise ConfigurationError(f"This shared code is for {target}, not for {component_id}.", file=file, key=_PATH)
    return entry


def target_component(entry: Entry) -> str:
    """The component that shared code is written for; empty when it does not say."""
    content = read_json(entry.folder / "config.json")
    return str(content.get("componentId") or "") if isinstance(content, dict) else ""


def _no_library(path: str, file: Path) -> str:
    raise ConfigurationError(
        f"The code names the shared code {path!r}, but the configuration has no {_PATH}.",
        file=file,
        key="parameters.blocks",
    )


def _scripts_replaced(configuration: dict[str, Any], replace: Callable[[str], str]) -> dict[str, Any]:
    """A copy in which every script that is a link is replaced; itself when it has no blocks."""
    parameters = configuration.get("parameters")
    blocks = parameters.get("blocks") if isinstance(parameters, dict) else None
    if not isinstance(blocks, list):
        return configuration
    new = [
        _each(block, "codes", lambda code: _each(code, "script", lambda item: _linked(item, replace)))
        for block in blocks
    ]
    return {**configuration, "parameters": {**parameters, "blocks": new}}  # type: ignore[dict-item]


def _each(node: Any, key: str, change: Callable[[Any], Any]) -> Any:
    items = node.get(key) if isinstance(node, Mapping) else None
    return {**node, key: [change(item) for item in items]} if isinstance(items, list) else node


def _linked(script: Any, replace: Callable[[str], str]) -> Any:
    link = _LINK.fullmatch(script) if isinstance(script, str) else None
    return replace(link[1].strip()) if link else script
