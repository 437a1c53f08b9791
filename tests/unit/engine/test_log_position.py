"""Where to go on in a log of which the engine has dropped the beginning, and what people are told."""

from __future__ import annotations

import pytest

from docker_runner.engine.log_position import LogPosition, first_moment, missing_bytes, moment

FIRST = "2026-11-25T21:24:28.757501385Z"


def test_a_log_that_is_whole_goes_on_where_it_was_left() -> None:
    position = LogPosition({"stdout": 5}, first=FIRST, caught_up=1.0)
    assert position.found_again(FIRST) == (position, "")
    begun = LogPosition({"stdout": 5}, caught_up=1.0)
    assert begun.found_again(FIRST) == (position, "")
    assert begun.found_again("") == (begun, "")


@pytest.mark.rules("LG-1")
def test_a_gap_is_told_with_its_length() -> None:
    position = LogPosition({"stdout": 5}, first=FIRST, caught_up=moment(FIRST))
    found, told = position.found_again("2026-11-25T21:25:30.000000000Z")
    assert (found.shown, found.first) == ({}, "2026-11-25T21:25:30.000000000Z")
    assert float(found.since) == pytest.approx(moment(FIRST) - 0.1)
    assert told.endswith("What was written from 21:24:28.757 UTC to 21:25:30.000 UTC (61.2 s) is missing here.")
    _, told = position.found_again("2026-11-25T21:24:28.000000000Z")
    assert told.endswith("Nothing is missing here, but some lines may be shown a second time.")


def test_the_first_line_says_when_it_was_written() -> None:
    assert first_moment(b"\1\0\0\0\0\0\0\x24" + FIRST.encode() + b" text") == FIRST
    assert first_moment(b"") == ""


@pytest.mark.rules("LG-1")
def test_bytes_that_were_passed_over_are_counted() -> None:
    assert missing_bytes(100, 100, whole=True) == ""
    assert missing_bytes(100, 1_100, whole=True).startswith("1,000 bytes of this output are missing above")
    assert "cannot be told" in missing_bytes(100, 100, whole=False)
