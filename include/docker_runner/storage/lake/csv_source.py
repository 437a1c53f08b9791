"""A CSV as a component left it: its files, its dialect and its header (OM-70, OM-71, OM-73, OM-77)."""

from __future__ import annotations

import csv
import gzip
import io
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from docker_runner.errors import UserError
from docker_runner.storage.base import TableLoad
from docker_runner.storage.names import sanitize_header

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Dialect:
    """How fields are separated and enclosed; an empty enclosure means that no field is (OM-77)."""

    delimiter: str
    enclosure: str

    def reader(self, lines: Iterable[str]) -> CsvReader:
        """Python's reader of this dialect, for headers and for finding errors."""
        csv.field_size_limit(sys.maxsize)
        if not self.enclosure:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.enclosure, strict=True)


@dataclass(frozen=True)
class CsvFile:
    """One file: plain or gzip, with the line end of its first record."""

    path: Path
    gzipped: bool
    newline: str

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes, decompressed.

        Raises:
            UserError: the compression is broken.
        """
        with open_plain(self.path, gzipped=self.gzipped) as file:
            yield file


@dataclass(frozen=True)
class CsvSource:
    """What a load reads: files in slice order, all with the same columns.

    Attributes:
        columns: the columns' names in Storage, in file order.
        header: each file starts with a record that is not data.
        warnings: names that were changed.
    """

    files: tuple[CsvFile, ...]
    dialect: Dialect
    columns: tuple[str, ...]
    header: bool
    warnings: tuple[str, ...] = ()

    def with_files(self, files: tuple[CsvFile, ...], *, dialect: Dialect) -> CsvSource:
        """The same data, written anew without header."""
        return replace(self, files=files, dialect=dialect, header=False)


@contextmanager
def open_plain(path: Path, *, gzipped: bool) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressing it on the way.

    Raises:
        UserError: the compression is broken.
    """
    try:
        with cast(BinaryIO, gzip.open(path)) if gzipped else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path.name} is a damaged gzip file: {error}.") from error


def open_source(load: TableLoad) -> CsvSource:
    """Look at the CSV of a load without reading its rows.

    Raises:
        UserError: it is no regular file or folder of such, has no header or an unusable one, or the dialect is wrong.
    """
    dialect = _dialect(load)
    paths = source_files(load.source)
    sliced = load.source.is_dir()
    if sliced and not load.columns:
        raise UserError(f"{load.source.name} is a folder of slices: these have no header, so 'columns' must be given.")
    first_records = [_first_record(path, dialect) for path in paths]
    files = tuple(file for file, _ in first_records)
    if load.columns:
        columns, warnings = sanitize_header(load.columns)
        return CsvSource(files, dialect, columns, load.has_header and not sliced, warnings)
    (_, header), *_ = first_records
    if not header:
        raise UserError(f"{load.source.name} has no data: it needs at least a header line with the columns.")
    columns, warnings = sanitize_header(header)
    return CsvSource(files, dialect, columns, True, warnings)


def source_files(source: Path) -> list[Path]:
    """The regular files of a source: itself, or those in the folder, by name.

    Links and devices are refused: a component could point them at files of the host.

    Raises:
        UserError: the source does not exist, or something in it is no regular file.
    """
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError:
        raise UserError(f"{source.name} does not exist.") from None
    if not stat.S_ISDIR(mode):
        return [_regular(source, mode)]
    return [_regular(path, path.lstat().st_mode, within=source) for path in sorted(source.iterdir())]


def _regular(path: Path, mode: int, within: Path | None = None) -> Path:
    if stat.S_ISREG(mode):
        return path
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"))
    kind = next((text for test, text in kinds if test(mode)), "a device or socket")
    shown = path.relative_to(within.parent) if within else Path(path.name)
    raise UserError(f"{shown} is {kind}. Only regular files are read.")


def _dialect(load: TableLoad) -> Dialect:
    for option, value in (("delimiter", load.delimiter), ("enclosure", load.enclosure)):
        if len(value) > 1 or not value.isascii() or value in ("\n", "\r", "\0"):
            raise UserError(f"The {option} must be one ASCII character, not {value!r}.")
    if not load.delimiter or load.delimiter == load.enclosure:
        raise UserError("The delimiter must be one character, and another one than the enclosure.")
    return Dialect(load.delimiter, load.enclosure)


def _first_record(path: Path, dialect: Dialect) -> tuple[CsvFile, tuple[str, ...]]:
    """The file with its line end, and its first record; an empty one when the file is empty."""
    with path.open("rb") as file:
        gzipped = file.read(2) == _GZIP_MAGIC
    lines = [""]

    def remember(text: io.TextIOWrapper) -> Iterator[str]:
        for line in text:
            lines[0] = line
            yield line

    with open_plain(path, gzipped=gzipped) as raw:
        # What is not UTF-8 behind the first record is reported with its line when the rows are read.
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            record: list[str] = next(dialect.reader(remember(text)), [])
        except csv.Error as error:
            raise UserError(f"{path.name}, line 1: the quoting is broken ({error}).") from None
    wrong = next((character for field in record for character in field if "\udc80" <= character <= "\udcff"), "")
    if wrong:
        raise UserError(f"{path.name}, line 1: the text is not UTF-8 (byte 0x{ord(wrong) - 0xDC00:x}).")
    end = next((end for end in ("\r\n", "\n", "\r") if lines[0].endswith(end)), "\n")
    return CsvFile(path, gzipped, end), tuple(record)
