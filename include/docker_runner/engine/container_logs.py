"""From the engine's stream of bytes to the lines that people read, in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum

from docker_runner.engine.redaction import Redactor

# Of each stream the end is kept for messages and results (CT-37), counted in characters.
TAIL_CHARACTERS = 1_000_000
# A longer line is shown in pieces (LG-3), counted in characters without the marker.
LINE_CHARACTERS = 60_000
LINE_MARKER = " [trimmed]"

# Progress bars end their lines with a carriage return alone.
_LINE_END = re.compile(r"[\r\n]+")


class Stream(StrEnum):
    """Which of its two outputs a component wrote to."""

    STDOUT = "stdout"
    STDERR = "stderr"


OnLine = Callable[[Stream, str], None]


class Frames:
    """Takes the engine's multiplexed stream apart: frames of stream number, size and content, cut anywhere."""

    _HEADER = 8
    _STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        self._header = b""
        self._missing = 0
        self._stream: Stream | None = None

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
                self._missing = int.from_bytes(self._header[4:], "big")
                self._header = b""
            content = data[position : position + self._missing]
            position += len(content)
            self._missing -= len(content)
            if content and self._stream:
                yield self._stream, content


class ContainerLog:
    """What a container writes: redacted, cut into lines for ``on_line``, and the end of each stream kept.

    Bytes that are not UTF-8 are left out (LG-3), blank lines are not shown (LG-2). Secrets are replaced before the text
    is cut into lines, so one that spans lines or pieces of the stream is found (D12).

    Args:
        on_line: called with every line, without its line end.
        redactor: hides secrets; None hides nothing.
        tail_characters: how much of the end of each stream is kept.
    """

    def __init__(
        self, on_line: OnLine, redactor: Redactor | None = None, tail_characters: int = TAIL_CHARACTERS
    ) -> None:
        redactor = redactor if redactor is not None else Redactor()
        self._outputs = {stream: _Output(stream, on_line, redactor, tail_characters) for stream in Stream}

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take the next bytes of a stream."""
        self._outputs[stream].feed(data)

    def close(self) -> None:
        """Show what has no line end yet; nothing follows."""
        for output in self._outputs.values():
            output.close()

    def tail(self, stream: Stream) -> str:
        """The last characters of a stream, redacted, with its own line ends (CT-37)."""
        return self._outputs[stream].tail()


class _Output:
    def __init__(self, stream: Stream, on_line: OnLine, redactor: Redactor, tail_characters: int) -> None:
        self._stream = stream
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._redactor = redactor.stream()
        self._line = ""
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._tail_characters = tail_characters

    def feed(self, data: bytes) -> None:
        self._take(self._redactor.feed(self._decoder.decode(data)))

    def close(self) -> None:
        self._take(self._redactor.feed(self._decoder.decode(b"", final=True)) + self._redactor.flush())
        line, self._line = self._line, ""
        self._show(line)

    def tail(self) -> str:
        return "".join(self._tail)[-self._tail_characters :]

    def _take(self, text: str) -> None:
        if not text:
            return
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= self._tail_characters:
            self._tail_size -= len(self._tail.popleft())
        *lines, rest = _LINE_END.split(self._line + text)
        for line in lines:
            self._show(line)
        self._line = self._cut(rest)

    def _show(self, line: str) -> None:
        line = self._cut(line).rstrip()
        if line:
            self._on_line(self._stream, line)

    def _cut(self, line: str) -> str:
        """Show the pieces of a line that is too long; returns its rest."""
        while len(line) > LINE_CHARACTERS:
            self._on_line(self._stream, line[:LINE_CHARACTERS] + LINE_MARKER)
            line = line[LINE_CHARACTERS:]
        return line
