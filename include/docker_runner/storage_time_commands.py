"""``docker-runner storage history``, ``restore`` and ``sql``: earlier states of tables, and anyone's questions."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from docker_runner import storage_token_commands
from docker_runner.errors import UserError
from docker_runner.mapping.moments import moment
from docker_runner.settings import Settings

if TYPE_CHECKING:
    from docker_runner.storage.lake.lake import Lake
    from docker_runner.storage.lake.location import Location


def location() -> Location:
    """Where the embedded Storage of this installation is, for what only it can do."""
    from docker_runner.storage.lake.location import parse_location

    return parse_location(Settings.from_environment().storage)


def open_lake() -> Lake:
    """The embedded Storage of this installation, with all rights."""
    from docker_runner.storage.lake.lake import Lake

    return Lake(location())


def point_in_time(at: str, snapshot: int | None) -> datetime | int:
    """The state that options name.

    Raises:
        UserError: none is named, or two.
    """
    if bool(at) == (snapshot is not None):
        raise UserError("Say either --at with a time, e.g. '-2 hours' or '2026-01-31 10:00', or --snapshot.")
    return moment(at, now=datetime.now(UTC), key="--at") if snapshot is None else snapshot


def show_history(
    table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders; also of a dropped table")],
    limit: Annotated[int, typer.Option(min=1, help="at most so many changes, the newest")] = 20,
) -> None:
    """Show what changed a table, since earlier states are kept."""
    from docker_runner.storage_commands import print_table

    storage_token_commands.refuse_unless_reader(table)
    with open_lake() as lake:
        changes = lake.history(table)
    print_table(
        ("snapshot", "time", "what", "rows", "more", "by"),
        (
            (
                str(change.snapshot),
                f"{change.time:%Y-%m-%d %H:%M:%S} UTC",
                "; ".join(change.what),
                "" if change.rows is None else str(change.rows),
                "" if change.more is None else f"{change.more:+d}",
                change.by,
            )
            for change in changes[:limit]
        ),
    )
    if len(changes) > limit:
        print(f"{len(changes) - limit} earlier changes are not shown; --limit shows more.")


def restore_table(
    table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders; also of a dropped table")],
    at: Annotated[str, typer.Option(help="time in UTC, e.g. '-2 hours' or '2026-01-31 10:00'")] = "",
    snapshot: Annotated[int | None, typer.Option(help="number of a snapshot, see 'storage history'")] = None,
    new_table: Annotated[str, typer.Option("--as", help="put it into this new table instead, to look first")] = "",
) -> None:
    """Put rows, columns, key and metadata of an earlier state of a table back."""
    storage_token_commands.refuse_unless_manager("restore tables")
    with open_lake() as lake:
        restored = lake.restore(table, point_in_time(at, snapshot), new_id=new_table)
    print(f"{restored.id}: {restored.rows} rows as {table} had them then.")


def run_sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="""e.g. 'select * from "in.c-main".orders'""")],
    as_csv: Annotated[bool, typer.Option("--csv", help="print all rows as CSV, NULL as an empty field")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print all rows, each as a JSON object in a line")] = False,
    rows: Annotated[int, typer.Option(min=1, help="at most so many rows in a table for people")] = 100,
) -> None:
    """Ask the Storage anything in SQL (DuckDB's); it cannot change anything. Buckets are schemas."""
    from docker_runner.storage.lake.query import query

    if as_csv and as_json:
        raise UserError("Say either --csv or --json.")
    storage_token_commands.refuse_unless_manager("ask anything in SQL")
    with query(location(), statement, as_json=as_json) as result:
        if as_json:
            for (line,) in result.rows:
                print(line)
        elif as_csv:
            _write_csv(result.columns, result.rows)
        else:
            _print_rows(result.columns, result.rows, rows)


def _write_csv(columns: Iterable[str], rows: Iterable[tuple[str | None, ...]]) -> None:
    writer = csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _print_rows(columns: tuple[str, ...], rows: Iterable[tuple[str | None, ...]], most: int) -> None:
    from docker_runner.storage_commands import print_table, shortened

    found = list(islice(rows, min(most + 1, sys.maxsize)))
    shown = ([shortened("NULL" if value is None else value) for value in row] for row in found[:most])
    print_table(columns, shown, overflow="ellipsis")
    if len(found) > most:
        print(f"The first {most} rows; there are more. --rows shows more of them, --csv and --json all.")
    else:
        print(f"{len(found)} rows.")
