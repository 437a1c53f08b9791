"""Reads a CSV record by record: slow, but it knows the line of an error, and takes mixed line ends and long records."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from docker_runner.errors import UserError
from docker_runner.storage.lake.csv_source import CsvFile, CsvSource, Dialect

_CHUNK_BYTES = 1 << 20
_QUOTED = Dialect(",", '"')


@dataclass(frozen=True)
class Rewritten:
    """A CSV written anew: its source, its number of records, and the size of the longest one in bytes."""

    source: CsvSource
    records: int
    longest_bytes: int


def rewrite(source: CsvSource, new_file: Iterator[Path]) -> Rewritten:
    """Write a CSV anew: no header, all fields quoted, one kind of line end.

    Args:
        source: what to read.
        new_file: paths to write to.

    Raises:
        UserError: a record is wrong; names the file and the line.
    """
    files, records, longest = [], 0, 0
    for file in source.files:
        target = next(new_file)
        with target.open("w", encoding="utf-8", newline="") as written:
            writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for _, record in _records(file, source):
                writer.writerow(record)
                records += 1
                if sum(map(len, record)) * 4 > longest:  # only then it may be the longest in bytes
                    longest = max(longest, sum(len(field.encode()) + field.count('"') + 3 for field in record))
        files.append(CsvFile(target, gzipped=False, newline="\n"))
    return Rewritten(source.with_files(tuple(files), dialect=_QUOTED), records, longest)


def find_record(source: CsvSource, number: int) -> tuple[str, list[str]]:
    """Find a record by its number, which counts from 1 through all files.

    Returns:
        Its place, for people: the file and the line, and the record.
    """
    for file in source.files:
        for line, record in _records(file, source):
            number -= 1
            if not number:
                return f"{file.path.name}, line {line}", record
    raise ValueError("There are fewer records.")


def _records(file: CsvFile, source: CsvSource) -> Iterator[tuple[int, list[str]]]:
    """The records of a file with the lines in which they begin."""
    with file.open() as raw:
        _check_encoding(raw, file.path.name)
    with file.open() as raw:
        reader = source.dialect.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
        skip = source.header
        line = 1
        while True:
            try:
                record = next(reader, None)
            except csv.Error as error:
                raise UserError(f"{file.path.name}, line {line}: the quoting is broken ({error}).") from None
            if record is None:
                return
            if skip:
                skip = False
            elif len(record) == len(source.columns):
                yield line, record
            elif record:
                raise UserError(
                    f"{file.path.name}, line {line}: the number of fields is {len(record)}, expected are "
                    f"{len(source.columns)} ({', '.join(source.columns)}). Is the delimiter "
                    f"{source.dialect.delimiter!r} right?"
                )
            elif len(source.columns) == 1:
                yield line, [""]
            line = reader.line_num + 1


def _check_encoding(raw: BinaryIO, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    while True:
        chunk = raw.read(_CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            wrong = error.object[error.start : error.start + 1].hex()
            raise UserError(f"{name}, line {line}: the text is not UTF-8 (byte 0x{wrong}).") from None
        if not chunk:
            return
        line += text.count("\n")
