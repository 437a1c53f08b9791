"""Anyone's SQL on a lake, which can change nothing and reach nothing else.

Four things see to it, each alone enough for most of it: only one SELECT is taken, and only functions in it that read
the lake or make rows of nothing; the lake is attached read-only; DuckDB may open no file but the lake's own; and none
of this can be switched off again, because the settings are locked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.connection import open_read_only
from docker_runner.storage.lake.location import Location

if TYPE_CHECKING:
    import duckdb

_ROWS_AT_ONCE = 1000
_TEXTS_AND_NO_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:nan|infinity|inf)', re.IGNORECASE)
_OF_THE_LAKE = ("snapshots", "table_info", "current_snapshot", "table_changes", "table_insertions", "table_deletions")
_TABLE_FUNCTIONS = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "summary", "pragma_table_info"),
    *_OF_THE_LAKE,
    *(f"ducklake_{name}" for name in _OF_THE_LAKE),
    *(f"duckdb_{name}" for name in ("tables", "columns", "schemas", "views", "functions", "types")),
}


@dataclass(frozen=True)
class Result:
    """The rows of a query, which come while they are read; NULL is None, everything else a text."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[str | None, ...]]


@contextmanager
def query(location: Location, statement: str, *, as_json: bool = False) -> Iterator[Result]:
    """Run a SELECT on the lake as it is now; buckets are schemas, e.g. ``"in.c-main".orders``.

    Args:
        location: the lake.
        statement: one SELECT.
        as_json: give each row as one text, a JSON object; NaN and infinity, which JSON does not have, are null.

    Raises:
        UserError: the statement is wrong, in DuckDB's words, or does something else than to read the lake.
    """
    with open_read_only(location) as (connection, readable, spill):
        _close_up(connection, readable, spill)
        with _user_errors():
            text = _checked(connection, statement)
            columns = tuple(connection.sql(text).columns)
            shown = f"to_json(q) FROM ({text}\n) AS q" if as_json else f"COLUMNS(*)::VARCHAR FROM ({text}\n)"
            connection.execute(f"SELECT {shown}")
        rows = _rows(connection)
        yield Result(columns, ((_valid_json(str(line)),) for (line,) in rows) if as_json else rows)


def _valid_json(line: str) -> str:
    """DuckDB's JSON with null for what JSON has no number for, NaN and infinity."""
    return _TEXTS_AND_NO_NUMBERS.sub(lambda match: match[0] if match[0].startswith('"') else "null", line)


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str | None, ...]]:
    with _user_errors():
        while rows := connection.fetchmany(_ROWS_AT_ONCE):
            yield from rows


def _close_up(connection: duckdb.DuckDBPyConnection, location: Location, spill: Path) -> None:
    """Leave only the lake to read."""
    folders = [location.tables, str(spill)]
    own = location.catalog_files()
    connection.execute(f"USE {sql.LAKE}")
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(f"SET allowed_directories = [{sql.texts(folders)}]")
    connection.execute(f"SET allowed_paths = [{sql.texts(own)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _checked(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    """The statement without what ends it.

    Raises:
        UserError: it is not one SELECT, or calls what it must not.
    """
    import duckdb

    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UserError("Storage takes one SELECT at a time here, and nothing that writes: nothing was done.")
    ((text,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()
    tree = json.loads(text)
    if tree.get("error"):
        raise UserError(f"This statement is not taken here: {tree.get('error_message', 'it is no plain SELECT')}.")
    refused = sorted(set(_table_functions(tree)) - _TABLE_FUNCTIONS)
    if refused:
        raise UserError(
            f"The table function {', '.join(refused)} is not taken here: it may reach more than the tables of Storage."
        )
    return statement.strip().rstrip(";").rstrip()


def _table_functions(node: Any) -> Iterator[str]:
    """Names of the table functions in a parsed statement, wherever they stand."""
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield str(node["function"].get("function_name", "")).lower()
        for value in node.values():
            yield from _table_functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_functions(value)


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn what DuckDB says of a query into errors of the user's."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StorageError(f"The query needs more memory than DOCKER_RUNNER_STORAGE_MEMORY allows. {error}") from error
    except duckdb.Error as error:
        raise UserError(str(error)) from None
