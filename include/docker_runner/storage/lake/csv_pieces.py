"""Large CSVs with line ends in fields, cut between records into files that several threads can read.

DuckDB's threads would take any line end in their part of a file for the end of a record. Files of their own they read
from the beginning, one thread each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from docker_runner.storage.lake.csv_source import CsvFile, CsvSource
from docker_runner.storage.lake.csv_structure import Outline

_PIECE_BYTES = 24 << 20
_MOST_PIECES = 500
_CHUNK_BYTES = 1 << 20


def cut(source: CsvSource, found: Sequence[Outline], new_file: Iterator[Path]) -> CsvSource:
    """Cut the large ones among the files of a source.

    Args:
        source: its files are clean.
        found: the outline of each file.
        new_file: paths to write to.

    Returns:
        The same records in the same order in more files, without header if a file was cut.
    """
    ranges = [_ranges(file, outline, source.header) for file, outline in zip(source.files, found, strict=True)]
    if all(len(of_file) < 2 for of_file in ranges):
        return source
    if source.header and not all(ranges):
        return source  # the header of a small or compressed file cannot be left out
    files: list[CsvFile] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        copies = []
        for file, of_file in zip(source.files, ranges, strict=True):
            if not of_file:
                files.append(file)
            for begin, end in of_file:
                piece = next(new_file)
                copies.append(threads.submit(_copy, file.path, piece, begin, end))
                files.append(CsvFile(piece, gzipped=False, newline=file.newline))
        for copy in copies:
            copy.result()
    return replace(source, files=tuple(files), header=False)


def _ranges(file: CsvFile, outline: Outline, header: bool) -> list[tuple[int, int]]:
    """Where the pieces of a file begin and end; none if it is to be read as it is."""
    if file.gzipped or not outline.begins:
        return []
    size = file.path.stat().st_size
    piece = max(_PIECE_BYTES, size // _MOST_PIECES)
    first, *others = outline.begins
    borders = [first if header else 0]
    for begin in (*others, size):
        if begin - borders[-1] >= piece or borders[-1] < begin == size:
            borders.append(begin)
    return list(pairwise(borders))


def _copy(source: Path, target: Path, begin: int, end: int) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        read.seek(begin)
        while begin < end and (chunk := read.read(min(_CHUNK_BYTES, end - begin))):
            written.write(chunk)
            begin += len(chunk)
