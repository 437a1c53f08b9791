"""Output mapping of tables: from ``out/tables`` to Storage (section 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import read_manifest
from docker_runner.mapping.moments import moment
from docker_runner.mapping.output_options import merged_options
from docker_runner.mapping.sources import output_sources
from docker_runner.storage.base import DeleteWhere, MetadataItem, Operator, TableLoad, Where
from docker_runner.storage.names import split_table_id


@dataclass(frozen=True)
class Owner:
    """Who writes: recorded as metadata of the tables, and source of the default bucket."""

    component_id: str
    config_id: str
    row_id: str = ""
    default_bucket: str = ""


def default_bucket(*, wanted: bool, stage: str, sanitized_component_id: str, config_id: str, configured: Any) -> str:
    """The bucket of tables that name none, or an empty text (OM-21).

    Args:
        wanted: the component's ``default_bucket``.
        stage: the component's ``default_bucket_stage``.
        sanitized_component_id: the component's id as part of names.
        config_id: the configuration's id.
        configured: ``storage.output.default_bucket``, which wins.

    Raises:
        ConfigurationError: the component needs a configuration's id for it and there is none.
    """
    if configured:
        return str(configured)
    if not wanted:
        return ""
    if not config_id:
        raise ConfigurationError("The component writes into a bucket named after the configuration, which has no id.")
    return f"{stage}.c-{sanitized_component_id}-{config_id}"


def table_loads(
    items: Sequence[Mapping[str, Any]], *, folder: Path, owner: Owner, extension: str = "json"
) -> list[TableLoad]:
    """Describe the loads of everything in ``out/tables``, mapped or not (OM-1..OM-8).

    Args:
        items: ``storage.output.tables`` with defaults filled in.
        folder: ``out/tables``.
        owner: who writes.
        extension: format of the manifests.

    Raises:
        ConfigurationError: a mapped table is missing, a manifest is alone or wrong, a destination is not a table id.
    """
    sources = output_sources(folder)
    missing = [(index, item["source"]) for index, item in enumerate(items) if item["source"] not in sources]
    if missing:
        index, _ = missing[0]
        raise ConfigurationError(
            f"The component did not write {', '.join(f'out/tables/{name}' for _, name in missing)}; "
            f"it wrote: {', '.join(sources) or 'nothing'}.",
            key=f"storage.output.tables[{index}].source",
        )
    now = datetime.now(UTC)
    loads = []
    for name, path in sources.items():
        manifest = read_manifest(path, "output-table-manifest", extension=extension) or {}
        mapped: dict[str, Mapping[str, Any]] = {
            f"storage.output.tables[{index}]": item for index, item in enumerate(items) if item["source"] == name
        }
        for key, item in (mapped or {f"out/tables/{name}": {}}).items():
            destination = _destination(item, manifest, name=name, bucket=owner.default_bucket, key=key)
            split_table_id(destination)
            options = merged_options(item, manifest, source=name)
            loads.append(_table_load(path, destination, options, owner=owner, now=now))
    return loads


def _destination(mapping: Mapping[str, Any], manifest: Mapping[str, Any], *, name: str, bucket: str, key: str) -> str:
    """Where a table goes (OM-22..OM-24, D24)."""
    mapped = str(mapping.get("destination") or "")
    if mapped:
        if mapped.count(".") != 2:
            example = f"out.c-main.{mapped.split('.')[-1] or name}"
            raise ConfigurationError(
                f"{mapped!r} is not a table id; write stage.bucket.table, e.g. {example}.",
                key=f"{key}.destination",
            )
        return mapped
    wanted = str(manifest.get("destination") or "") or name.removesuffix(".csv")
    if wanted.count(".") == 2:
        return wanted
    if wanted.count(".") > 2 or not bucket:
        raise ConfigurationError(
            f"It is not known which bucket the table {name!r} belongs to: map it in storage.output.tables "
            "with a destination such as out.c-main.table, or set storage.output.default_bucket.",
            key=key,
        )
    return f"{bucket}.{wanted}"


def _table_load(path: Path, destination: str, options: Mapping[str, Any], *, owner: Owner, now: datetime) -> TableLoad:
    schema = options.get("schema") or []
    columns = tuple(column["name"] for column in schema) or tuple(options.get("columns") or ())
    key = tuple(column["name"] for column in schema if column.get("primary_key")) or tuple(
        options.get("primary_key") or ()
    )
    if path.is_dir() and not columns:
        raise ConfigurationError(
            "A sliced table has no header: name its columns in the mapping or in its manifest.",
            file=f"out/tables/{path.name}",
        )
    return TableLoad(
        table_id=destination,
        source=path,
        columns=columns,
        has_header=bool(options.get("has_header", False)),
        primary_key=key,
        incremental=bool(options.get("incremental", False)),
        delimiter=options.get("delimiter") or ",",
        enclosure=options.get("enclosure", '"'),
        delete_where=tuple(_deletes(options, destination=destination, now=now)),
        metadata=(*_system_metadata("lastUpdatedBy", owner), *_metadata(options, owner=owner)),
        created_metadata=tuple(_system_metadata("createdBy", owner)),
        column_metadata=_column_metadata(options, provider=owner.component_id),
    )


def _deletes(options: Mapping[str, Any], *, destination: str, now: datetime) -> Iterator[DeleteWhere]:
    """The delete rules in both forms (OM-56, OM-57)."""
    if options.get("delete_where_column"):
        values = tuple(scalar_text(value) for value in options["delete_where_values"])
        operator = Operator(options.get("delete_where_operator") or "eq")
        yield DeleteWhere(filters=(Where(str(options["delete_where_column"]), values, operator),))
    for index, rule in enumerate(options.get("delete_where") or []):
        key = f"delete_where[{index}] of {destination}"
        since, until = rule.get("changed_since"), rule.get("changed_until")
        filters = tuple(_delete_filter(item, key=key) for item in rule.get("where_filters") or [])
        if not (since or until or filters):
            raise ConfigurationError("Give changed_since, changed_until or where_filters.", key=key)
        yield DeleteWhere(
            filters=filters,
            changed_since=moment(since, now=now, key=f"{key}.changed_since") if since else None,
            changed_until=moment(until, now=now, key=f"{key}.changed_until") if until else None,
        )


def _delete_filter(item: Mapping[str, Any], *, key: str) -> Where:
    if not item.get("values_from_set") or item.get("values_from_workspace") or item.get("values_from_storage"):
        raise ConfigurationError("A filter takes its values from values_from_set, and only from there.", key=key)
    values = tuple(scalar_text(value) for value in item["values_from_set"])
    return Where(item["column"], values, Operator(item.get("operator") or "eq"))


def _system_metadata(event: str, owner: Owner) -> Iterator[MetadataItem]:
    """Who wrote the table (OM-80)."""
    ids = {"component": owner.component_id, "configuration": owner.config_id, "configurationRow": owner.row_id}
    return (MetadataItem(f"KBC.{event}.{kind}.id", value, "system") for kind, value in ids.items() if value)


def _metadata(options: Mapping[str, Any], *, owner: Owner) -> Iterator[MetadataItem]:
    """What the component says of the table (OM-82)."""
    own = {item["key"]: item["value"] for item in options.get("metadata") or []} | (options.get("table_metadata") or {})
    if options.get("description"):
        own["KBC.description"] = options["description"]
    for key, value in own.items():
        yield MetadataItem(key, scalar_text(value), owner.component_id)


def _column_metadata(options: Mapping[str, Any], *, provider: str) -> dict[str, tuple[MetadataItem, ...]]:
    found = {
        name: {item["key"]: item["value"] for item in items}
        for name, items in (options.get("column_metadata") or {}).items()
    }
    for column in options.get("schema") or []:
        own = dict(column.get("metadata") or {})
        if column.get("description"):
            own["KBC.description"] = column["description"]
        if own:
            found[column["name"]] = own
    return {
        name: tuple(MetadataItem(key, scalar_text(value), provider) for key, value in items.items())
        for name, items in found.items()
    }
