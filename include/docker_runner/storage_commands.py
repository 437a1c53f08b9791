"""``docker-runner storage …``: look into the Storage, bring tables and files in and take them out."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from docker_runner import storage_event_commands, storage_time_commands, storage_token_commands
from docker_runner.errors import UserError
from docker_runner.mapping.moments import moment
from docker_runner.settings import MOST_KEEP_DAYS, Settings
from docker_runner.storage import open_storage
from docker_runner.storage.base import (
    ColumnType,
    Commit,
    FileQuery,
    FileUpload,
    MetadataItem,
    Storage,
    StoredFile,
    Table,
    TableLoad,
    Where,
)
from docker_runner.terminal_text import printable

app = typer.Typer(help="Look into the Storage, bring tables and files in and take them out.", no_args_is_help=True)
app.add_typer(storage_token_commands.app, name="token")
app.command("events")(storage_event_commands.list_events)
app.command("history")(storage_time_commands.show_history)
app.command("restore")(storage_time_commands.restore_table)
app.command("sql")(storage_time_commands.run_sql)

_MAX_SHOWN_CHARACTERS = 60
_WIDTH_OF_A_PIPE = 400


@app.command("import")
def import_table(
    table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders")],
    source: Annotated[Path, typer.Argument(metavar="CSV", help="CSV file with a header, plain or gzip")],
    primary_key: Annotated[str | None, typer.Option(help="columns, separated by commas")] = None,
    incremental: Annotated[bool, typer.Option("--incremental", help="add and update rows, keep the others")] = False,
    delimiter: Annotated[str, typer.Option(help=r"one character; \t is a tab")] = ",",
    enclosure: Annotated[str, typer.Option(help="one character; empty when fields are not enclosed")] = '"',
) -> None:
    """Load a CSV file into a table."""
    load = TableLoad(
        table_id=table,
        source=source.resolve(),
        primary_key=None if primary_key is None else _split(primary_key),
        incremental=incremental,
        delimiter=delimiter.replace(r"\t", "\t"),
        enclosure=enclosure,
    )
    with closing(_open()) as storage:
        (loaded,) = storage.commit(Commit(key=f"import-{uuid.uuid4().hex}", tables=(load,))).tables
    for warning in loaded.warnings:
        print(f"Warning: {printable(warning)}", file=sys.stderr)
    print(f"{loaded.table_id}: {loaded.rows} rows loaded, {loaded.table_rows} rows in the table.")


@app.command("export")
def export_table(
    table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders")],
    target: Annotated[Path | None, typer.Argument(metavar="FILE", help="file to write; stdout by default")] = None,
    columns: Annotated[str, typer.Option(help="columns, separated by commas; all by default")] = "",
    where: Annotated[str, typer.Option(help="column=value,value: rows whose column has one of the values")] = "",
    changed_since: Annotated[str, typer.Option(help="only rows changed since, e.g. '-2 days' or 2026-01-31")] = "",
    limit: Annotated[int | None, typer.Option(min=0, help="at most so many rows")] = None,
    file_type: Annotated[str, typer.Option(help="csv or parquet")] = "csv",
    at: Annotated[str, typer.Option(help="as the table was at this time, e.g. '-2 hours'; see 'storage history'")] = "",
) -> None:
    """Write a table as CSV or Parquet."""
    since = moment(changed_since, now=datetime.now(UTC), key="--changed-since") if changed_since else None
    with tempfile.TemporaryDirectory() as folder:
        # What the shell has opened as standard output is written to as that, whatever name it is given.
        file = Path(folder, "table.csv") if target is None or _is_standard_output(target) else target
        wanted: dict[str, Any] = {
            "columns": _split(columns),
            "where": _where(where),
            "changed_since": since,
            "limit": limit,
            "file_type": file_type,
        }
        if at:
            storage_token_commands.refuse_unless_reader(table)
            with storage_time_commands.open_lake() as lake:
                exported = lake.export_table(table, file, at=storage_time_commands.point_in_time(at, None), **wanted)
        else:
            with closing(_open()) as storage:
                exported = storage.export_table(table, file, **wanted)
        if file == target:
            print(f"{table}: {exported.rows} rows written to {target}.")
            return
        with file.open("rb") as written:
            shutil.copyfileobj(written, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@app.command("list")
def list_tables(bucket: Annotated[str | None, typer.Argument(help="bucket id, e.g. in.c-main")] = None) -> None:
    """List tables with their rows, sizes and last imports."""
    with closing(_open()) as storage:
        tables = storage.tables(bucket)
        buckets = [found.id for found in storage.buckets()]
    if bucket is not None and bucket not in buckets:
        raise UserError(f"There is no bucket {bucket} in Storage. There are: {', '.join(buckets) or 'none yet'}.")
    if not tables:
        print("There are no tables yet.")
        return
    print_table(
        ("table", "rows", "bytes", "primary key", "last import"),
        ((t.id, str(t.rows), str(t.bytes), ", ".join(t.primary_key), _moment(t.last_import_date)) for t in tables),
    )


@app.command("show")
def show_table(
    table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders")],
    rows: Annotated[int, typer.Option(min=0, help="rows to show")] = 10,
) -> None:
    """Show what Storage knows of a table, and some of its rows."""
    with closing(_open()) as storage:
        print_table(("", ""), _details(storage.table(table)), header_shown=False)
        if rows:
            print_preview(storage, table, rows=rows)


def print_preview(storage: Storage, table: str, *, rows: int) -> None:
    """Print some rows of a table.

    Args:
        storage: where the table is.
        table: its id.
        rows: how many rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        preview = Path(folder, "preview.csv")
        storage.export_table(table, preview, limit=rows)
        csv.field_size_limit(sys.maxsize)
        with preview.open(encoding="utf-8", newline="") as file:
            header, *records = csv.reader(file)
    print_table(header, (map(shortened, record) for record in records), overflow="ellipsis")


