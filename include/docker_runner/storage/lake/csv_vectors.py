"""What :mod:`csv_structure` finds out about a file, for large files: parts of them at once, 64 bytes at once in each.

Each part is looked at without knowledge of those before: whether it begins inside of an enclosed field is only known in
the end, so everything is counted for both cases. In a word of 64 bits each bit stands for a byte. Whether a byte is
inside of an enclosed field depends on the number of enclosures before it, which shifted XORs tell for all bits of a
word (as simdjson does with text in JSON).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from docker_runner.storage.lake.csv_source import BYTE_ORDER_MARK, CsvFile, Dialect
from docker_runner.storage.lake.csv_tail import last_record_is_short

if TYPE_CHECKING:
    from numpy import bool_, uint8, uint64
    from numpy.typing import NDArray

    Words = NDArray[uint64]

# Parts of a file; all arrays for a block of it fit into a processor's cache.
PART_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 19


@dataclass
class Part:
    r"""What is in a part of a file. Of each pair the first holds if it begins outside of a field, the second if inside.

    Attributes:
        delimiters, feeds, returns, pairs: delimiters, ``\n``, ``\r`` and ``\r\n`` outside of enclosed fields.
        misplaced: an enclosure stands where none may.
        begins: position in the file of the first record that begins in the part; None when none does.
        line_ends: all ``\n`` and ``\r``.
        turns: what begins outside ends inside, and the other way round.
        last: the last byte.
        size: how many bytes there are.
        ends_long: the part is the last one, and the last record is longer than it may be.
    """

    delimiters: list[int] = field(default_factory=lambda: [0, 0])
    feeds: list[int] = field(default_factory=lambda: [0, 0])
    returns: list[int] = field(default_factory=lambda: [0, 0])
    pairs: list[int] = field(default_factory=lambda: [0, 0])
    misplaced: list[bool] = field(default_factory=lambda: [False, False])
    begins: list[int | None] = field(default_factory=lambda: [None, None])
    line_ends: int = 0
    turns: bool = False
    last: bytes = b"\n"
    size: int = 0
    ends_long: bool = False


def look_at(files: Sequence[CsvFile], dialect: Dialect, *, longest_bytes: int) -> list[list[Part]]:
    """The parts of each file; a compressed file is one part.

    Args:
        files: the files.
        dialect: their dialect.
        longest_bytes: how long the last record of each may be.

    Raises:
        UserError: the compression of a file is broken.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        found = []
        for file in files:
            first = _first(file)
            size = 0 if file.gzipped else file.path.stat().st_size
            begins = range(first, max(size, first + 1), PART_BYTES)
            found.append([threads.submit(_part, file, dialect, begin, first, longest_bytes) for begin in begins])
        return [[part.result() for part in parts] for parts in found]


def _first(file: CsvFile) -> int:
    """Where the text of a file begins."""
    with file.open() as raw:
        return len(BYTE_ORDER_MARK) if raw.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK else 0


