"""From the bytes that a GELF client sends to messages, in bounded memory (LG-7, LG-9, LG-10)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from docker_runner.engine.redaction import Redactor

# Keboola's documentation allows messages of 200 KB.
LONGEST_MESSAGE_BYTES = 200 * 1024
# Of what cannot be read only so much is shown. Less than the longest message has in characters, so that a secret cut
# by that limit is never seen.
_RAW_CHARACTERS = 40_000
_RAW_MARKER = " [trimmed]"

_GZIP = b"\x1f\x8b"
_CHUNK = b"\x1e\x0f"
_CHUNK_HEADER = 12
_MOST_CHUNKS = 128
_CHUNKS_SECONDS = 5.0
_CHUNKS_BYTES = 8 * 2**20

# A frame that ends with a line end is tried as a message so many times; then only the null byte ends it.
_MOST_TRIES = 64

_REQUIRED = ("host", "level", "timestamp", "short_message")
_NO_CONTEXT = (*_REQUIRED, "version")
# Syslog's levels, which GELF uses, as those of verbosity (LG-9); any other is an error.
_LEVELS = {7: 100, 6: 200, 5: 250, 4: 300, 3: 400, 2: 500, 1: 550, 0: 600}
ERROR_LEVEL = 400
_WARNING_LEVEL = 300


@dataclass(frozen=True)
class GelfMessage:
    """A message of a component, with its secrets hidden.

    Attributes:
        level: 100 debug, 200 info, 250 notice, 300 warning, 400 error, 500 critical, 550 alert, 600 emergency.
        text: what it says.
        context: its additional fields.
    """

    level: int
    text: str
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_warning(self) -> bool:
        """Whether it tells of something that is, or may be, wrong (CT-35)."""
        return self.level >= _WARNING_LEVEL


class UnreadableError(ValueError):
    """Bytes that are no GELF message."""


class GelfReader:
    """Turns what arrives into messages; whatever is no message of this container is told to ``on_notice``.

    Args:
        redactor: hides secrets in every field.
        on_message: called with each message.
        on_notice: called with what is wrong with one that is dropped.
        container_id: gives the id of the container that may send (LG-8).
    """

    def __init__(
        self,
        redactor: Redactor,
        *,
        on_message: Callable[[GelfMessage], None],
        on_notice: Callable[[str], None],
        container_id: Callable[[], str],
    ) -> None:
        self._redactor = redactor
        self._on_message = on_message
        self._on_notice = on_notice
        self._container_id = container_id

    def take(self, data: bytes) -> None:
        """Take one whole message, compressed or not; an empty one is none."""
        if not data.strip():
            return
        try:
            document = decoded(data)
        except UnreadableError as error:
            self.refuse(data, str(error))
            return
        # Level 0 is the emergency, not a missing level (D13).
        missing = [name for name in _REQUIRED if not document.get(name) and not _is_zero(name, document.get(name))]
        if missing:
            self._on_notice(f"A GELF message was dropped: it has no {' and no '.join(missing)}.")
        elif not self._container_id().startswith(str(document["host"])):
            # Its text is not shown: it is not this run's.
            self._on_notice("A GELF message was dropped: its host is not the container's id.")
        else:
            try:
                message = self._message(document)
            except RecursionError:
                self.refuse(data, "A GELF message is nested too deeply")
            else:
                self._on_message(message)

    def drop(self, reason: str) -> None:
        """Tell that something was not taken at all, and why."""
        self._on_notice(reason)

    def refuse(self, data: bytes, problem: str) -> None:
        """Show what cannot be read as an error, with its raw text (LG-10)."""
        text = self._redactor.redact(data[:LONGEST_MESSAGE_BYTES].decode("utf-8", "ignore"))
        if len(text) > _RAW_CHARACTERS:
            text = text[:_RAW_CHARACTERS] + _RAW_MARKER
        self._on_message(GelfMessage(ERROR_LEVEL, f"{problem}: {text}"))

    def _message(self, document: Mapping[str, Any]) -> GelfMessage:
        hidden = self._redactor.redact_document(document)
        text = hidden["short_message"]
        context = {name: value for name, value in hidden.items() if name not in _NO_CONTEXT}
        return GelfMessage(
            level=_LEVELS.get(_number(document["level"]), ERROR_LEVEL),
            text=text if isinstance(text, str) else json.dumps(text, ensure_ascii=False),
            context=context,
        )


def decoded(data: bytes) -> dict[str, Any]:
    """The JSON map in a message, which may be compressed by gzip or zlib.

    Raises:
        UnreadableError: it is not one, or is too large.
    """
    if len(data) > LONGEST_MESSAGE_BYTES:
        raise UnreadableError(_too_large())
    if data.startswith(_GZIP) or (data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0):
        data = _inflated(data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise UnreadableError("A GELF message is not JSON") from None
    if not isinstance(document, dict):
        raise UnreadableError("A GELF message is not a JSON map")
    return document


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its beginning says
    try:
        text = inflater.decompress(data, LONGEST_MESSAGE_BYTES + 1)
    except zlib.error:
        raise UnreadableError("A GELF message cannot be decompressed") from None
    if len(text) > LONGEST_MESSAGE_BYTES:
        raise UnreadableError(_too_large())
    return text


def _too_large() -> str:
    return f"A GELF message is larger than {LONGEST_MESSAGE_BYTES // 1024} KB"


def _is_zero(name: str, value: object) -> bool:
    return name == "level" and value in (0, "0") and not isinstance(value, bool)


def _number(level: object) -> int:
    try:
        return int(level) if isinstance(level, int | float | str) and not isinstance(level, bool) else -1
    except (ValueError, OverflowError):
        return -1


class FrameSplitter:
    """Cuts a TCP stream into messages: a null byte ends one, and so does a line end behind a whole JSON map.

    GELF knows only the null byte; ``logging_gelf`` ends its messages with a line end all the same.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._tries = 0
        self._skips = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; gives the messages that are complete. One that is too large comes cut, and once."""
        *whole, rest = (self._rest + data).split(b"\0")
        self._rest = b""
        for frame in whole:
            yield from self._frame(frame)
        yield from self._lines(rest)

    def flush(self) -> bytes:
        """What has no end yet; the stream is at its end."""
        rest, self._rest = self._rest, b""
        return b"" if self._skips else rest

    def _frame(self, frame: bytes) -> Iterator[bytes]:
        if self._skips:
            self._skips = False
            return
        yield from self._lines(frame)
        rest, self._rest, self._tries = self._rest, b"", 0
        if self._skips:
            self._skips = False
        elif rest:
            yield rest

    def _lines(self, text: bytes) -> Iterator[bytes]:
        """Give what ends with a line end and is a message; keep the rest."""
        begin = searched = 0
        while not self._skips and self._tries < _MOST_TRIES and (end := text.find(b"\n", searched)) >= 0:
            searched = end + 1
            line = text[begin:end]
            if not line.strip():
                begin = searched
            elif line.rstrip().endswith(b"}"):
                self._tries += 1
                if _is_map(line):
                    yield line
                    begin, self._tries = searched, 0
        self._rest = b"" if self._skips else text[begin:]
        if len(self._rest) > LONGEST_MESSAGE_BYTES:
            yield self._rest
            self._rest, self._skips, self._tries = b"", True, 0


def _is_map(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


class ChunkAssembler:
    """Puts datagrams together to messages; parts of one that do not arrive in time, or are too many, are forgotten."""

    def __init__(self) -> None:
        self._parts: dict[bytes, tuple[float, dict[int, bytes]]] = {}
        self._bytes = 0

    def feed(self, datagram: bytes, *, now: float) -> bytes | None:
        """Take a datagram at a time (in seconds of any clock); gives the message that it completes, or None.

        Raises:
            UnreadableError: its header makes no sense.
        """
        if not datagram.startswith(_CHUNK):
            return datagram
        if len(datagram) < _CHUNK_HEADER:
            raise UnreadableError("A GELF chunk has no header")
        name, number, count = datagram[2:10], datagram[10], datagram[11]
        if not 0 < count <= _MOST_CHUNKS or number >= count:
            raise UnreadableError(f"A GELF chunk is number {number} of {count}")
        self._forget(now)
        content = datagram[_CHUNK_HEADER:]
        _, parts = self._parts.setdefault(name, (now, {}))
        if number not in parts:
            parts[number] = content
            self._bytes += len(content)
        if len(parts) < count:
            return None
        self._drop(name)
        return b"".join(content for _, content in sorted(parts.items()))

    def _forget(self, now: float) -> None:
        for name, (begun, _) in list(self._parts.items()):
            if now - begun > _CHUNKS_SECONDS or self._bytes > _CHUNKS_BYTES:
                self._drop(name)

    def _drop(self, name: bytes) -> None:
        _, parts = self._parts.pop(name)
        self._bytes -= sum(map(len, parts.values()))
