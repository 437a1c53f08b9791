"""Options of an output table: merging what the mapping says with what the manifest says (section 8.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.storage.names import sanitize_column

# An option that still has its default in the mapping does not override the manifest (OM-30).
_DEFAULTS = {"incremental": False, "delete_where_operator": "eq", "delimiter": ",", "enclosure": '"'}


def merged_options(mapping: Mapping[str, Any], manifest: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Lay a mapping's options over a manifest's (OM-30..OM-37).

    Args:
        mapping: item of ``storage.output.tables`` with defaults filled in; empty when the table is not mapped.
        manifest: the table's manifest without defaults; empty when there is none.
        source: name of the table in ``out/tables``, for errors.

    Raises:
        ConfigurationError: the two contradict each other.
    """
    mapping, manifest = _sanitized(mapping), _sanitized(manifest)
    options = dict(manifest)
    for key, value in mapping.items():
        if key in _DEFAULTS:
            wins = key not in manifest or (value and value != _DEFAULTS[key])
            options[key] = value if wins else manifest[key]
        elif key == "primary_key" and not manifest.get("schema"):
            options[key] = value
        elif key == "primary_key":
            options["schema"] = _with_key(options["schema"], value, source=source)
        elif key == "metadata":
            options[key] = _merged_metadata(manifest.get(key) or [], value)
        elif key == "column_metadata":
            options[key] = _merged_column_metadata(manifest.get(key) or {}, value or {})
        elif key == "table_metadata":
            options[key] = {**(manifest.get(key) or {}), **(value or {})}
        elif key == "schema":
            options[key] = _merged_schema(options.get(key) or [], value)
        elif key not in manifest or value:
            options[key] = value
    _refuse_contradictions(options, source=source)
    return options


def _sanitized(options: Mapping[str, Any]) -> dict[str, Any]:
    """Column names as Storage will know them, in mapping and manifest alike (OM-36, OM-40)."""
    clean = dict(options)
    if "columns" in clean:
        # An empty name stays, for Storage to refuse: without it the other names would shift to wrong columns.
        clean["columns"] = [sanitize_column(scalar_text(name)) for name in clean["columns"]]
    if "primary_key" in clean:
        names = [sanitize_column(scalar_text(name)) for name in clean["primary_key"]]
        clean["primary_key"] = list(dict.fromkeys(name for name in names if name))
    if clean.get("column_metadata"):
        clean["column_metadata"] = {sanitize_column(name): items for name, items in clean["column_metadata"].items()}
    if clean.get("schema"):
        clean["schema"] = [{**column, "name": sanitize_column(column["name"])} for column in clean["schema"]]
    return clean


def _with_key(schema: Sequence[Mapping[str, Any]], key: Sequence[str], *, source: str) -> list[dict[str, Any]]:
    names = [column["name"] for column in schema]
    missing = [name for name in key if name not in names]
    if missing:
        raise ConfigurationError(
            f"The primary key names {', '.join(missing)}, but the manifest's schema has only: {', '.join(names)}.",
            file=f"out/tables/{source}.manifest",
            key="schema",
        )
    return [{**column, "primary_key": True} if column["name"] in key else dict(column) for column in schema]


def _merged_metadata(manifest: Sequence[Mapping[str, Any]], mapping: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Merged by key, the mapping wins, the manifest's order comes first (OM-31)."""
    merged = {item["key"]: item for item in manifest} | {item["key"]: item for item in mapping}
    return list(merged.values())


def _merged_column_metadata(manifest: Mapping[str, Any], mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _merged_metadata(manifest.get(name) or [], mapping.get(name) or [])
        for name in dict.fromkeys([*manifest, *mapping])
    }


def _merged_schema(manifest: Sequence[Mapping[str, Any]], mapping: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Merged by column name; ``data_type`` and ``metadata`` per key, the rest replaced (OM-34)."""
    merged = {column["name"]: dict(column) for column in manifest}
    for column in mapping:
        old = merged.get(column["name"], {})
        nested = {
            key: {**(old.get(key) or {}), **(column[key] or {})} for key in ("data_type", "metadata") if key in column
        }
        merged[column["name"]] = {**old, **column, **nested}
    return list(merged.values())


def _refuse_contradictions(options: Mapping[str, Any], *, source: str) -> None:
    """What neither mapping nor manifest may say, nor both together (OM-20a, OM-20b)."""

    def refuse(problem: str, key: str) -> None:
        raise ConfigurationError(f"{problem} (table {source}).", key=f"storage.output.tables: {key}")

    if options.get("schema"):
        for key in ("columns", "metadata", "column_metadata", "primary_key", "distribution_key"):
            if options.get(key):
                refuse(f"schema and {key} cannot both be given", key)
    if options.get("description") and (options.get("table_metadata") or {}).get("KBC.description"):
        refuse("the description is given twice", "table_metadata")
    for column in options.get("schema") or []:
        if column.get("description") and "KBC.description" in (column.get("metadata") or {}):
            refuse(f"the description of the column {column['name']} is given twice", "schema")
    if options.get("delete_where_column") and not options.get("delete_where_values"):
        refuse("delete_where_column needs delete_where_values", "delete_where_values")
    if options.get("delete_where_column") and options.get("delete_where"):
        refuse("delete_where_column and delete_where cannot both be given", "delete_where")
    named = (column["name"] for column in options.get("schema") or [])
    for name in [*(options.get("columns") or []), *(options.get("column_metadata") or {}), *named]:
        if name.lower() == "_timestamp":
            refuse("_timestamp is a column of Storage's own and cannot be written", "columns")
