"""Variables: Mustache placeholders in configurations and the values that replace them (VR-1..VR-12)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docker_runner.documents import checked, read_object, scalar_text
from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import VARIABLES_COMPONENT


@dataclass(frozen=True)
class VariableValues:
    """Values given with a run: inline ones, or the id of a row of the variables configuration (VR-4)."""

    inline: Mapping[str, str] = field(default_factory=dict)
    row_id: str = ""


def with_variables(
    configuration: dict[str, Any], given: VariableValues, *, project: Project
) -> tuple[dict[str, Any], dict[str, str]]:
    """Replace the placeholders of a configuration.

    Args:
        configuration: effective configuration, shared code inserted.
        given: values given with the run.
        project: where the variables and their stored values are read.

    Returns:
        The replaced configuration, and the names and values that were used (VR-12). Without ``variables_id`` nothing
        is replaced (VR-1).

    Raises:
        UserError: values are missing (VR-4, VR-7, D21) or break the configuration (VR-9).
    """
    variables_id = str(configuration.get("variables_id") or "")
    if not variables_id:
        if given.inline or given.row_id:
            raise UserError("Values of variables were given, but the configuration has no variables.")
        return configuration, {}
    declared = _declared(project, variables_id)
    stored_row = str(configuration.get("variables_values_id") or "")
    values = _values(given, variables_id, stored_row=stored_row, project=project)
    missing = [name for name in declared if name not in values]
    if missing:
        raise UserError(f"These variables have no value: {', '.join(missing)}. Give a value for each of them.")
    return _rendered(configuration, values), values


def _declared(project: Project, variables_id: str) -> list[str]:
    file = project.entry(VARIABLES_COMPONENT, variables_id).folder / "config.json"
    return [item["name"] for item in read_object(file, "variables")["variables"]]


def _values(given: VariableValues, variables_id: str, *, stored_row: str, project: Project) -> dict[str, str]:
    if given.inline and given.row_id:
        raise UserError("Give values of variables either by name or as the id of stored values, not both.")
    if given.inline:
        items = [{"name": name, "value": value} for name, value in given.inline.items()]
        return _as_map(checked({"values": items}, "variable-values", file="values of variables")["values"])
    row_id = given.row_id or stored_row
    if not row_id:
        raise UserError(f"No values were given for the variables {variables_id}, and none are set as default.")
    rows = dict(project.entry(VARIABLES_COMPONENT, variables_id).rows)
    if row_id not in rows:
        raise NotFoundError(
            f"The variables {variables_id} have no stored values {row_id!r}; there are: {', '.join(rows) or 'none'}."
        )
    return _as_map(read_object(rows[row_id] / "config.json", "variable-values")["values"])


def _as_map(items: list[dict[str, Any]]) -> dict[str, str]:
    return {str(item["name"]): scalar_text(item["value"]) for item in items}


def _rendered(configuration: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Render the configuration's JSON as a Mustache template; double braces insert JSON-safe text (VR-9, VR-10)."""
    import pystache
    from pystache.common import MissingTags, TemplateNotFoundError
    from pystache.context import KeyNotFoundError
    from pystache.parser import ParsingError

    template = json.dumps(configuration, ensure_ascii=False)
    renderer = pystache.Renderer(escape=_json_escaped, missing_tags=MissingTags.strict, partials={})
    missing: list[str] = []
    while True:
        try:
            text = renderer.render(template, {**values, **_empty(missing)})
            break
        except KeyNotFoundError as error:
            if '"' in error.key or error.key in missing:
                raise ConfigurationError(f"A placeholder is not closed or has no name: {error.key[:40]!r}.") from None
            missing.append(error.key)
        except TemplateNotFoundError:
            raise ConfigurationError("Placeholders may not name other templates ({{> name}}).") from None
        except ParsingError as error:
            raise ConfigurationError(f"A placeholder is not valid Mustache: {error}") from None
    if missing:
        names = [name for name in missing if not any(other.startswith(f"{name}.") for other in missing)]
        raise UserError(f"These placeholders have no value: {', '.join(names)}.")
    try:
        rendered: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"Replacing the variables broke the configuration ({error.msg}): a section such as {{{{#name}}}} is not "
            "closed, or a value in triple braces, which is inserted as it is, is no valid JSON there; double braces "
            "keep quotes and line ends safe."
        ) from None
    return rendered


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
