"""From the engine's stream of bytes to the lines that people read, in bounded memory."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from docker_runner.engine.frames import Frames, Stream
from docker_runner.engine.log_position import LogPosition
from docker_runner.engine.redaction import Redactor

# Of each stream the end is kept for messages and results (CT-37), counted in characters.
TAIL_CHARACTERS = 1_000_000
# A longer line is shown in pieces (LG-3), counted in characters without the marker.
LINE_CHARACTERS = 60_000
LINE_MARKER = " [trimmed]"


OnLine = Callable[[Stream, str], None]
# Many lines at once: with millions of them a call for each would take most of the time.
OnLines = Callable[[Stream, Sequence[str]], None]


def one_by_one(on_line: OnLine) -> OnLines:
    """Call ``on_line`` for each of the lines that came at once."""

    def on_lines(stream: Stream, lines: Sequence[str]) -> None:
        for line in lines:
            on_line(stream, line)

    return on_lines


class ContainerLog:
    """What a container writes: redacted, cut into lines for ``on_lines``, and the end of each stream kept.

    Bytes that are not UTF-8 are left out (LG-3), blank lines are not shown (LG-2). Secrets are replaced before the text
    is cut into lines, so one that spans lines or pieces of the stream is found (D12).

    Args:
        on_lines: called with lines as they come, without their line ends.
        redactor: hides secrets; None hides nothing.
        tail_characters: how much of the end of each stream is kept.
        position: how far the log was shown before, as of :attr:`position`; that is taken for the tail only.
    """

    def __init__(
        self,
        on_lines: OnLines,
        redactor: Redactor | None = None,
        tail_characters: int = TAIL_CHARACTERS,
        *,
        position: LogPosition | None = None,
    ) -> None:
        redactor = redactor if redactor is not None else Redactor()
        self._position = position or LogPosition()
        before = self._position.shown
        self._outputs = {
            stream: _Output(stream, on_lines, redactor, tail_characters, before.get(stream, 0)) for stream in Stream
        }

    @property
    def position(self) -> LogPosition:
        """How far the log has been shown for good: up to a line end, and outside of any secret.

        Whoever goes on from here, with a new log, repeats at most what was written after the last line end.
        """
        return replace(self._position, shown={stream.value: output.shown for stream, output in self._outputs.items()})

    def caught_up(self, moment: float) -> None:
        """All that was written until then (seconds since 1970) has been taken."""
        self._position = replace(self._position, caught_up=moment)

    def begins(self, first: str) -> None:
        """Keep in mind when the first line was written, in the engine's words."""
        self._position = replace(self._position, first=first)

    def find_again(self, first: str) -> str:
        """Prepare for the engine's stored log; gives what to tell if its beginning is gone, and it goes on by time.

        Args:
            first: when the first line that the engine has (of those that count) was written; empty if there is none.
        """
        position, told = self.position.found_again(first)
        if told:
            for output in self._outputs.values():
                output.begin_anew()
        self._position = position
        return told

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

    Args:
        log: takes what was written.
        live: first comes what the engine gives at the moment of writing, which is not cut into pieces.
    """

    TAIL_LINES = 8
    # An engine cuts longer lines into pieces of this size, each of which counts as a line.
    _PIECE = 16 * 1024
    _ENDING = TAIL_LINES * (_PIECE + 1)

    def __init__(self, log: ContainerLog, *, live: bool = False) -> None:
        self._log = log
        self._live = live
        self._frames = Frames(0 if live else self._PIECE)
        self._taken = dict.fromkeys(Stream, 0)
        self._passed_over = dict.fromkeys(Stream, 0)
        self._endings = {stream: bytearray() for stream in Stream}
        self.stored = 0
        """Bytes that were read of the stored log since it was begun (again), also those that were passed over."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the engine's answer."""
        for stream, content in self._frames.feed(data):
            if not self._live:
                self.stored += len(content)
            self._take(stream, content)

    def begin_again(self) -> None:
        """The engine gives the log from its beginning: what was taken before is passed over."""
        self._live = False
        self._frames = self.stored_frames()
        self._passed_over = dict(self._taken)
        self.stored = 0

    @property
    def taken(self) -> int:
        """Bytes of both streams that were taken."""
        return sum(self._taken.values())

    def lacks(self, tail: bytes) -> bool:
        """Whether more has been written than was taken; ``tail`` is the engine's answer with the last lines."""
        written: dict[Stream, bytes] = {}
        for stream, content in self.stored_frames().feed(tail):
            written[stream] = written.get(stream, b"") + content
        return any(not self._endings[stream].endswith(content) for stream, content in written.items())

    @classmethod
    def stored_frames(cls) -> Frames:
        """For a log that the engine has kept."""
        return Frames(cls._PIECE)

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
    def __init__(self, stream: Stream, on_lines: OnLines, redactor: Redactor, tail_characters: int, shown: int) -> None:
        self._stream = stream
        self._on_lines = on_lines
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

    def begin_anew(self) -> None:
        """What comes next is counted from 0, and all of it is shown."""
        self.close()
        self._size = self.shown = self._silent_until = 0

    def close(self) -> None:
        self._take(self._redactor.feed(self._decoder.decode(b"", final=True)) + self._redactor.flush())
        line, self._line = self._line, ""
        self._show([line])
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
        # Progress bars end their lines with a carriage return alone.
        *lines, rest = (self._line + text.replace("\r", "\n")).split("\n")
        self._show(lines)
        self._line = self._cut(rest)

    def _show(self, lines: list[str]) -> None:
        if max(map(len, lines), default=0) > LINE_CHARACTERS:
            for line in lines:
                self._tell([self._cut(line).rstrip()])
        else:
            self._tell([line.rstrip() for line in lines])

    def _tell(self, lines: Iterable[str]) -> None:
        if self._size >= self._silent_until and (shown := [line for line in lines if line]):
            self._on_lines(self._stream, shown)

    def _cut(self, line: str) -> str:
        """Show the pieces of a line that is too long; returns its rest."""
        while len(line) > LINE_CHARACTERS:
            self._tell([line[:LINE_CHARACTERS] + LINE_MARKER])
            line = line[LINE_CHARACTERS:]
        return line