def _part(file: CsvFile, dialect: Dialect, begin: int, first: int, longest_bytes: int) -> Part:
    end = None if file.gzipped else begin + PART_BYTES
    last_blocks: deque[bytes] = deque(maxlen=longest_bytes // _BLOCK_BYTES + 2 if file.gzipped else 0)
    with file.open() as raw:
        before = b"\n"  # the begin of a file is as good a place for a field as the begin of a line
        raw.seek(begin)
        if begin > first:
            raw.seek(begin - 1)
            before = raw.read(1)
        looking = _Looking(dialect, file.newline, begin, before)
        for block, size in _blocks(raw, begin, end):
            if file.gzipped:
                last_blocks.append(block[:size].tobytes())
            looking.look_at(block, size)
        part, file_size = looking.part, first + looking.part.size
        if not file.gzipped:
            file_size = raw.seek(0, os.SEEK_END)
            raw.seek(max(0, file_size - longest_bytes))
        is_last = end is None or end >= file_size
        if is_last and file_size > longest_bytes:
            tail = b"".join(last_blocks)[-longest_bytes:] if file.gzipped else raw.read()
            part.ends_long = not last_record_is_short(tail, file, dialect)
    return part


def _blocks(raw: BinaryIO, begin: int, end: int | None) -> Iterator[tuple[NDArray[uint8], int]]:
    """The bytes of a part: an array that is used again for the next ones, and how many of its bytes are meant."""
    import numpy as np

    memory = memoryview(bytearray(_BLOCK_BYTES))
    block = np.frombuffer(memory, np.uint8)
    while end is None or begin < end:
        size = 0
        wanted = _BLOCK_BYTES if end is None else min(_BLOCK_BYTES, end - begin)
        while size < wanted and (got := raw.readinto(memory[size:wanted])):  # type: ignore[attr-defined]
            size += got
        if not size:
            return
        block[size:] = 0
        yield block, size
        if size < wanted:
            return
        begin += size


class _Looking:
    """Looks at a part, block by block."""

    def __init__(self, dialect: Dialect, newline: str, begin: int, before: bytes) -> None:
        import numpy as np

        self.part = Part(last=before)
        self._delimiter = ord(dialect.delimiter)
        self._enclosure = ord(dialect.enclosure) if dialect.enclosure else None
        self._newline = newline
        self._position = begin
        # Of the byte before: is it content, an enclosure, a carriage return; and is what follows inside of a field.
        self._marks = {*b"\r\n", self._delimiter, self._enclosure}
        self._content, self._enclosing, self._return = (
            int(before[0] not in self._marks),
            int(before[0] == self._enclosure),
            int(before == b"\r"),
        )
        self._inside = 0
        self._flags = np.empty(_BLOCK_BYTES, np.bool_)

    def look_at(self, block: NDArray[uint8], size: int) -> None:
        """Take the next block; the bytes after ``size`` are zeros, which mean nothing."""
        import numpy as np

        self.part.size += size
        part, inside = self.part, self._inside
        part.last = block[size - 1 : size].tobytes()
        delimiter_bits, feed_bits = self._where(block, self._delimiter), self._where(block, 10)
        # Most files have no carriage return: looking whether there is one takes less than finding out where.
        return_bits = self._where(block, 13) if np.equal(block, 13, out=self._flags).any() else None
        enclosure_bits = None if self._enclosure is None else self._where(block, self._enclosure)
        if enclosure_bits is not None and (self._enclosing or enclosure_bits.any()):
            within, self._inside = _within(enclosure_bits, inside)
            marks = delimiter_bits | feed_bits | enclosure_bits
            if return_bits is not None:
                marks |= return_bits
            self._look_at_enclosures(~marks, enclosure_bits, within, size)
        else:
            self._content = int(part.last[0] not in self._marks)
            within = np.full_like(feed_bits, np.uint64(0xFFFFFFFFFFFFFFFF) if inside else np.uint64(0))
        _add(part.delimiters, delimiter_bits, within)
        part.line_ends += _add(part.feeds, feed_bits, within)
        if return_bits is not None:
            part.line_ends += _add(part.returns, return_bits, within)
        if self._newline == "\r\n" and (return_bits is not None or self._return):
            before = _shifted(return_bits if return_bits is not None else np.zeros_like(feed_bits), self._return)
            _add(part.pairs, before & feed_bits, within)
        self._return = int(part.last == b"\r")
        part.turns = bool(self._inside)
        ends, counted = (return_bits, part.returns) if self._newline == "\r" else (feed_bits, part.feeds)
        for case, begin in enumerate(part.begins):
            if begin is None and ends is not None and counted[case]:
                part.begins[case] = self._begin(ends & (within if case else ~within))
        self._position += size

    def _where(self, block: NDArray[uint8], byte: int) -> Words:
        """Which bytes of a block are a certain one.

        The flags of all blocks use the same memory: the system would take new memory back from each block and clear it
        for the next one, which costs more than everything else.
        """
        import numpy as np

        return _bits(np.equal(block, byte, out=self._flags))

    def _look_at_enclosures(self, content: Words, enclosures: Words, within: Words, size: int) -> None:
        """See whether an enclosure opens behind content or closes before it."""
        import numpy as np

        if size < _BLOCK_BYTES:
            content = content & _ones(size, len(content))
        # In most files one of the two cases is ruled out by the first block; only the other one is then looked at.
        if not all(self.part.misplaced):
            opens_wrong = enclosures & _shifted(content, self._content)
            closes_wrong = content & _shifted(enclosures, self._enclosing)
            # An enclosure that opens has a one in ``within``; content behind one that closes has a zero.
            for case, is_misplaced in enumerate(self.part.misplaced):
                if not is_misplaced:
                    opened, closed = (~within, within) if case else (within, ~within)
                    self.part.misplaced[case] = bool(((opens_wrong & opened) | (closes_wrong & closed)).any())
        last = np.uint64((size - 1) % 64)
        word = (size - 1) // 64
        self._content = int(content[word] >> last & np.uint64(1))
        self._enclosing = int(enclosures[word] >> last & np.uint64(1))

    def _begin(self, ends: Words) -> int:
        """Position in the file of what is behind the first of these line ends."""
        import numpy as np

        first = int(np.flatnonzero(ends)[0])
        word = int(ends[first])
        return self._position + 64 * first + (word & -word).bit_length()


def _bits(flags: NDArray[bool_]) -> Words:
    import numpy as np

    return np.packbits(flags, bitorder="little").view(np.dtype("<u8"))


def _count(bits: Words) -> int:
    import numpy as np

    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def _add(counts: list[int], bits: Words, within: Words) -> int:
    """Count bits outside and inside, which change places if the part begins inside of a field; gives how many."""
    all_bits, inside = _count(bits), _count(bits & within)
    counts[0] += all_bits - inside
    counts[1] += inside
    return all_bits


def _shifted(bits: Words, first: int) -> Words:
    """The bits moved by one, to the bytes behind; ``first`` is that before the first."""
    import numpy as np

    moved = bits << np.uint64(1)
    moved[1:] |= bits[:-1] >> np.uint64(63)
    moved[0] |= np.uint64(first)
    return moved


def _ones(count: int, words: int) -> Words:
    """So many ones, then zeros."""
    import numpy as np

    return _bits(np.arange(words * 64) < count)


def _within(enclosures: Words, inside: int) -> tuple[Words, int]:
    """Which bytes are inside of enclosures, the opening one among them, and whether the next one is."""
    import numpy as np

    within, shifted = enclosures.copy(), np.empty_like(enclosures)
    for distance in (1, 2, 4, 8, 16, 32):
        within ^= np.left_shift(within, np.uint64(distance), out=shifted)
    odd = np.bitwise_xor.accumulate(within >> np.uint64(63))
    turned = np.empty_like(odd)
    turned[0] = inside
    turned[1:] = odd[:-1] ^ np.uint64(inside)
    within ^= np.negative(turned)
    return within, int(odd[-1]) ^ inside
