"""Tables on their way through a processor: read row by row, written back in the same form.

A processor must copy whatever it does not change from ``in`` to ``out``: what it leaves behind is lost for the images
after it. A table is a CSV file with a header, a CSV file without one (its manifest names the columns), or a folder of
slices without headers, which may be gzip-compressed.
"""

import csv
import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from keboola.component import UserException

MANIFEST = ".manifest"
# A field may hold a whole document; the csv module's own limit is 128 kB.
csv.field_size_limit(2**31 - 1)

Row = Sequence[str]
# From the table's columns and one row to the row to write, or to None for a row to leave out.
Change = Callable[[Row], Row | None]


@dataclass(frozen=True)
class Table:
    """One table of ``in/tables``.

    Attributes:
        path: its file, or its folder of slices.
        manifest: content of its manifest; empty without one.
        columns: names of its columns in the order of its fields.
        has_header: the first line of its file is the header.
    """

    path: Path
    manifest: dict[str, Any]
    columns: tuple[str, ...]
    has_header: bool

    @property
    def name(self) -> str:
        """The name of its file or folder."""
        return self.path.name

    @property
    def format(self) -> dict[str, Any]:
        """How its CSV is written, as arguments of the csv module."""
        enclosure = self.manifest.get("enclosure", '"')
        quoting = {"quotechar": enclosure} if enclosure else {"quoting": csv.QUOTE_NONE}
        return {"delimiter": self.manifest.get("delimiter") or ",", "lineterminator": "\n", **quoting}

    def position(self, column: str) -> int:
        """Where a column's field stands in each row; a UserException names the columns that there are."""
        if column not in self.columns:
            raise UserException(f"Table {self.name} has no column {column!r}; it has {', '.join(self.columns)}.")
        return self.columns.index(column)


def read_tables(tables: Path) -> Iterator[Table]:
    """The tables of a folder ``in/tables``, by name."""
    for path in sorted(tables.iterdir()):
        if not path.name.endswith(MANIFEST):
            yield _read_table(path)


def copy_unchanged(data: Path) -> None:
    """Copy all files and all manifests of tables from ``in`` to ``out``."""
    shutil.copytree(data / "in/files", data / "out/files", dirs_exist_ok=True)
    for manifest in (data / "in/tables").glob(f"*{MANIFEST}"):
        shutil.copy2(manifest, data / "out/tables")


def rewrite(table: Table, target: Path, *, columns: Row, change: Change) -> tuple[int, int]:
    """Write a table with each row changed.

    Args:
        table: the table to read.
        target: the folder ``out/tables``.
        columns: names of the columns to write, for the header.
        change: what becomes of a row.

    Returns:
        How many rows were read and written.
    """
    if table.path.is_file():
        return _rewrite_file(table, table.path, target / table.name, columns=columns, change=change)
    (target / table.name).mkdir(exist_ok=True)
    read = written = 0
    for part in sorted(table.path.iterdir()):
        done = _rewrite_file(table, part, target / table.name / part.name, columns=columns, change=change)
        read, written = read + done[0], written + done[1]
    return read, written


def write_manifest(table: Table, target: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a table into the folder ``out/tables``."""
    (target / f"{table.name}{MANIFEST}").write_text(json.dumps(manifest, indent=4), encoding="utf-8")


def _read_table(path: Path) -> Table:
    manifest_file = path.with_name(path.name + MANIFEST)
    manifest = json.loads(manifest_file.read_text(encoding="utf-8")) if manifest_file.exists() else {}
    named = [column["name"] for column in manifest.get("schema") or []] or list(manifest.get("columns") or [])
    # Input manifests have an id, and name the columns although the file has a header.
    has_header = path.is_file() and bool(manifest.get("id") or manifest.get("has_header") or not named)
    table = Table(path=path, manifest=manifest, columns=tuple(named), has_header=has_header)
    if not has_header and not named:
        raise UserException(f"Table {path.name} is sliced, but its manifest does not name its columns.")
    if not has_header:
        return table
    with _opened(path) as file:
        header = next(csv.reader(file, **table.format), None)
    if header is None:
        raise UserException(f"Table {path.name} is empty: it lacks a header.")
    return Table(path=path, manifest=manifest, columns=tuple(header), has_header=True)


def _rewrite_file(table: Table, source: Path, target: Path, *, columns: Row, change: Change) -> tuple[int, int]:
    read = written = 0
    with _opened(source) as file, _opened(target, "wt", compressed=_is_gzip(source)) as output:
        reader, writer = csv.reader(file, **table.format), csv.writer(output, **table.format)
        if table.has_header:
            next(reader)
            writer.writerow(columns)
        for read, row in enumerate(reader, start=1):
            if len(row) != len(table.columns):
                raise UserException(f"{table.name}, row {read}: {len(row)} fields instead of {len(table.columns)}.")
            changed = change(row)
            if changed is not None:
                writer.writerow(changed)
                written += 1
    return read, written


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _opened(path: Path, mode: str = "rt", *, compressed: bool | None = None) -> IO[str]:
    if _is_gzip(path) if compressed is None else compressed:
        return gzip.open(path, mode, encoding="utf-8", newline="")  # type: ignore[return-value]
    return path.open(mode, encoding="utf-8", newline="")
