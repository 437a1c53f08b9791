"""Pieces of SQL text that cannot be given as parameters: names, lists and options."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from docker_runner.storage.names import split_table_id

LAKE = "lake"
"""Name under which the DuckLake catalogue is attached."""

CATALOG = f"__ducklake_metadata_{LAKE}"
"""Name under which DuckLake has attached the catalogue's own tables."""

LARGEST_INTEGER = 2**63 - 1
"""The largest whole number that databases count with."""


def name(identifier: str) -> str:
    """An identifier, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def names(identifiers: Iterable[str], prefix: str = "") -> str:
    """Identifiers, quoted and separated by commas; ``prefix`` is put before each, e.g. ``t.``."""
    return ", ".join(prefix + name(identifier) for identifier in identifiers)


def text(value: str) -> str:
    """A text literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Text literals separated by commas."""
    return ", ".join(text(value) for value in values)


def time(moment: datetime) -> str:
    """A time literal; ``moment`` must be aware."""
    return moment.astimezone(UTC).strftime("TIMESTAMPTZ '%Y-%m-%d %H:%M:%S.%f+00'")


def limit(rows: int) -> str:
    """At most so many rows, from 0; more than any database can count are all."""
    return f"LIMIT {min(rows, LARGEST_INTEGER)}"


def table(table_id: str) -> str:
    """The full name of a table of Storage; buckets are schemas of the lake."""
    bucket, table_name = split_table_id(table_id)
    return f"{LAKE}.{name(bucket)}.{name(table_name)}"
