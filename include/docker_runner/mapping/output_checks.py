"""What the options of an output table may not say: alone, together, or in mapping and manifest (OM-20a, OM-20b)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.storage.names import TIMESTAMP_COLUMN, split_table_id

_NOT_WITH_SCHEMA = ("columns", "metadata", "column_metadata", "primary_key", "distribution_key")
_DESCRIPTION = "KBC.description"
_VALUE_SOURCES = ("values_from_set", "values_from_workspace", "values_from_storage")


@dataclass(frozen=True)
class Conflict:
    """Two options that cannot both be given: their paths, and the column when they are a column's."""

    first: str
    second: str
    column: str = ""


def conflicts(options: Mapping[str, Any]) -> Iterator[Conflict]:
    """Options that exclude each other and are both given (OM-20a, OM-20b)."""
    if options.get("schema"):
        yield from (Conflict("schema", key) for key in _NOT_WITH_SCHEMA if options.get(key))
    if options.get("description") is not None and _DESCRIPTION in (options.get("table_metadata") or {}):
        yield Conflict("description", f"table_metadata.{_DESCRIPTION}")
    for index, column in enumerate(options.get("schema") or []):
        if column.get("description") is not None and _DESCRIPTION in (column.get("metadata") or {}):
            place = f"schema[{index}]"
            yield Conflict(f"{place}.description", f"{place}.metadata.{_DESCRIPTION}", str(column["name"]))
    if options.get("delete_where_column") and options.get("delete_where"):
        yield Conflict("delete_where_column", "delete_where")


def refuse_wrong_options(options: Mapping[str, Any], *, file: Any = None, key: str = "") -> None:
    """Refuse what a mapping, or a manifest, must not say by itself.

    Args:
        options: item of ``storage.output.tables``, or a manifest.
        file: where it stands.
        key: dotted path of the options inside that file; empty for a manifest.

    Raises:
        ConfigurationError: names the key and says what would be right (OM-20a, OM-20b, OM-43, OM-58).
    """
    prefix = f"{key}." if key else ""
    for conflict in conflicts(options):
        raise ConfigurationError(
            f"{conflict.first} and {conflict.second} cannot both be given: remove one of them.",
            file=file,
            key=f"{prefix}{conflict.second}",
        )
    if options.get("delete_where_column") and not options.get("delete_where_values"):
        raise ConfigurationError(
            "delete_where_column needs delete_where_values: list the values whose rows are deleted.",
            file=file,
            key=f"{prefix}delete_where_values",
        )
    for index, rule in enumerate(options.get("delete_where") or []):
        _refuse_wrong_rule(rule, file=file, key=f"{prefix}delete_where[{index}]")
    _refuse_timestamp(options, file=file, key=key)


def _refuse_wrong_rule(rule: Mapping[str, Any], *, file: Any, key: str) -> None:
    filters = rule.get("where_filters") or []
    if not (rule.get("changed_since") or rule.get("changed_until") or filters):
        raise ConfigurationError("Give changed_since, changed_until or where_filters.", file=file, key=key)
    for index, item in enumerate(filters):
        place = f"{key}.where_filters[{index}]"
        given = [source for source in _VALUE_SOURCES if item.get(source)]
        if len(given) != 1:
            found = f"both {' and '.join(given)} are" if given else "none is"
            raise ConfigurationError(
                f"A filter takes its values from one source, but {found} given: list them in values_from_set.",
                file=file,
                key=place,
            )
        if given != ["values_from_set"]:
            raise ConfigurationError(
                "Values are not taken from workspaces or tables here: list them in values_from_set.",
                file=file,
                key=f"{place}.{given[0]}",
            )


def _refuse_timestamp(options: Mapping[str, Any], *, file: Any, key: str) -> None:
    """All places that name Storage's own column, in one message (OM-43)."""
    named = {
        "columns": options.get("columns") or [],
        "column_metadata": options.get("column_metadata") or [],
        "schema": [column["name"] for column in options.get("schema") or []],
    }
    wrong = [place for place, names in named.items() if any(str(name).lower() == TIMESTAMP_COLUMN for name in names)]
    if wrong:
        raise ConfigurationError(
            f"{TIMESTAMP_COLUMN} is a column of Storage's own and cannot be written: "
            f"remove it from {' and from '.join(wrong)}.",
            file=file,
            key=f"{key}.{wrong[0]}" if key else wrong[0],
        )


def mapped_destination(item: Mapping[str, Any], *, source: str, key: str) -> str:
    """The table that a mapping names; empty when it names none (OM-22).

    Args:
        item: item of ``storage.output.tables``.
        source: name of the table in ``out/tables``.
        key: dotted path of the item.

    Raises:
        ConfigurationError: it is no table id.
    """
    destination = str(item.get("destination") or "")
    if destination and destination.count(".") != 2:
        example = f"out.c-main.{destination.split('.')[-1] or source}"
        raise ConfigurationError(
            f"{destination!r} is not a table id; write stage.bucket.table, e.g. {example}.", key=f"{key}.destination"
        )
    return checked_table_id(destination, key=f"{key}.destination") if destination else ""


def checked_table_id(table_id: str, *, file: str | None = None, key: str) -> str:
    """A table id that Storage takes (OM-24, OM-28).

    Raises:
        ConfigurationError: it is none; names file and key.
    """
    try:
        split_table_id(table_id)
    except UserError as error:
        raise ConfigurationError(str(error), file=file, key=key) from None
    return table_id


def output_problems(configuration: Mapping[str, Any]) -> Iterator[ConfigurationError]:
    """What of an output mapping cannot work whatever the component writes.

    Args:
        configuration: effective configuration, checked, with defaults.

    Returns:
        The first problem of each table, and others, with their keys.
    """
    output = (configuration.get("storage") or {}).get("output") or {}
    for index, item in enumerate(output.get("tables") or []):
        key = f"storage.output.tables[{index}]"
        try:
            refuse_wrong_options(item, key=key)
            mapped_destination(item, source=str(item["source"]), key=key)
        except ConfigurationError as error:
            yield error
    texts = output.get("treat_values_as_null")
    if texts is not None and not (isinstance(texts, list) and not any(isinstance(text, list | dict) for text in texts)):
        yield ConfigurationError(
            'Must be a list of the texts that become null, e.g. ["", "NULL"].',
            key="storage.output.treat_values_as_null",
        )
