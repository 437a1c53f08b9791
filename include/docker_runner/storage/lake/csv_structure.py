"""Whether DuckDB's reader can be trusted with a CSV: it takes files that no CSV reader should take.

Without any error it leaves out the rows behind an enclosure that stands inside an unenclosed field, a last record that
is larger than its buffer (duckdb#25825), and with one thread a last record that is not closed; it drops surplus empty
fields at the end of a record, and blanks around enclosures. With several threads it may take a line end inside an
enclosed field for the end of a record.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from docker_runner.storage.lake import csv_vectors
from docker_runner.storage.lake.csv_source import BYTE_ORDER_MARK, CsvFile, Dialect
from docker_runner.storage.lake.csv_tail import last_record_is_short

_CHUNK_BYTES = 1 << 20
# Importing numpy takes as long as looking at so many bytes without it.
_MANY_BYTES = 8 << 20


@dataclass(frozen=True)
class Outline:
    """What a file is made of.

    Attributes:
        delimiters: how many there are outside of enclosures.
        lines: how many there are outside of enclosures; the last one may lack its end.
        lines_in_fields: enclosed fields have line ends in them.
        begins: where some records begin, in the file's order, the second one first; empty for small or compressed
            files.
    """

    delimiters: int = 0
    lines: int = 0
    lines_in_fields: bool = False
    begins: tuple[int, ...] = ()

    def fits(self, records: int, *, columns: int) -> bool:
        """Whether so many records, the header among them, are all that there are, with all their fields.

        Each record of n fields has n - 1 delimiters. With one column, where there are none, each line is a record; with
        several columns empty lines are no records.
        """
        return self.delimiters == records * (columns - 1) and (columns > 1 or self.lines == records)

    def __add__(self, other: Outline) -> Outline:
        return Outline(
            self.delimiters + other.delimiters,
            self.lines + other.lines,
            self.lines_in_fields or other.lines_in_fields,
        )


class _Outside:
    """Looks at what stands outside of enclosures, chunk by chunk."""

    def __init__(self, dialect: Dialect, newline: str) -> None:
        self._delimiter, self._enclosure = dialect.delimiter.encode(), dialect.enclosure.encode()
        self._newline = newline.encode()
        content = rb"[^\r\n" + re.escape(self._delimiter + self._enclosure) + b"]"
        enclosure = re.escape(self._enclosure)
        # It begins with the enclosure, so that the search jumps from one to the next.
        self._misplaced = re.compile(enclosure + b"(?:" + content + b"|(?<=" + content + enclosure + b"))")
        # The begin of a file is as good a place for a field as the begin of a line.
        self._before = b"\n"
        self._inside = False
        self._is_misplaced = False
        self._returns = self._feeds = self._pairs = self._delimiters = self._all_line_ends = 0

    @property
    def outline(self) -> Outline:
        """What there is, when it is clean."""
        unended = self._before not in (b"\n", b"\r")
        return Outline(
            self._delimiters,
            (self._returns if self._newline == b"\r" else self._feeds) + unended,
            self._all_line_ends > self._returns + self._feeds,
        )

    @property
    def is_clean(self) -> bool:
        """Whether enclosures stand where they may, the last one is closed, and all line ends are alike."""
        if self._newline == b"\n":
            alike = not self._returns
        elif self._newline == b"\r":
            alike = not self._feeds
        else:
            alike = self._returns == self._feeds == self._pairs
        return alike and not self._inside and not self._is_misplaced

    def look_at(self, chunk: bytes) -> None:
        """Take the next chunk of the file."""
        text, before = chunk, self._before
        self._all_line_ends += chunk.count(b"\r") + chunk.count(b"\n")
        if self._enclosure:
            parts = chunk.split(self._enclosure)
            text = self._enclosure.join(parts[self._inside :: 2])
            if len(parts) > 1:
                before = self._enclosure if self._inside else before
                self._inside ^= len(parts) % 2 == 0
                text += self._enclosure if self._inside else b""
            elif self._inside:
                return
            self._is_misplaced = self._is_misplaced or bool(self._misplaced.search(before + text))
        self._delimiters += text.count(self._delimiter)
        self._returns += text.count(b"\r")
        self._feeds += text.count(b"\n")
        if self._newline == b"\r\n":
            self._pairs += (before + text).count(b"\r\n")
        self._before = (before + text)[-1:]


def outlines(files: Sequence[CsvFile], dialect: Dialect, *, longest_bytes: int) -> list[Outline] | None:
    """Count what tells whether all records were read, and all of each; None when DuckDB's reader is not to be trusted.

    Args:
        files: the files.
        dialect: their dialect.
        longest_bytes: how long the last record of each may be.
    """
    if sum(file.path.stat().st_size for file in files) < _MANY_BYTES:
        found = [_look_through(file, dialect, longest_bytes) for file in files]
    else:
        parts = csv_vectors.look_at(files, dialect, longest_bytes=longest_bytes)
        found = [_joined(of_file, file.newline) for file, of_file in zip(files, parts, strict=True)]
    known = [one for one in found if one is not None]
    return known if len(known) == len(files) else None


def _look_through(file: CsvFile, dialect: Dialect, longest_bytes: int) -> Outline | None:
    """The outline of a small file, if it is clean."""
    outside = _Outside(dialect, file.newline)
    last_chunks: deque[bytes] = deque(maxlen=longest_bytes // _CHUNK_BYTES + 1)
    size = 0
    with file.open() as raw:
        while chunk := raw.read(_CHUNK_BYTES):
            outside.look_at(chunk.removeprefix(BYTE_ORDER_MARK) if not size else chunk)
            size += len(chunk)
            last_chunks.append(chunk)
    if not outside.is_clean:
        return None
    if size > longest_bytes and not last_record_is_short(b"".join(last_chunks)[-longest_bytes:], file, dialect):
        return None
    return outside.outline


def _joined(parts: Sequence[csv_vectors.Part], newline: str) -> Outline | None:
    """The outline of a file, if it is clean, from that of its parts."""
    inside: int = 0
    delimiters = feeds = returns = pairs = line_ends = 0
    begins = []
    for part in parts:
        if part.misplaced[inside]:
            return None
        delimiters += part.delimiters[inside]
        feeds += part.feeds[inside]
        returns += part.returns[inside]
        pairs += part.pairs[inside]
        line_ends += part.line_ends
        begins.append(part.begins[inside])
        inside ^= part.turns
    alike = {"\n": not returns, "\r": not feeds, "\r\n": returns == feeds == pairs}[newline]
    if inside or not alike or parts[-1].ends_long:
        return None
    return Outline(
        delimiters,
        (returns if newline == "\r" else feeds) + (parts[-1].last not in (b"\n", b"\r")),
        line_ends > returns + feeds,
        tuple(begin for begin in begins if begin is not None),
    )
