from __future__ import annotations

import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.engine.container_logs import (
    LINE_CHARACTERS,
    LINE_MARKER,
    TAIL_CHARACTERS,
    ContainerLog,
    one_by_one,
)
from docker_runner.engine.frames import Frames, Stream
from docker_runner.engine.redaction import Redactor


def frame(stream: int, content: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(content)) + content


class Shown:
    def __init__(self, redactor: Redactor | None = None) -> None:
        self.lines: list[tuple[Stream, str]] = []
        self.log = ContainerLog(one_by_one(lambda *one: self.lines.append(one)), redactor)

    def write(self, *chunks: bytes, stream: Stream = Stream.STDOUT) -> list[str]:
        for chunk in chunks:
            self.log.feed(stream, chunk)
        return [line for _, line in self.lines]


@given(
    frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=20)), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_frames_are_taken_apart_however_the_stream_is_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(*one) for one in frames)
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parser = Frames()
    got: dict[Stream, bytes] = {Stream.STDOUT: b"", Stream.STDERR: b""}
    for start, end in pairwise(borders):
        for stream, content in parser.feed(data[start:end]):
            got[stream] += content
    assert got[Stream.STDOUT] == b"".join(content for number, content in frames if number == 1)
    assert got[Stream.STDERR] == b"".join(content for number, content in frames if number == 2)


def test_frames_keep_the_order_of_the_two_streams() -> None:
    data = frame(1, b"a") + frame(1, b"b") + frame(2, b"c") + frame(1, b"d")
    assert list(Frames().feed(data)) == [(Stream.STDOUT, b"ab"), (Stream.STDERR, b"c"), (Stream.STDOUT, b"d")]


@pytest.mark.rules("LG-1", "D14")
def test_lines_are_shown_when_they_end_and_not_before() -> None:
    shown = Shown()
    assert shown.write(b"one\ntw") == ["one"]
    assert shown.write(b"o\r\nthree") == ["one", "two"]
    shown.log.close()
    assert shown.lines == [(Stream.STDOUT, "one"), (Stream.STDOUT, "two"), (Stream.STDOUT, "three")]


@pytest.mark.rules("LG-2", "LG-3")
def test_blank_lines_are_dropped_and_indentation_is_kept() -> None:
    assert Shown().write(b"Traceback\n\n   \n  File x  \n") == ["Traceback", "  File x"]


def test_a_progress_bar_gives_a_line_for_every_step() -> None:
    assert Shown().write(b"10%\r20%\r100%\n") == ["10%", "20%", "100%"]


@pytest.mark.rules("LG-3")
def test_bytes_that_are_not_utf8_are_left_out_and_split_characters_are_not() -> None:
    assert Shown().write(b"a\xffb \xc5", b"\xbe\xe2\x82", b"\xac c\n") == ["ab \u017e\u20ac c"]


@pytest.mark.rules("LG-3")
def test_a_very_long_line_is_shown_in_pieces_with_a_marker() -> None:
    shown = Shown()
    shown.write(*[b"x" * 10_000] * 13, b"end\n")
    lines = [line for _, line in shown.lines]
    assert [len(line) for line in lines] == [LINE_CHARACTERS + len(LINE_MARKER)] * 2 + [10_003]
    assert all(line.endswith(LINE_MARKER) for line in lines[:2])
    assert "".join(line.removesuffix(LINE_MARKER) for line in lines) == "x" * 130_000 + "end"
    whole = Shown().write(b"a\n" + b"x" * 70_000 + b"\nb\n")
    assert [len(line) for line in whole] == [1, LINE_CHARACTERS + len(LINE_MARKER), 10_000, 1]


@pytest.mark.rules("LG-22", "D12")
def test_a_secret_is_hidden_across_chunks_lines_and_broken_bytes() -> None:
    redactor = Redactor(["line-one\nline-two", "top-secret"])
    shown = Shown(redactor)
    shown.write(b"a top-se", b"cret b\nkey: line-", b"one\nline-two\nt\xffop-secret\n")
    shown.log.close()
    assert [line for _, line in shown.lines] == ["a [hidden] b", "key: [hidden]", "[hidden]"]
    assert shown.log.tail(Stream.STDOUT) == "a [hidden] b\nkey: [hidden]\n[hidden]\n"


def test_a_secret_is_not_put_together_from_two_streams() -> None:
    shown = Shown(Redactor(["abcdef"]))
    shown.log.feed(Stream.STDOUT, b"abc")
    shown.log.feed(Stream.STDERR, b"def\n")
    shown.log.feed(Stream.STDOUT, b"def\n")
    shown.log.close()
    assert shown.lines == [(Stream.STDERR, "def"), (Stream.STDOUT, "[hidden]")]


@pytest.mark.rules("CT-37", "CT-40")
def test_the_last_million_characters_are_kept_as_they_were_written() -> None:
    shown = Shown()
    shown.write(b"first\n", *[b"0123456789" * 1000] * 150, b'\n{"a":\n  1}\n')
    tail = shown.log.tail(Stream.STDOUT)
    assert len(tail) == TAIL_CHARACTERS
    assert tail.endswith('0123456789\n{"a":\n  1}\n')


def test_memory_does_not_grow_with_the_log() -> None:
    log = ContainerLog(lambda stream, lines: None, Redactor(["some-secret"]))
    chunk = b"a line of text with nothing in it, not even a secret\n" * 600
    for _ in range(40):
        log.feed(Stream.STDOUT, chunk)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        log.feed(Stream.STDOUT, chunk)
    grown = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert grown < 4_000_000
