"""Metadata of output tables: who wrote them, and what the component says of them (section 8.8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.mapping.output_options import TableOptions
from docker_runner.storage.base import MetadataItem

SYSTEM = "system"


@dataclass(frozen=True)
class Owner:
    """Who writes: recorded as metadata of the tables, and source of the default bucket.

    Attributes:
        branch: id of the development branch, whose buckets and tags carry it; empty in the default branch.
    """

    component_id: str
    config_id: str
    row_id: str = ""
    default_bucket: str = ""
    branch: str = ""


def system_metadata(event: str, owner: Owner) -> Iterator[MetadataItem]:
    """Who created or last updated a table or bucket (OM-80, BR-14).

    Args:
        event: ``createdBy`` or ``lastUpdatedBy``.
        owner: who writes.
    """
    ids = {
        "component": owner.component_id,
        "configuration": owner.config_id,
        "configurationRow": owner.row_id,
        "branch": owner.branch,
    }
    return (MetadataItem(f"KBC.{event}.{kind}.id", value, SYSTEM) for kind, value in ids.items() if value)


def table_metadata(options: TableOptions, *, provider: str) -> Iterator[MetadataItem]:
    """What the component says of the table (OM-82)."""
    own = {item["key"]: item["value"] for item in options.get("metadata", [])} | dict(options.get("table_metadata", {}))
    if options.get("description"):
        own["KBC.description"] = options.get("description")
    return _items(own, provider=provider)


def column_metadata(
    options: TableOptions, hints: Mapping[str, Mapping[str, Any]], *, provider: str
) -> dict[str, tuple[MetadataItem, ...]]:
    """What the component says of the columns (OM-82, OM-84).

    Args:
        options: the table's options.
        hints: declared types of columns as metadata (OM-94).
        provider: the component.
    """
    found = {
        name: {item["key"]: item["value"] for item in items}
        for name, items in dict(options.get("column_metadata", {})).items()
    }
    for column in options.get("schema", []):
        own = {**(column.get("metadata") or {}), **hints.get(column["name"], {})}
        if column.get("description"):
            own["KBC.description"] = column["description"]
        if own:
            found[column["name"]] = own
    return {name: tuple(_items(items, provider=provider)) for name, items in found.items()}


def _items(pairs: Mapping[str, Any], *, provider: str) -> Iterator[MetadataItem]:
    return (MetadataItem(key, scalar_text(value), provider) for key, value in pairs.items())
