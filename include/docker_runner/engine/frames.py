"""The form in which an engine gives what a container writes to its two outputs."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum


class Stream(StrEnum):
    """Which of its two outputs a component wrote to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class Frames:
    """Takes the engine's multiplexed stream apart: frames of stream number, size and content, cut anywhere.

    Args:
        piece: a log that the engine has kept cuts longer lines into pieces of this size, and may leave out the line end
            behind the last piece (seen with 20.10): it is put back, but not behind a line as long as whole pieces,
            which cannot be told from one that goes on. 0 changes nothing.
    """

    _HEADER = 8
    _STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}  # noqa: RUF012 - a constant

    def __init__(self, piece: int = 0) -> None:
        self._piece = piece
        self._header = b""
        self._size = 0
        self._missing = 0
        self._stream: Stream | None = None
        self._open: set[Stream] = set()

    def feed(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        """Content in the order of writing; neighbours of the same stream come as one."""
        joined: list[bytes] = []
        owner: Stream | None = None
        for stream, content in self._contents(data):
            if stream is not owner and joined and owner:
                yield owner, b"".join(joined)
                joined = []
            owner = stream
            joined.append(content)
        if joined and owner:
            yield owner, b"".join(joined)

    def _contents(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        position = 0
        while position < len(data):
            if not self._missing:
                wanted = self._HEADER - len(self._header)
                self._header += data[position : position + wanted]
                position += wanted
                if len(self._header) < self._HEADER:
                    return
                self._stream = self._STREAMS.get(self._header[0])
                self._size = self._missing = int.from_bytes(self._header[4:], "big")
                self._header = b""
                if self._stream in self._open:
                    self._open.remove(self._stream)
                    yield self._stream, b"\n"
            content = data[position : position + self._missing]
            position += len(content)
            self._missing -= len(content)
            if content and self._stream:
                yield self._stream, content
                if not self._missing and self._size < self._piece and not content.endswith(b"\n"):
                    # Only the end of a line is shorter than a piece, or the end of everything.
                    self._open.add(self._stream)
