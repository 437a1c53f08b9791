"""The end of a CSV, which DuckDB's reader leaves out without a word when it is a record larger than its buffer."""

from __future__ import annotations

from docker_runner.storage.lake.csv_source import CsvFile, Dialect


def last_record_is_short(tail: bytes, file: CsvFile, dialect: Dialect) -> bool:
    """Whether the last record begins in the tail of a file.

    Args:
        tail: the last bytes of the file, in which each enclosed field is closed.
        file: the file.
        dialect: its dialect.
    """
    # Outside of all fields is a line end with an even number of enclosures behind it.
    enclosure, line_end = dialect.enclosure.encode(), file.newline[-1].encode()
    tail = tail.rstrip(b"\r\n")
    end, behind = len(tail), 0
    while (start := tail.rfind(line_end, 0, end)) >= 0:
        behind += tail.count(enclosure, start, end) if enclosure else 0
        if behind % 2 == 0:
            return True
        end = start
    return False
