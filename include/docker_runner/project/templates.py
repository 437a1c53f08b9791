"""Configurations as Mustache templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from docker_runner.documents import falsy
from docker_runner.errors import ConfigurationError


def render(configuration: dict[str, Any], values: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Render a configuration's JSON as a Mustache template; double braces insert JSON-safe text (VR-9, VR-10).

    Args:
        configuration: any JSON map; keys and values may hold placeholders.
        values: values by name.

    Returns:
        The rendered configuration, and the names that have no value, in order; with such names the configuration is
        of no use.

    Raises:
        ConfigurationError: a placeholder is not valid Mustache, or a raw value breaks the JSON.
    """
    import pystache
    from pystache.common import MissingTags, TemplateNotFoundError
    from pystache.context import KeyNotFoundError
    from pystache.parser import ParsingError

    template = json.dumps(configuration, ensure_ascii=False)
    _refuse_open_end(template)
    renderer = pystache.Renderer(escape=_json_escaped, missing_tags=MissingTags.strict, partials={})
    given = {name: _Value(value) for name, value in values.items()}
    missing: list[str] = []
    while True:
        try:
            text = renderer.render(template, {**given, **_empty(missing)})
            break
        except KeyNotFoundError as error:
            if '"' in error.key or error.key in missing:
                # Behind a quote stands other text of the configuration, which may hold a secret.
                shown = error.key.partition('"')[0][:40]
                raise ConfigurationError(f"A placeholder is not closed or has no name: {shown!r}.") from None
            missing.append(error.key)
        except TemplateNotFoundError:
            raise ConfigurationError("Placeholders may not name other templates ({{> name}}).") from None
        except ParsingError as error:
            raise ConfigurationError(f"A placeholder is not valid Mustache: {error}") from None
    if missing:
        return configuration, [name for name in missing if not any(other.startswith(f"{name}.") for other in missing)]
    try:
        rendered: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"Replacing the variables broke the configuration ({error.msg}): a section such as {{{{#name}}}} is not "
            "closed, or a value in triple braces, which is inserted as it is, is no valid JSON there; double braces "
            "keep quotes and line ends safe."
        ) from None
    return rendered, []


class _Value(str):
    """The text of a variable; sections take ``0`` for false, as everywhere in configurations and in PHP."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return not falsy(str(self))


def _refuse_open_end(template: str) -> None:
    """Refuse a last placeholder without an end, which would stay as it is; other delimiters may mean another thing."""
    begin = template.rfind("{{")
    if begin >= 0 and "}}" not in template[begin:] and "{{=" not in template:
        shown = template[begin:].partition('"')[0][:40]
        raise ConfigurationError(f"A placeholder is not closed: {shown!r}.")


def _empty(names: list[str]) -> dict[str, Any]:
    """Empty values for names, so that rendering goes on to the next missing one; Mustache reads dots as levels."""
    tree: dict[str, Any] = {}
    for name in names:
        node = tree
        *levels, last = name.split(".")
        for level in levels:
            if not isinstance(node.get(level), dict):
                node[level] = {}
            node = node[level]
        node[last] = ""
    return tree


def _json_escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
