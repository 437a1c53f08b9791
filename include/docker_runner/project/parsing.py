"""The parsed form of a configuration: checked, with defaults, as components see it (CF-33..CF-36)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, falsy
from docker_runner.schemas import load_schema, with_defaults

# What means the same as nothing and is taken away (CF-35).
_REMOVED_WHEN_EMPTY: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("input", "tables"): ("file_type",),
    ("input", "files"): ("tags", "query", "processed_tags", "file_ids"),
    ("output", "tables"): ("delete_where",),
}
_BACKEND_KEYS = ("type", "context", "workspace_credentials")


def parsed_configuration(content: Mapping[str, Any], *, file: Path | str | None = None) -> dict[str, Any]:
    """Check a whole configuration and give its parsed form.

    Args:
        content: merged, with its placeholders replaced.
        file: what an error names as the file.

    Raises:
        ConfigurationError: the first thing that is wrong.
    """
    checked(content, "configuration", file=file)
    return completed(content)


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The parsed form of a configuration that has been checked: with defaults, without what means nothing (CF-35)."""
    parsed: dict[str, Any] = with_defaults(content, load_schema("configuration"))
    storage = parsed.get("storage") or {}
    for (direction, kind), keys in _REMOVED_WHEN_EMPTY.items():
        for item in (storage.get(direction) or {}).get(kind) or []:
            for key in keys:
                if key in item and falsy(item[key]):
                    del item[key]
    for item in (storage.get("input") or {}).get("tables") or []:
        _parse_input_table(item)
    backend = (parsed.get("runtime") or {}).get("backend")
    if backend:
        parsed["runtime"]["backend"] = {key: value for key, value in backend.items() if key in _BACKEND_KEYS}
    return parsed


def _parse_input_table(item: dict[str, Any]) -> None:
    """Write an input table's options in their present form (IM-4, IM-5, IM-6, IM-10, IM-13)."""
    for key, nothing in (("columns", []), ("column_types", []), ("where_values", []), ("changed_since", "")):
        if key in item and item[key] is None:
            item[key] = nothing
    if "days" in item:
        days = str(item["days"] or 0)
        # A placeholder that is kept stays one.
        item["days"] = int(days) if days.isdecimal() else item["days"]
    item["where_operator"] = item["where_operator"] or "eq"
    use_view = item.pop("use_view", False)
    load_type = item.pop("load_type", None) or ("VIEW" if use_view else "")
    if load_type:
        item["load_type"] = load_type.upper()
