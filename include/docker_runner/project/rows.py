"""Rows: which of them run, and what each one's effective configuration is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from docker_runner.documents import lines_shown
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.configuration import Configuration, Row

_LOG = logging.getLogger(__name__)


def merged(root: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a row's configuration over the root's: maps key by key, lists item by item, else the row wins (RW-3)."""
    return {
        **root,
        **{key: _merged_value(root[key], value) if key in root else value for key, value in row.items()},
    }


def _merged_value(root: Any, row: Any) -> Any:
    if isinstance(root, Mapping) and isinstance(row, Mapping):
        return merged(root, row)
    if isinstance(root, list) and isinstance(row, list):
        shared = [_merged_value(old, new) for old, new in zip(root, row, strict=False)]
        return shared + root[len(row) :] + row[len(root) :]
    # Empty maps and lists are the same to PHP, which wrote either; neither clears anything.
    if isinstance(root, Mapping | list) and row in ({}, []):
        return root
    return row


@lines_shown()
def effective_configurations(configuration: Configuration) -> list[tuple[Row | None, dict[str, Any]]]:
    """Every row with its effective configuration, in stored order; without rows the root alone (RW-1, RW-2).

    Raises:
        ConfigurationError: processors stand in the root and in a row (RW-5).
    """
    root = configuration.configuration
    if not configuration.rows:
        return [(None, root)]
    if _has_processors(root):
        for row in configuration.rows:
            if _has_processors(row.configuration):
                raise ConfigurationError(
                    "Processors may stand in the configuration or in its rows, not in both.",
                    file=row.file,
                    key="processors",
                )
    return [(row, merged(root, row.configuration)) for row in configuration.rows]


def _has_processors(configuration: Mapping[str, Any]) -> bool:
    processors = configuration.get("processors")
    return isinstance(processors, Mapping) and bool(processors.get("before") or processors.get("after"))


def selected_rows(configuration: Configuration, requested: Sequence[str]) -> list[str]:
    """Ids of the rows that a run executes, in stored order; ``[""]`` for a configuration without rows.

    Requested rows run even when they are disabled (LC-24, RW-6); without a request disabled rows are left out,
    which the log tells (RW-7).

    Raises:
        NotFoundError: none of the requested rows exists (LC-20).
    """
    if requested:
        found = [row.id for row in configuration.rows if row.id in requested]
        if not found:
            known = ", ".join(row.id for row in configuration.rows) or "none, the configuration has no rows"
            raise NotFoundError(
                f"None of the rows {', '.join(requested)} exists in {configuration.component_id}/{configuration.id}; "
                f"its rows are: {known}."
            )
        return found
    if not configuration.rows:
        return [""]
    for row in configuration.rows:
        if row.is_disabled:
            _LOG.info("The row %s is disabled and left out.", row.id)
    return [row.id for row in configuration.rows if not row.is_disabled]
