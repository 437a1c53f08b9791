"""Delete rules of an output table, in their old and their new form (OM-55..OM-57)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.mapping.moments import moment
from docker_runner.mapping.output_options import TableOptions
from docker_runner.storage.base import DeleteWhere, Operator, Where


def delete_rules(options: TableOptions, *, now: datetime) -> Iterator[DeleteWhere]:
    """What is deleted before the load.

    Args:
        options: the table's options; a rule without meaning has been refused before.
        now: what relative times count from.

    Raises:
        ConfigurationError: a time cannot be understood; names where it is written.
    """
    if options.get("delete_where_column"):
        yield DeleteWhere(
            filters=(
                _filter(
                    options.get("delete_where_column"),
                    options.get("delete_where_values"),
                    options.get("delete_where_operator"),
                ),
            )
        )
    for index, rule in enumerate(options.get("delete_where", [])):
        times = {
            name: _moment(rule.get(name), options, key=f"delete_where[{index}].{name}", now=now)
            for name in ("changed_since", "changed_until")
        }
        filters = (
            _filter(item["column"], item["values_from_set"], item.get("operator"))
            for item in rule.get("where_filters") or []
        )
        yield DeleteWhere(filters=tuple(filters), **times)


def _filter(column: Any, values: Any, operator: Any) -> Where:
    return Where(scalar_text(column), tuple(scalar_text(value) for value in values), Operator(operator or "eq"))


def _moment(value: Any, options: TableOptions, *, key: str, now: datetime) -> datetime | None:
    if not value:
        return None
    try:
        return moment(value, now=now, key=key)
    except ConfigurationError as error:
        raise options.error(error.problem, key) from None
