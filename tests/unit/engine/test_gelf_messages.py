"""What becomes of the bytes that GELF clients send."""

from __future__ import annotations

import gzip
import json
import logging
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygelf import gelf

from docker_runner.engine.gelf_messages import (
    LONGEST_MESSAGE_BYTES,
    ChunkAssembler,
    FrameSplitter,
    GelfMessage,
    GelfReader,
    UnreadableError,
    decoded,
)
from docker_runner.engine.redaction import Redactor

CONTAINER = "0123456789ab" + "c" * 52
SECRET = 'p"w-value'


class Received:
    def __init__(self, *secrets: str) -> None:
        self.messages: list[GelfMessage] = []
        self.notices: list[str] = []
        self.reader = GelfReader(
            Redactor(secrets),
            on_message=self.messages.append,
            on_notice=self.notices.append,
            container_id=lambda: CONTAINER,
        )

    def take(self, data: bytes | None = None, **fields: Any) -> None:
        self.reader.take(message(**fields) if data is None else data)


def message(**fields: Any) -> bytes:
    return json.dumps(
        {"version": "1.1", "host": CONTAINER[:12], "level": 6, "timestamp": 1.5, "short_message": "hi", **fields}
    ).encode()


@pytest.mark.rules("LG-9", "D13")
@pytest.mark.parametrize(
    ("level", "expected"),
    [
        *((7, 100), (6, 200), (5, 250), (4, 300), (3, 400), (2, 500), (1, 550), (0, 600), ("0", 600), ("4", 300)),
        *((9, 400), (-1, 400), ("loud", 400), (True, 400), (1e400, 400), ([1], 400)),
    ],
)
def test_levels_are_those_of_syslog_and_any_other_is_an_error(level: Any, expected: int) -> None:
    received = Received()
    received.take(level=level)
    assert [item.level for item in received.messages] == [expected]


@pytest.mark.rules("LG-7")
@pytest.mark.parametrize("name", ["host", "level", "timestamp", "short_message"])
@pytest.mark.parametrize("value", [None, "", False, []])
def test_a_message_without_a_required_field_is_dropped_with_a_notice(name: str, value: Any) -> None:
    received = Received()
    received.take(**{name: value})
    assert received.messages == []
    assert received.notices == [f"A GELF message was dropped: it has no {name}."]


@pytest.mark.rules("LG-7")
def test_a_time_of_0_is_none() -> None:
    received = Received()
    received.take(timestamp=0, host="")
    assert received.notices == ["A GELF message was dropped: it has no host and no timestamp."]


@pytest.mark.rules("LG-8")
@pytest.mark.parametrize(("host", "taken"), [(CONTAINER[:12], 1), (CONTAINER, 1), ("another-host", 0), ("123456", 0)])
def test_only_the_container_itself_is_listened_to(host: str, taken: int) -> None:
    received = Received()
    received.take(host=host, short_message="mine")
    assert len(received.messages) == taken
    assert len(received.notices) == 1 - taken
    assert "mine" not in "".join(received.notices)


@pytest.mark.rules("LG-9", "LG-22")
def test_secrets_are_hidden_in_every_field_and_in_the_names_of_fields() -> None:
    received = Received(SECRET, "4711")
    received.take(
        short_message=f"login {SECRET}",
        full_message=f"trace {SECRET}",
        _number=4711,
        _deep={"list": [SECRET, {"x": SECRET}], SECRET: 1},
        **{f"_{SECRET}": "name"},
    )
    (item,) = received.messages
    assert item.text == "login [hidden]"
    assert item.context == {
        "full_message": "trace [hidden]",
        "_number": "[hidden]",
        "_deep": {"list": ["[hidden]", {"x": "[hidden]"}], "[hidden]": 1},
        "_[hidden]": "name",
    }


@pytest.mark.rules("LG-9")
def test_additional_fields_are_the_context() -> None:
    received = Received()
    received.take(_user="me", facility="x", short_message={"a": 1})
    (item,) = received.messages
    assert (item.text, item.context) == ('{"a": 1}', {"_user": "me", "facility": "x"})


@pytest.mark.rules("LG-10", "LG-22")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"no json " + SECRET.encode(), "A GELF message is not JSON: no json [hidden]"),
        (b'["list"]', 'A GELF message is not a JSON map: ["list"]'),
        (b"\x1f\x8bbroken", "A GELF message cannot be decompressed: broken"),
        (b"\xff\xfetext", "A GELF message is not JSON: text"),
        (b"[" * 100_000, "A GELF message is not JSON: ["),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_text(data: bytes, problem: str) -> None:
    received = Received(SECRET)
    received.take(data)
    (item,) = received.messages
    assert item.level == 400
    assert item.text.replace("\x1f", "").startswith(problem)


