"""One table of the input mapping: what its options ask for (section 6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docker_runner.documents import falsy, scalar_text
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.interface.manifests import LONGEST_NAME, SUFFIX
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import Operator, Where
from docker_runner.storage.names import split_table_id

FILE_TYPES = ("csv", "parquet")


@dataclass(frozen=True)
class InputTable:
    """One item of ``storage.input.tables``, understood.

    Attributes:
        key: path of the item in the configuration.
        adaptive: only what changed since the import that the state remembers (IM-30).
    """

    key: str
    source: str
    destination: str
    columns: tuple[str, ...] = ()
    where: Where | None = None
    changed_since: datetime | None = None
    adaptive: bool = False
    limit: int | None = None
    file_type: str = "csv"


def input_table(item: Mapping[str, Any], *, key: str, now: datetime) -> InputTable:
    """Understand one item (IM-1..IM-19, IM-28..IM-35).

    Raises:
        ConfigurationError: options contradict each other or have no meaning; names the key.
    """
    source = scalar_text(item["source"])
    adaptive = item.get("changed_since") == "adaptive"
    limit = item.get("limit")
    if not falsy(item.get("source_branch_id")):
        raise ConfigurationError(
            "Branches are kept apart by names here, so no other branch can be read: leave the key out. A run in a "
            "development branch finds the branch's own tables by itself.",
            key=f"{key}.source_branch_id",
        )
    return InputTable(
        key=key,
        source=_source(source, key=f"{key}.source"),
        destination=_destination(item, source=source, key=f"{key}.destination"),
        columns=_columns(item, key=key),
        where=_where(item, key=key),
        changed_since=_changed_since(item, key=key, now=now),
        adaptive=adaptive,
        limit=None if limit is None else int(limit),
        file_type=_file_type(item, key=f"{key}.file_type"),
    )


def _source(source: str, *, key: str) -> str:
    try:
        split_table_id(source)
    except UserError as error:
        raise ConfigurationError(str(error), key=key) from None
    return source


def _destination(item: Mapping[str, Any], *, source: str, key: str) -> str:
    """The file's name; folders, and names that are those of manifests, are refused (IM-3, IM-34)."""
    name = source if falsy(item.get("destination")) else scalar_text(item["destination"])
    if "/" in name or "\0" in name or name in (".", ".."):
        raise ConfigurationError("The destination must be a file name without folders.", key=key)
    if name.endswith(SUFFIX):
        raise ConfigurationError(f"A name that ends in {SUFFIX} is that of a manifest; choose another one.", key=key)
    if len(name.encode()) > LONGEST_NAME:
        raise ConfigurationError(f"The name is longer than {LONGEST_NAME} bytes; choose a shorter one.", key=key)
    return name


def _columns(item: Mapping[str, Any], *, key: str) -> tuple[str, ...]:
    """The columns to export; with types the order of those decides (IM-6, IM-7, IM-19)."""
    columns = [scalar_text(name) for name in item.get("columns") or []]
    typed = [scalar_text(column["source"]) for column in item.get("column_types") or []]
    if columns and typed:
        for name, names, others in (("columns", columns, typed), ("column_types", typed, columns)):
            surplus = [column for column in names if column not in others]
            if surplus:
                raise ConfigurationError(
                    f"columns and column_types must name the same columns; only here: {', '.join(surplus)}.",
                    key=f"{key}.{name}",
                )
    chosen = typed or columns
    twice = sorted({name for name in chosen if chosen.count(name) > 1})
    if twice:
        raise ConfigurationError(
            f"A column can be exported once only: {', '.join(twice)}.",
            key=f"{key}.{'column_types' if typed else 'columns'}",
        )
    return tuple(chosen)


def _where(item: Mapping[str, Any], *, key: str) -> Where | None:
    column = scalar_text(item.get("where_column"))
    values = tuple(scalar_text(value) for value in item.get("where_values") or [])
    if bool(column.strip()) != bool(values):
        missing = "where_column" if values else "where_values"
        raise ConfigurationError(
            "where_column and where_values belong together: give both, or none.", key=f"{key}.{missing}"
        )
    return Where(column, values, Operator(item.get("where_operator") or "eq")) if values else None


def _changed_since(item: Mapping[str, Any], *, key: str, now: datetime) -> datetime | None:
    days, since = int(item.get("days") or 0), item.get("changed_since")
    if days and not falsy(since):
        raise ConfigurationError("Give days or changed_since, not both.", key=f"{key}.days")
    if days:
        return moment(f"-{days} days", now=now, key=f"{key}.days")
    if falsy(since) or since == "adaptive":
        return None
    return moment(since, now=now, key=f"{key}.changed_since")


def _file_type(item: Mapping[str, Any], *, key: str) -> str:
    file_type = "csv" if falsy(item.get("file_type")) else scalar_text(item["file_type"])
    if file_type not in FILE_TYPES:
        raise ConfigurationError(f"Tables are given as {' or '.join(FILE_TYPES)}, not as {file_type!r}.", key=key)
    return file_type
