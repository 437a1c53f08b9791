"""Manifests: the sidecar files of tables and files (sections 6.3, 7.2, 8.2, 9)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, parse_document, read_text
from docker_runner.errors import ConfigurationError
from docker_runner.storage.base import MetadataItem, StoredFile, Table

SUFFIX = ".manifest"

LONGEST_NAME = 255 - len(SUFFIX)
"""Bytes of the longest name of a table or file that can have a manifest beside it."""


def manifest_path(file: Path) -> Path:
    """The manifest beside a table or file."""
    return file.with_name(file.name + SUFFIX)


def write_manifest(file: Path, content: dict[str, Any], *, extension: str) -> None:
    """Write the manifest beside ``file`` in the component's format (CD-11)."""
    if extension == "json":
        text = json.dumps(content, indent=4)
    else:
        import yaml

        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    manifest_path(file).write_text(text, encoding="utf-8")


def input_table_manifest(table: Table, columns: Sequence[str], *, with_schema: bool = True) -> dict[str, Any]:
    """Manifest of a table in ``in/tables`` (IM-45..IM-56).

    Args:
        table: the source table.
        columns: the exported columns, in file order.
        with_schema: tell the types of a typed table in ``schema`` too; its column metadata tells them anyway.
    """
    description = _description(table.metadata)
    return {
        "id": table.id,
        "uri": f"docker-runner://tables/{table.id}",
        "name": table.name,
        "primary_key": list(table.primary_key),
        "distribution_key": [],
        "created": moment_text(table.created),
        "last_change_date": moment_text(table.last_change_date),
        "last_import_date": moment_text(table.last_import_date),
        **({"description": description} if description else {}),
        "columns": list(columns),
        "metadata": [_metadata_item(item) for item in table.metadata],
        "column_metadata": {name: _column_metadata(table, name) for name in columns},
        "schema": [_column(table, name) for name in columns] if table.types and with_schema else [],
    }


def _description(metadata: Sequence[MetadataItem]) -> str:
    return next((item.value for item in metadata if item.key == "KBC.description"), "")


def _column(table: Table, name: str) -> dict[str, Any]:
    """A column of a typed table in ``schema`` (IM-56).

    Length and default stand with the base type, so that a component may hand the column on as it is (OM-91).
    """
    column: dict[str, Any] = {"name": name}
    kind = table.types.get(name)
    if kind:
        base = {"type": kind.base.value}
        if kind.length:
            base["length"] = kind.length
        if kind.default is not None:
            base["default"] = kind.default
        column |= {"data_type": {"base": base}, "nullable": kind.nullable}
    column["primary_key"] = name in table.primary_key
    description = _description(table.column_metadata.get(name, ()))
    return {**column, "description": description} if description else column


def _column_metadata(table: Table, name: str) -> list[dict[str, Any]]:
    """Metadata of a column (IM-55); the type of a typed column is told there too, for components that know no schema.

    What the component that made the column said of its type itself stays as it is.
    """
    items = list(table.column_metadata.get(name, ()))
    kind = table.types.get(name)
    if kind:
        # Truth values are written as PHP writes them.
        hints = {
            "type": kind.base.value,
            "nullable": "1" if kind.nullable else "",
            "basetype": kind.base.value,
            "length": kind.length,
            "default": kind.default,
        }
        said = {item.key for item in items}
        items += [
            MetadataItem(key, value, "storage", table.created)
            for hint, value in hints.items()
            if (key := f"KBC.datatype.{hint}") not in said and value is not None and (value or hint == "nullable")
        ]
    return [_metadata_item(item) for item in items]


def _metadata_item(item: MetadataItem) -> dict[str, Any]:
    return {
        "id": item.id if item.id is not None else f"{item.provider}.{item.key}",
        "key": item.key,
        "value": item.value,
        "provider": item.provider,
        "timestamp": moment_text(item.timestamp) if item.timestamp else "",
    }


def input_file_manifest(file: StoredFile) -> dict[str, Any]:
    """Manifest of a file in ``in/files`` (IF-28)."""
    return {
        "id": file.id,
        "name": file.name,
        "created": moment_text(file.created),
        "is_public": file.is_public,
        "is_encrypted": file.is_encrypted,
        "is_sliced": file.is_sliced,
        "tags": list(file.tags),
        "max_age_days": file.max_age_days or 0,
        "size_bytes": file.size_bytes,
    }


def moment_text(moment: datetime) -> str:
    """A time as manifests show it, ``YYYY-MM-DDTHH:MM:SS+HHMM`` (IM-50)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S%z")


def read_manifest(file: Path, schema: str, *, extension: str) -> dict[str, Any] | None:
    """Read and check the manifest that a component wrote beside ``file``.

    Args:
        file: the table or file in the output folder.
        schema: ``output-table-manifest`` or ``output-file-manifest``.
        extension: ``json`` or ``yml``, by the component's configuration format.

    Returns:
        The manifest, or None when there is none.

    Raises:
        ConfigurationError: it cannot be read or has unknown or wrong keys (OM-7, OF-4).
    """
    path = manifest_path(file)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ConfigurationError("A manifest must be a regular file.", file=_shown(path))
    if not path.exists():
        return None
    content = parse_document(read_text(path, shown=_shown(path)), extension=extension, file=_shown(path))
    manifest: dict[str, Any] = checked({} if content in (None, []) else content, schema, file=_shown(path))
    return manifest


def _shown(path: Path) -> str:
    return "/".join(("out", *path.parts[-2:]))
