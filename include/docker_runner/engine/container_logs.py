"""From the engine's stream of bytes to the lines that people read, in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
    """Takes the engine's multiplexed stream apart: frames of stream number, size and content, cut anywhere.

    Args:
        piece: a log that the engine has kept cuts longer lines into pieces of this size, and may leave out the line end
            behind the last piece (seen with 20.10): it is put back. 0 changes nothing.
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


class ContainerLog:
    """What a container writes: redacted, cut into lines for ``on_line``, and the end of each stream kept.

    Bytes that are not UTF-8 are left out (LG-3), blank lines are not shown (LG-2). Secrets are replaced before the text
    is cut into lines, so one that spans lines or pieces of the stream is found (D12).

    Args:
        on_line: called with every line, without its line end.
        redactor: hides secrets; None hides nothing.
        tail_characters: how much of the end of each stream is kept.
        shown: how many bytes of each stream were shown before, as of :attr:`shown`; they are taken for the tail only.
    """

    def __init__(
        self,
        on_line: OnLine,
        redactor: Redactor | None = None,
        tail_characters: int = TAIL_CHARACTERS,
        *,
        shown: Mapping[str, int] | None = None,
    ) -> None:
        redactor = redactor if redactor is not None else Redactor()
        before = shown or {}
        self._outputs = {
            stream: _Output(stream, on_line, redactor, tail_characters, before.get(stream, 0)) for stream in Stream
        }

    @property
    def shown(self) -> dict[str, int]:
        """How many bytes of each stream have been shown for good: up to a line end, and outside of any secret.

        Whoever goes on from here, with a new log, repeats at most what was written after the last line end.
        """
        return {stream.value: output.shown for stream, output in self._outputs.items()}

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


class LogReader:
    """Gives the log that the engine keeps to a :class:`ContainerLog`, and notices when its end is missing.

    Engines lose the last, unfinished line of a log that is followed when the container ends (seen with 20.10).
    """

    TAIL_LINES = 8
    # An engine cuts longer lines into pieces of this size, each of which counts as a line.
    _PIECE = 16 * 1024
    _ENDING = TAIL_LINES * (_PIECE + 1)

    def __init__(self, log: ContainerLog) -> None:
        self._log = log
        self._frames = Frames(self._PIECE)
        self._taken = dict.fromkeys(Stream, 0)
        self._passed_over = dict.fromkeys(Stream, 0)
        self._endings = {stream: bytearray() for stream in Stream}

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the engine's answer."""
        for stream, content in self._frames.feed(data):
            self._take(stream, content)

    def begin_again(self) -> None:
        """The engine gives the log from its beginning: what was taken before is passed over."""
        self._frames = Frames(self._PIECE)
        self._passed_over = dict(self._taken)

    def lacks(self, tail: bytes) -> bool:
        """Whether more has been written than was taken; ``tail`` is the engine's answer with the last lines."""
        written: dict[Stream, bytes] = {}
        for stream, content in Frames(self._PIECE).feed(tail):
            written[stream] = written.get(stream, b"") + content
        return any(not self._endings[stream].endswith(content) for stream, content in written.items())

    def _take(self, stream: Stream, content: bytes) -> None:
        over = min(self._passed_over[stream], len(content))
        self._passed_over[stream] -= over
        content = content[over:]
        if not content:
            return
        self._taken[stream] += len(content)
        ending = self._endings[stream]
        ending += content
        if len(ending) > 2 * self._ENDING:
            del ending[: -self._ENDING]
        self._log.feed(stream, content)


class _Output:
    def __init__(self, stream: Stream, on_line: OnLine, redactor: Redactor, tail_characters: int, shown: int) -> None:
        self._stream = stream
        self._on_line = on_line
        self._size = 0
        self._silent_until = shown
        self.shown = shown
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._redactor = redactor.stream()
        self._line = ""
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._tail_characters = tail_characters

    def feed(self, data: bytes) -> None:
        before = max(self._silent_until - self._size, 0)
        self._pass(data[:before])
        data = data[before:]
        # Cut behind the last line end, because only there it can be told how much has been shown.
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        self._pass(data[:end])
        self._pass(data[end:])

    def _pass(self, data: bytes) -> None:
        if not data:
            return
        self._take(self._redactor.feed(self._decoder.decode(data)))
        self._size += len(data)
        if self._size > self.shown and not (self._line or self._redactor.holds or self._decoder.getstate()[0]):
            self.shown = self._size

    def close(self) -> None:
        self._take(self._redactor.feed(self._decoder.decode(b"", final=True)) + self._redactor.flush())
        line, self._line = self._line, ""
        self._show(line)
        self.shown = max(self.shown, self._size)

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
            self._tell(line)

    def _tell(self, line: str) -> None:
        if self._size >= self._silent_until:
            self._on_line(self._stream, line)

    def _cut(self, line: str) -> str:
        """Show the pieces of a line that is too long; returns its rest."""
        while len(line) > LINE_CHARACTERS:
            self._tell(line[:LINE_CHARACTERS] + LINE_MARKER)
            line = line[LINE_CHARACTERS:]
        return line