@app.command("upload")
def upload_file(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="file, or folder whose files become slices of one")],
    tag: Annotated[list[str] | None, typer.Option(help="tag of the file; may be given several times")] = None,
    name: Annotated[str, typer.Option(help="name that Storage shows; by default that of the file")] = "",
    permanent: Annotated[bool, typer.Option("--permanent", help="never remove it")] = False,
) -> None:
    """Store a file, or a folder as a sliced file."""
    source = source.resolve()
    upload = FileUpload(source, name or source.name, tags=tuple(tag or ()), is_permanent=permanent)
    with closing(_open()) as storage:
        (file,) = storage.commit(Commit(key=f"upload-{uuid.uuid4().hex}", files=(upload,))).files
    print(f"Stored {printable(file.name)} as file {file.id}, {file.size_bytes} bytes, {_age(file)}.")


@app.command("files")
def list_files(
    tag: Annotated[list[str] | None, typer.Option(help="only files with this tag; may be given several times")] = None,
    query: Annotated[str, typer.Option(help="full-text query, e.g. 'name:*.zip AND created:>now-1d'")] = "",
    limit: Annotated[int, typer.Option(min=0, help="at most so many files")] = 100,
) -> None:
    """List stored files, newest first."""
    with closing(_open()) as storage:
        found = storage.files(FileQuery(tags=tuple(tag or ()), query=query, limit=limit))
    if not found:
        print("There are no such files." if tag or query else "There are no files yet.")
        return
    print_table(
        ("id", "name", "bytes", "tags", "stored", ""),
        ((str(f.id), f.name, str(f.size_bytes), ", ".join(f.tags), _moment(f.created), _age(f)) for f in found),
    )


@app.command("download")
def download_file(
    file_id: Annotated[int, typer.Argument(metavar="ID", help="id of the file, see 'storage files'")],
    target: Annotated[
        Path, typer.Argument(help="file to write, or folder to put it into; a sliced file becomes a new folder")
    ],
) -> None:
    """Write a stored file."""
    with closing(_open()) as storage:
        found = storage.files(FileQuery(ids=(file_id,), limit=1))
        if target.is_dir() and found and not found[0].is_sliced:
            target /= found[0].name
        file = storage.download_file(file_id, target)
    print(f"{printable(file.name)}: {file.size_bytes} bytes written to {target}.")


@app.command("drop")
def drop_table(table: Annotated[str, typer.Argument(help="table id, e.g. in.c-main.orders")]) -> None:
    """Remove a table; 'storage restore' brings it back for some days."""
    with closing(_open()) as storage:
        storage.drop_table(table)
    print(f"Dropped {table}.")