@pytest.mark.rules("LG-10")
def test_a_message_is_at_most_200_kb_compressed_or_not() -> None:
    fits = LONGEST_MESSAGE_BYTES - len(message(short_message=""))
    for size, too_large in ((fits, False), (fits + 1, True)):
        for pack in (bytes, gzip.compress, zlib.compress):
            received = Received()
            received.take(pack(message(short_message="x" * size)))
            assert received.messages[0].text.startswith("A GELF message is larger than 200 KB") is too_large
            assert len(received.messages[0].text) <= LONGEST_MESSAGE_BYTES


def test_a_small_message_that_unpacks_to_a_huge_one_takes_no_memory() -> None:
    bomb = gzip.compress(b"x" * 100_000_000)
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="larger than 200 KB"):
        decoded(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.mark.rules("LG-10", "LG-22")
def test_a_secret_at_the_border_of_what_is_shown_of_a_large_message_is_hidden_first() -> None:
    received = Received("the-secret-value")
    received.take(b"x" * 39_990 + b"the-secret-value" + b"y" * 300_000)
    (item,) = received.messages
    assert "the-s" not in item.text
    assert item.text.endswith("[trimmed]")


FRAMES = [b'{"a": 1}', b'{"text": "line\\nline", "pretty":\n  {"x": 2}\n}', b"rubbish", b'{"b": [{"c": 2}]}']


@given(st.lists(st.sampled_from(FRAMES), max_size=6), st.data())
def test_frames_of_a_stream_are_found_however_it_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame + b"\0" for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = FrameSplitter()
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[begin:end])
    assert [frame.strip() for frame in found] == frames
    assert splitter.flush() == b""


def test_messages_that_end_with_a_line_end_are_taken_when_they_are_whole() -> None:
    splitter = FrameSplitter()
    assert list(splitter.feed(b'{"a": {"b": 1}\n')) == []
    assert list(splitter.feed(b'}\n{"c": 2}\n{"d"')) == [b'{"a": {"b": 1}\n}', b'{"c": 2}']
    assert list(splitter.feed(b": 3}")) == []
    assert splitter.flush() == b'{"d": 3}'


def test_a_frame_without_an_end_is_given_up_and_the_next_one_is_taken() -> None:
    splitter = FrameSplitter()
    found: list[bytes] = []
    for _ in range(100):
        found += splitter.feed(b"}\n" * 10_000)
    found += splitter.feed(b'end\0{"a": 1}\0')
    assert len(found) == 2
    assert LONGEST_MESSAGE_BYTES < len(found[0]) < LONGEST_MESSAGE_BYTES + 30_000
    assert found[1] == b'{"a": 1}'


def chunks(count: int = 3, name: bytes = b"12345678") -> list[bytes]:
    return [b"\x1e\x0f" + name + bytes([number, count]) + b"part%d" % number for number in range(count)]


def test_chunks_come_in_any_order_and_more_than_once() -> None:
    assembler = ChunkAssembler()
    first, second, third = chunks()
    other = chunks(2, b"87654321")
    given = [third, other[0], first, first, second, other[1], b"whole"]
    assert [assembler.feed(part, now=0) for part in given] == [
        None, None, None, None, b"part0part1part2", b"part0part1", b"whole",
    ]  # fmt: skip


def test_chunks_of_a_message_that_stays_incomplete_are_forgotten() -> None:
    assembler = ChunkAssembler()
    first, second, third = chunks()
    assert assembler.feed(first, now=0) is None
    assert assembler.feed(second, now=1) is None
    assert assembler.feed(third, now=6) is None
    assert assembler.feed(third, now=6) is None


def test_chunks_of_messages_without_end_take_bounded_memory() -> None:
    assembler = ChunkAssembler()
    tracemalloc.start()
    for number in range(1000):
        assembler.feed(b"\x1e\x0f" + number.to_bytes(8, "big") + b"\0\2" + b"x" * 60_000, now=0)
    assert tracemalloc.get_traced_memory()[1] < 12_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("datagram", [b"\x1e\x0f12345678", b"\x1e\x0f12345678\x03\x03x", b"\x1e\x0f12345678\0\xffx"])
def test_a_chunk_that_makes_no_sense_is_said_to(datagram: bytes) -> None:
    with pytest.raises(UnreadableError, match="A GELF chunk"):
        ChunkAssembler().feed(datagram, now=0)


@pytest.mark.rules("LG-9")
def test_what_pygelf_packs_and_splits_is_put_together_again() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "text " * 2000, (), None)
    made = gelf.make(record, CONTAINER[:12], False, "1.1", {"_app": "test"}, {})
    received, assembler = Received(), ChunkAssembler()
    for chunk in gelf.split(gelf.pack(made, False, str), 1300):
        received.take(assembler.feed(chunk, now=0) or b"")
    (item,) = received.messages
    assert (item.level, item.text, item.context["_app"]) == (300, "text " * 2000, "test")
