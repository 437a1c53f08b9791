"""Columns of an output table: their names, the key and their types, from options or from a schema (section 8.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.mapping.output_options import TableOptions
from docker_runner.storage.base import BaseType, ColumnType

AUTHORITATIVE, HINTS = "authoritative", "hints"
_BASETYPE = "KBC.datatype.basetype"


@dataclass(frozen=True)
class Columns:
    """The columns of one load.

    Attributes:
        names: in file order; empty when the file's header names them.
        key: the primary key.
        from_schema: a schema names them.
        types: of a typed table; empty for a table of texts.
        hints: declared types as metadata of the columns, for a table of texts.
    """

    names: tuple[str, ...]
    key: tuple[str, ...]
    from_schema: bool = False
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    hints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def table_columns(options: TableOptions, *, data_types: str = "none", required: bool = True) -> Columns:
    """Read the columns of a table.

    Args:
        options: the table's options.
        data_types: ``authoritative`` (typed columns), ``hints`` (texts, the types are kept as metadata) or ``none``
            (a schema gives names, key and descriptions only, D23) (OM-90).
        required: insist on what the component has promised by its support of data types (OM-93).

    Raises:
        ConfigurationError: a promised schema or type is missing, or a type is unknown (OM-92).
    """
    schema = options.get("schema", [])
    if required and data_types in (AUTHORITATIVE, HINTS):
        _refuse_missing(schema, options, data_types=data_types)
    if not schema:
        return Columns(tuple(options.get("columns", ())), tuple(options.get("primary_key", ())))
    return Columns(
        names=tuple(column["name"] for column in schema),
        key=tuple(column["name"] for column in schema if column.get("primary_key")),
        from_schema=True,
        types={column["name"]: _type(column, options) for column in schema} if data_types == AUTHORITATIVE else {},
        hints={column["name"]: _hint(column) for column in schema} if data_types == HINTS else {},
    )


def types_by_metadata(options: TableOptions, names: tuple[str, ...]) -> dict[str, ColumnType]:
    """Types of columns as their metadata tells them, for new tables of projects with the older feature (OM-97).

    Args:
        options: the table's options.
        names: the columns; those without a base type in their metadata are texts.

    Returns:
        A type for each column; nothing when the table's options name no columns, or no metadata of columns.

    Raises:
        ConfigurationError: a base type is unknown.
    """
    metadata = options.get("column_metadata", {})
    if not (names and metadata):
        return {}
    told = {
        name: scalar_text(item["value"])
        for name, items in metadata.items()
        for item in items
        if item["key"] == _BASETYPE
    }
    return {
        name: ColumnType(_base(told.get(name) or BaseType.STRING.value, name, options, "column_metadata"))
        for name in names
    }


def _base(written: str, column: str, options: TableOptions, key: str) -> BaseType:
    name = written.upper()
    if name not in BaseType.__members__:
        raise options.error(
            f"The base type of the column {column} must be one of {', '.join(BaseType)}, not {written!r}.", key
        )
    return BaseType(name)


def _refuse_missing(schema: Any, options: TableOptions, *, data_types: str) -> None:
    """A component that supports data types has to tell them (OM-93)."""
    if not schema:
        raise ConfigurationError(
            f"The columns must be told by a schema, because data_type_support is {data_types!r}: write one into "
            f"{options.manifest_file} or into the mapping, or set storage.output.data_type_support to 'none'.",
            key=options.title,
        )
    untyped = [column["name"] for column in schema if not (column.get("data_type") or {}).get("base")]
    if untyped and data_types == AUTHORITATIVE:
        raise options.error(
            f"These columns need a data_type with a base type, because data_type_support is {data_types!r}: "
            f"{', '.join(untyped)}.",
            "schema",
        )


def _type(column: Mapping[str, Any], options: TableOptions) -> ColumnType:
    """The type that Storage gives a column: the base type decides, types of single backends are not used (OM-91)."""
    base = (column.get("data_type") or {}).get("base") or {"type": BaseType.STRING.value}
    # A key identifies rows, which nothing that is missing can.
    nullable = bool(column.get("nullable", True)) and not column.get("primary_key")
    default = base.get("default")
    return ColumnType(
        base=_base(str(base["type"]), column["name"], options, "schema"),
        length=scalar_text(base.get("length")),
        default=None if default is None else scalar_text(default),
        nullable=nullable,
    )


def _hint(column: Mapping[str, Any]) -> dict[str, str]:
    """The declared type as metadata (OM-84, OM-94)."""
    base = (column.get("data_type") or {}).get("base") or {}
    names = {"basetype": "type", "length": "length", "default": "default"}
    told = {
        f"KBC.datatype.{key}": scalar_text(base[option])
        for key, option in names.items()
        if base.get(option) is not None
    }
    return {**told, "KBC.datatype.nullable": "1" if column.get("nullable", True) else "0"}
