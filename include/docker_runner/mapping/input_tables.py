"""Input mapping of tables: from Storage into ``in/tables`` (section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import input_table_manifest, write_manifest
from docker_runner.mapping.moments import moment
from docker_runner.storage.base import Operator, Storage, Table, Where


@dataclass(frozen=True)
class InputTable:
    """One item of ``storage.input.tables``, understood."""

    source: str
    destination: str
    columns: tuple[str, ...]
    where: Where | None
    changed_since: datetime | None
    limit: int | None


def load_tables(
    items: Sequence[Mapping[str, Any]],
    *,
    storage: Storage,
    folder: Path,
    state: Mapping[str, Any],
    extension: str = "json",
) -> list[dict[str, Any]]:
    """Write the mapped tables and their manifests into a folder.

    All items are understood and all tables found before the first one is written.

    Args:
        items: ``storage.input.tables`` with defaults filled in.
        storage: where the tables are.
        folder: ``in/tables`` of the data folder; must be empty.
        state: the stored state document, for adaptive loads (IM-30).
        extension: format of the manifests.

    Returns:
        For each item ``{source, destination, rows, bytes, columns, last_import_date}``; the date was read before the
        export began (IM-31).

    Raises:
        UserError: a mapping is wrong, or names what does not exist (IM-39).
    """
    now = datetime.now(UTC)
    plans: list[tuple[InputTable, Table]] = []
    for index, item in enumerate(items):
        key = f"storage.input.tables[{index}]"
        plan = input_table(item, key=key, state=state, now=now)
        table = storage.table(plan.source)
        unknown = [name for name in plan.columns if name not in table.columns]
        if unknown:
            known = ", ".join(table.columns)
            raise ConfigurationError(
                f"The table {plan.source} has no column {', '.join(unknown)}; its columns are: {known}.",
                key=f"{key}.columns",
            )
        plans.append((plan, table))
    return [_load(plan, table, storage=storage, folder=folder, extension=extension) for plan, table in plans]


def _load(plan: InputTable, table: Table, *, storage: Storage, folder: Path, extension: str) -> dict[str, Any]:
    target = folder / plan.destination
    exported = storage.export_table(
        plan.source,
        target,
        columns=plan.columns,
        where=plan.where,
        changed_since=plan.changed_since,
        limit=plan.limit,
    )
    write_manifest(target, input_table_manifest(table, exported.columns), extension=extension)
    return {
        "source": plan.source,
        "destination": f"in/tables/{plan.destination}",
        "rows": exported.rows,
        "bytes": exported.bytes,
        "columns": len(exported.columns),
        "last_import_date": table.last_import_date.isoformat(),
    }


def input_table(item: Mapping[str, Any], *, key: str, state: Mapping[str, Any], now: datetime) -> InputTable:
    """Understand one item (IM-1..IM-19, IM-28..IM-35).

    Raises:
        ConfigurationError: options contradict each other or have no meaning.
    """
    source = str(item["source"])
    destination = str(item.get("destination") or source)
    if "/" in destination or destination in (".", ".."):
        raise ConfigurationError("The destination must be a file name without folders.", key=f"{key}.destination")
    limit = item.get("limit")
    return InputTable(
        source=source,
        destination=destination,
        columns=_columns(item, key=key),
        where=_where(item, key=key),
        changed_since=_changed_since(item, key=key, source=source, state=state, now=now),
        limit=int(limit) if limit else None,
    )


def _columns(item: Mapping[str, Any], *, key: str) -> tuple[str, ...]:
    columns = [str(name) for name in item.get("columns") or []]
    typed = [str(column["source"]) for column in item.get("column_types") or []]
    if columns and typed and set(columns) != set(typed):
        surplus = sorted(set(columns) ^ set(typed))
        raise ConfigurationError(
            f"columns and column_types must name the same columns; only in one of them: {', '.join(surplus)}.", key=key
        )
    return tuple(typed or columns)


def _where(item: Mapping[str, Any], *, key: str) -> Where | None:
    column = str(item.get("where_column") or "").strip()
    values = tuple(scalar_text(value) for value in item.get("where_values") or [])
    if bool(column) != bool(values):
        missing = "where_values" if column else "where_column"
        raise ConfigurationError(
            "where_column and where_values belong together: give both, or none.", key=f"{key}.{missing}"
        )
    return Where(column, values, Operator(item.get("where_operator") or "eq")) if column else None


def _changed_since(
    item: Mapping[str, Any], *, key: str, source: str, state: Mapping[str, Any], now: datetime
) -> datetime | None:
    days, since = int(item.get("days") or 0), item.get("changed_since")
    if since == "0":
        since = ""
    if days and since:
        raise ConfigurationError("Give days or changed_since, not both.", key=f"{key}.days")
    if days:
        return moment(f"-{days} days", now=now, key=f"{key}.days")
    if not since:
        return None
    if since != "adaptive":
        return moment(since, now=now, key=f"{key}.changed_since")
    known = state.get("storage", {}).get("input", {}).get("tables", [])
    dates = [entry["lastImportDate"] for entry in known if entry["source"] == source]
    return moment(dates[0], now=now, key=f"lastImportDate of {source} in the state") if dates else None


def table_states(loaded: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What the state remembers of every loaded table (IM-31)."""
    return [{"source": item["source"], "lastImportDate": item["last_import_date"]} for item in loaded]