@app.command("delete-file")
def delete_file(
    file_id: Annotated[int, typer.Argument(metavar="ID", help="id of the file, see 'storage files'")],
) -> None:
    """Remove a stored file for good."""
    storage_token_commands.refuse_unless_manager("delete files")
    with storage_time_commands.open_lake() as lake:
        file = lake.delete_file(file_id)
    print(f"Deleted {printable(file.name)}, file {file.id}.")


@app.command("maintain")
def maintain_storage(
    keep_days: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_KEEP_DAYS, help="days for which earlier states are kept; by default as set, or 7"),
    ] = None,
) -> None:
    """Merge small files and remove what is not needed any more; run it about once a day."""
    storage_token_commands.refuse_unless_manager("maintain the Storage")
    print(maintain_lake(keep_days=keep_days))


def maintain_lake(*, keep_days: int | None = None) -> str:
    """Maintain the Storage of this installation; gives what people read of it.

    Args:
        keep_days: days for which earlier states of tables are kept; None is what the installation has set.
    """
    from docker_runner.storage.lake.maintenance import as_text

    days = Settings.from_environment().storage_keep_days if keep_days is None else keep_days
    with storage_time_commands.open_lake() as lake:
        return as_text(lake.maintain(timedelta(days=days)))


def _open() -> Storage:
    settings = Settings.from_environment()
    return open_storage(settings.storage, token=settings.storage_token)


def _is_standard_output(target: Path) -> bool:
    try:
        return os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno()))
    except OSError:
        return False  # nothing is there yet, or nobody sees what is printed


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _where(text: str) -> Where | None:
    if not text:
        return None
    column, equals, values = text.partition("=")
    if not equals or not column:
        raise UserError(f"--where must be column=value or column=value,value, not {text!r}.")
    return Where(column.strip(), tuple(values.split(",")))


def _age(file: StoredFile) -> str:
    days = file.max_age_days
    return f"kept for {days} days" if days is not None else "kept"


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def shortened(text: str) -> str:
    """A text that fits into a table."""
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[: _MAX_SHOWN_CHARACTERS - 1] + "…"


def _details(table: Table) -> Iterable[tuple[str, str]]:
    yield "table", table.id
    yield "columns", ", ".join(_column(name, table.types.get(name)) for name in table.columns)
    yield "primary key", ", ".join(table.primary_key) or "none"
    yield "rows", str(table.rows)
    yield "bytes", str(table.bytes)
    yield "created", _moment(table.created)
    yield "last import", _moment(table.last_import_date)
    yield "last change", _moment(table.last_change_date)
    yield from (("metadata", _entry(item)) for item in table.metadata)
    for column, items in table.column_metadata.items():
        yield from ((f"metadata of {column}", _entry(item)) for item in items)


def _column(name: str, kind: ColumnType | None) -> str:
    if kind is None:
        return name
    length = f"({kind.length})" if kind.length else ""
    return f"{name} {kind.base.value}{length}{'' if kind.nullable else ' NOT NULL'}"


def _entry(item: MetadataItem) -> str:
    return f"{item.key} = {shortened(item.value)} ({item.provider})"


def print_table(
    header: Iterable[str],
    records: Iterable[Iterable[str]],
    *,
    header_shown: bool = True,
    overflow: Literal["fold", "ellipsis"] = "fold",
) -> None:
    """Print records as a table; on a terminal it is as wide as that.

    Args:
        header: names of the columns.
        records: the lines.
        header_shown: whether the names are printed.
        overflow: what becomes of texts that are too long.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = (Column(Text(printable(name)), overflow=overflow, no_wrap=overflow == "ellipsis") for name in header)
    shown = RichTable(*columns, show_header=header_shown, box=SIMPLE_HEAD, pad_edge=False)
    for record in records:
        # Text: what stands in square brackets is data here, not markup.
        shown.add_row(*(Text(printable(value)) for value in record))
    console = Console()
    # A file or a pipe has no edge where lines would have to end.
    (console if console.is_terminal else Console(width=_WIDTH_OF_A_PIPE)).print(shown)
