"""Lines of keys in JSON files, found when an error has to name one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docker_runner.regular_files import read_regular

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(strict=False)


def line_of(file: Path, key: str) -> int | None:
    """The line, from 1, on which a key stands; that of the nearest key around it when it does not exist.

    Args:
        file: a JSON file.
        key: dotted path as errors name it, e.g. ``storage.input.tables[0].source``; empty for the document itself.

    Returns:
        None when the file cannot be read or is not JSON.
    """
    try:
        text = _text(file)
        value = _after_space(text, 0)
        return text.count("\n", 0, _find(text, value, value, key)[1]) + 1
    except (OSError, ValueError, IndexError, RecursionError):
        return None


def holds(file: Path, key: str) -> bool:
    """Whether a key exists in a JSON file."""
    try:
        text = _text(file)
        document = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return _holds(document, key)


def changed_values(text: str, before: Any, after: Any) -> list[tuple[int, int, Any]]:
    """Where the values stand in a JSON text that are others in another document of the same form.

    Args:
        text: JSON, with or without a mark of its encoding; no map has a key twice.
        before: the document that it holds.
        after: the same document but for some of its values, each a single one.

    Returns:
        Begin, end and new value of each, in the order of the text.
    """
    return list(_changed(text, _after_space(text, len(text) - len(text.removeprefix("\ufeff"))), before, after))


def _changed(text: str, value: int, before: Any, after: Any) -> Iterator[tuple[int, int, Any]]:
    if before == after:
        return
    if not isinstance(before, dict | list):
        yield value, _DECODER.raw_decode(text, value)[1], after
        return
    for index, (name, _, inner) in enumerate(_members(text, value)):
        key: Any = name if isinstance(before, dict) else index
        yield from _changed(text, inner, before[key], after[key])


def _text(file: Path) -> str:
    return read_regular(file).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def repeated_key(text: str) -> tuple[str, int | None]:
    """The first key that stands for a second time in its map: its dotted path and its line, from 1.

    Args:
        text: JSON in which there is one.
    """
    found = _repeated(text, _after_space(text, 0), "")
    return (found[0], text.count("\n", 0, found[1]) + 1) if found else ("", None)


def _repeated(text: str, value: int, path: str) -> tuple[str, int] | None:
    seen: set[str] = set()
    for name, begin, inner in _members(text, value):
        place = f"{path}{name}" if name.startswith("[") else f"{path}.{name}".lstrip(".")
        if name in seen:
            return place, begin
        seen.add(name)
        if found := _repeated(text, inner, place):
            return found
    return None


def _holds(value: object, key: str) -> bool:
    if not key:
        return True
    items: Iterator[tuple[str, object]]
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        return False
    return any(_holds(item, rest) for name, item in items if (rest := _rest(key, name)) is not None)


def _find(text: str, start: int, value: int, key: str) -> tuple[int, int]:
    """How much of the key is not in the value at ``value``, and where what is found of it stands."""
    best = len(key), start
    if not key:
        return best
    for name, begin, inner in _members(text, value):
        rest = _rest(key, name)
        if rest is not None:
            found = _find(text, begin, inner, rest)
            # Of repeated keys the last one counts.
            best = found if found[0] <= best[0] else best
    return best


def _rest(key: str, name: str) -> str | None:
    """What is left of a dotted key after the name of a member; None when it does not begin with it."""
    if not key.startswith(name) or (key[len(name) :] and key[len(name)] not in ".["):
        return None
    return key[len(name) :].removeprefix(".")


def _members(text: str, position: int) -> Iterator[tuple[str, int, int]]:
    """Name, position and position of the value of each member of the map or list at ``position``."""
    opening = text[position]
    if opening not in "{[":
        return
    position = _after_space(text, position + 1)
    index = 0
    while text[position] not in "}]":
        begin = value = position
        name = f"[{index}]"
        if opening == "{":
            name, end = _DECODER.raw_decode(text, position)
            value = _after_space(text, _after_space(text, end) + 1)
        yield name, begin, value
        _, end = _DECODER.raw_decode(text, value)
        position = _after_space(text, end)
        if text[position] == ",":
            position = _after_space(text, position + 1)
        index += 1


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
