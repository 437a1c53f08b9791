"""Input tables from another configuration's default bucket, which ``kbc`` names by that configuration's path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from docker_runner.errors import ConfigurationError
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project

_SOURCE = re.compile(r"{{:default-bucket:([^{}]+)}}\.(.+)")


def with_default_buckets(
    configuration: dict[str, Any], *, project: Project, registry: ComponentRegistry
) -> dict[str, Any]:
    """Put table ids back where ``{{:default-bucket:<path of a configuration>}}.<table>`` stands.

    Args:
        configuration: effective configuration, not checked yet.
        project: where the other configurations are looked up.
        registry: their components, which say what their buckets are called.

    Returns:
        The configuration itself when it has no such input table, else a copy.

    Raises:
        ConfigurationError: there is no such configuration, or it has no default bucket.
    """
    storage = configuration.get("storage")
    mapping = storage.get("input") if isinstance(storage, Mapping) else None
    tables = mapping.get("tables") if isinstance(mapping, Mapping) else None
    if not isinstance(tables, list) or not any(_match(table) for table in tables):
        return configuration
    new = [
        {**table, "source": _table_id(match, index, project=project, registry=registry)}
        if (match := _match(table))
        else table
        for index, table in enumerate(tables)
    ]
    return {**configuration, "storage": {**storage, "input": {**mapping, "tables": new}}}  # type: ignore[dict-item]


def _match(table: Any) -> re.Match[str] | None:
    source = table.get("source") if isinstance(table, Mapping) else None
    return _SOURCE.fullmatch(source) if isinstance(source, str) else None


def _table_id(match: re.Match[str], index: int, *, project: Project, registry: ComponentRegistry) -> str:
    path, table = match.groups()
    place = f"storage.input.tables[{index}].source"
    key = project.at(path)
    if key is None:
        raise ConfigurationError(f"There is no configuration at {path!r} in this branch.", key=place)
    component_id, config_id = key
    component = registry.get(component_id)
    bucket = component.default_bucket(config_id)
    if not bucket:
        raise ConfigurationError(f"The component {component_id} stores into no default bucket.", key=place)
    return f"{bucket}.{table}"
