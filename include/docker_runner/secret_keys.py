"""Values under keys that begin with ``#`` in JSON documents: secrets, found and replaced wherever they stand (EN-1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

HIDDEN = "[hidden]"


def walk_secrets(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` of every scalar under a key that starts with ``#``, at any depth (EN-1)."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            inner = f"{path}.{key}".lstrip(".")
            if isinstance(value, Mapping | list):
                yield from walk_secrets(value, inner)
            elif str(key).startswith("#"):
                yield inner, value
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from walk_secrets(value, f"{path}[{index}]")


def walk_unsealed(document: Any, path: str = "", *, inside: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` of texts and numbers in maps and lists under ``#`` keys: no ciphers by contract.

    Args:
        document: parsed JSON.
        path: dotted path of the document.
        inside: it stands under such a key itself.
    """
    if isinstance(document, Mapping):
        for key, value in document.items():
            secret = str(key).startswith("#")
            if isinstance(value, Mapping | list) or not secret:
                yield from walk_unsealed(value, f"{path}.{key}".lstrip("."), inside=inside or secret)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from walk_unsealed(value, f"{path}[{index}]", inside=inside)
    elif inside and document not in (None, "") and not isinstance(document, bool):
        yield path, document


def hide_secrets(document: Any, *, but: Callable[[Any], bool] = lambda _: False, inside: bool = False) -> Any:
    """Copy a document with ``[hidden]`` in place of every scalar under a ``#`` key, also of those in maps and lists.

    Args:
        document: parsed JSON.
        but: tells of a value that it may be shown.
        inside: the document stands under such a key itself.
    """
    if isinstance(document, Mapping):
        return {
            key: hide_secrets(value, but=but, inside=inside or str(key).startswith("#"))
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [hide_secrets(value, but=but, inside=inside) for value in document]
    return HIDDEN if inside and not but(document) else document


def replace_secrets(document: Any, replace: Callable[[str, Any], Any], path: str = "") -> Any:
    """Copy a document, giving every scalar under a ``#`` key to ``replace(path, value)``."""
    if isinstance(document, Mapping):
        copy: dict[str, Any] = {}
        for key, value in document.items():
            inner = f"{path}.{key}".lstrip(".")
            secret = str(key).startswith("#") and not isinstance(value, Mapping | list)
            copy[key] = replace(inner, value) if secret else replace_secrets(value, replace, inner)
        return copy
    if isinstance(document, list):
        return [replace_secrets(value, replace, f"{path}[{index}]") for index, value in enumerate(document)]
    return document
