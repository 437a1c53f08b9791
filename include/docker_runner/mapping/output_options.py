"""Options of an output table: merging what the mapping says with what the manifest says (section 8.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.mapping.output_checks import conflicts, refuse_wrong_options
from docker_runner.storage.names import sanitize_column

Warn = Callable[[str], None]

# An option that still has its default in the mapping does not override the manifest (OM-30).
_DEFAULTS = {"incremental": False, "delete_where_operator": "eq", "delimiter": ",", "enclosure": '"'}

_LISTS = (
    "primary_key",
    "columns",
    "distribution_key",
    "delete_where_values",
    "delete_where",
    "metadata",
    "schema",
    "tags",
)
_MAPS = ("column_metadata", "table_metadata")


@dataclass(frozen=True)
class TableOptions:
    """The merged options of one load, and where each of them was written.

    Attributes:
        source: name of the table in ``out/tables``.
        key: path of the mapping in the configuration, e.g. ``storage.output.tables[0]``; empty without one.
        mapping: the mapping as written, with defaults; empty without one.
        manifest: the manifest as written; empty without one.
        values: the options that count.
    """

    source: str
    key: str
    mapping: Mapping[str, Any] = field(repr=False)
    manifest: Mapping[str, Any] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    def get(self, key: str, default: Any = None) -> Any:
        """An option, or the default when neither mapping nor manifest has it."""
        value = self.values.get(key)
        return default if value is None else value

    @property
    def manifest_file(self) -> str:
        """The manifest as errors name it."""
        return f"out/tables/{self.source}.manifest"

    @property
    def title(self) -> str:
        """The table as errors name it when the fault is in no option: its mapping, or the table itself."""
        return self.key or f"out/tables/{self.source}"

    def error(self, problem: str, key: str) -> ConfigurationError:
        """An error about an option, naming the place that must be changed.

        Args:
            problem: what is wrong and what would be right.
            key: path of the option, e.g. ``delete_where[0].changed_since``.
        """
        option = _root(key)
        in_mapping, in_manifest = (says_something(side.get(option)) for side in (self.mapping, self.manifest))
        if not in_mapping:
            return ConfigurationError(problem, file=self.manifest_file, key=key)
        # Schemas are merged column by column; every other option is the mapping's alone when the mapping has it.
        also = f" (merged with the {option} of {self.manifest_file})" if in_manifest and option == "schema" else ""
        return ConfigurationError(problem + also, key=f"{self.key}.{option if also else key}")


def merged_options(
    mapping: Mapping[str, Any],
    manifest: Mapping[str, Any],
    *,
    source: str,
    key: str = "",
    warn: Warn = lambda _: None,
) -> TableOptions:
    """Lay a mapping's options over a manifest's (OM-30..OM-37).

    Args:
        mapping: item of ``storage.output.tables`` with defaults filled in; empty when the table is not mapped.
        manifest: the table's manifest without defaults; empty when there is none.
        source: name of the table in ``out/tables``.
        key: path of the mapping in the configuration.
        warn: gets what is changed in names of columns.

    Raises:
        ConfigurationError: one of the two is wrong, or they contradict each other.
    """
    mapping, manifest = _with_empty_lists(mapping), _with_empty_lists(manifest)
    options = TableOptions(source, key, mapping, manifest, {})
    refuse_wrong_options(manifest, file=options.manifest_file)
    refuse_wrong_options(mapping, key=key)
    upper = sanitized(mapping, place=key, warn=warn)
    lower = sanitized(manifest, place=options.manifest_file, warn=warn)
    merged = TableOptions(source, key, mapping, manifest, _merged(upper, lower, options))
    _refuse_contradictions(merged)
    return merged


def _with_empty_lists(options: Mapping[str, Any]) -> dict[str, Any]:
    """Lists and maps that are null are empty ones (OM-12, OM-16)."""
    empty: dict[str, Any] = {**{key: [] for key in _LISTS}, **{key: {} for key in _MAPS}}
    return {key: empty.get(key) if value is None else value for key, value in options.items()}


def _merged(mapping: Mapping[str, Any], manifest: Mapping[str, Any], options: TableOptions) -> dict[str, Any]:
    merged = dict(manifest)
    for key, value in mapping.items():
        if key in _DEFAULTS:
            wins = key not in manifest or (says_something(value) and value != _DEFAULTS[key])
            merged[key] = value if wins else manifest[key]
        elif key == "metadata":
            merged[key] = _merged_metadata(manifest.get(key) or [], value)
        elif key == "column_metadata":
            merged[key] = _merged_column_metadata(manifest.get(key) or {}, value or {})
        elif key == "table_metadata":
            merged[key] = {**(manifest.get(key) or {}), **(value or {})}
        elif key == "schema":
            merged[key] = _merged_schema(manifest.get(key) or [], value)
        elif key not in manifest or says_something(value) or (key == "primary_key" and not manifest.get("schema")):
            # An empty key replaces the manifest's too (OM-32).
            merged[key] = value
    if manifest.get("schema") and mapping:
        # With a schema the key is said by its columns (OM-33).
        merged["schema"] = _with_key(merged["schema"], merged.pop("primary_key", []), options)
    return merged


def says_something(value: Any) -> bool:
    """Whether a value counts as given: not missing, empty, false or zero (OM-35)."""
    return bool(value) and value != "0"


def sanitized(options: Mapping[str, Any], *, place: str = "", warn: Warn = lambda _: None) -> dict[str, Any]:
    """Column names as Storage will know them (OM-36, OM-40).

    Args:
        options: a mapping or a manifest.
        place: where it is written, for the warnings.
        warn: gets a line for each name that is changed or left out.
    """

    def column(name: Any, key: str) -> str:
        written = scalar_text(name)
        clean = sanitize_column(written)
        # A table may name a column in several places; each change is told once.
        if clean != written and clean and (written, clean) not in told:
            told.add((written, clean))
            warn(f"{place}: {key}: the column {written!r} is stored as {clean!r}.")
        return clean

    told: set[tuple[str, str]] = set()
    clean = dict(options)
    if clean.get("columns"):
        # An empty name stays, for Storage to refuse: without it the other names would shift to wrong columns.
        clean["columns"] = [column(name, "columns") for name in clean["columns"]]
    if clean.get("column_metadata"):
        clean["column_metadata"] = {
            column(name, "column_metadata"): items for name, items in clean["column_metadata"].items()
        }
    if clean.get("schema"):
        clean["schema"] = [{**item, "name": column(item["name"], "schema")} for item in clean["schema"]]
    for key in ("primary_key", "distribution_key"):
        if clean.get(key):
            names = [column(name, key) if key == "primary_key" else scalar_text(name).strip() for name in clean[key]]
            if "" in names:
                warn(f"{place}: {key}: an empty column name is left out.")
            clean[key] = list(dict.fromkeys(name for name in names if name))
    return clean


def _with_key(schema: Sequence[Mapping[str, Any]], key: Sequence[str], options: TableOptions) -> list[dict[str, Any]]:
    names = [column["name"] for column in schema]
    missing = [name for name in key if name not in names]
    if missing:
        raise ConfigurationError(
            f"The schema in {options.manifest_file} has no column {', '.join(missing)}; its columns are: "
            f"{', '.join(names)}. Name columns of the schema here, or add the column there.",
            key=f"{options.key}.primary_key",
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


def _refuse_contradictions(options: TableOptions) -> None:
    """What mapping and manifest may not say together (OM-37); by itself each of them is sound."""
    for conflict in conflicts(options.values):
        if conflict.column:
            raise ConfigurationError(
                f"The column {conflict.column} gets a description here and another one in {options.manifest_file} "
                "(as description and as KBC.description of its metadata): remove one of the two.",
                key=f"{options.key}.schema",
            )
        first, second = conflict.first, conflict.second
        if not says_something(options.mapping.get(_root(second))):
            first, second = second, first
        raise ConfigurationError(
            f"This cannot be given together with {first} in {options.manifest_file}: change one of the two.",
            key=f"{options.key}.{second}",
        )


def _root(key: str) -> str:
    """The option that a path begins with."""
    return re.split(r"[.\[]", key, maxsplit=1)[0]
