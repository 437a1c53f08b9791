"""Moments as people write them. The expected times are what PHP's ``strtotime`` gives for the same text."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.moments import moment

NOW = datetime(2026, 5, 6, 12, 30, 15, tzinfo=UTC)
"""A Wednesday."""


def shown(text: Any, now: datetime = NOW) -> str:
    return moment(text, now=now, key="k").astimezone(UTC).isoformat().removesuffix("+00:00").replace("T", " ")


@pytest.mark.rules("IM-29", "OM-57", "IF-11")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-05-06 12:30:15"),
        ("-2 days", "2026-05-04 12:30:15"),
        ("-1 day", "2026-05-05 12:30:15"),
        ("2 days ago", "2026-05-04 12:30:15"),
        ("2 days", "2026-05-08 12:30:15"),
        ("+1 week", "2026-05-13 12:30:15"),
        ("+3 hours", "2026-05-06 15:30:15"),
        ("-90 minutes", "2026-05-06 11:00:15"),
        ("- 10 Minutes", "2026-05-06 12:20:15"),
        ("-30 sec", "2026-05-06 12:29:45"),
        ("-1 fortnight", "2026-04-22 12:30:15"),
        ("-1 month", "2026-04-06 12:30:15"),
        ("-1 month -3 days", "2026-04-03 12:30:15"),
        ("1 month 3 days ago", "2026-04-03 12:30:15"),
        ("-1 day -1 hour", "2026-05-05 11:30:15"),
        ("-1 year", "2025-05-06 12:30:15"),
        ("last year", "2025-05-06 12:30:15"),
        ("this month", "2026-05-06 12:30:15"),
        ("third day", "2026-05-09 12:30:15"),
    ],
)
def test_distances_keep_the_time_of_day(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.rules("IM-29", "OM-57", "IF-11")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Today", "2026-05-06 00:00:00"),
        ("midnight", "2026-05-06 00:00:00"),
        ("noon", "2026-05-06 12:00:00"),
        ("yesterday", "2026-05-05 00:00:00"),
        ("tomorrow", "2026-05-07 00:00:00"),
        ("yesterday noon", "2026-05-05 12:00:00"),
        ("yesterday 10:00", "2026-05-05 10:00:00"),
        ("10:00 yesterday", "2026-05-05 00:00:00"),
        ("-1 days midnight", "2026-05-05 00:00:00"),
        ("today -1 day", "2026-05-05 00:00:00"),
        ("monday", "2026-05-11 00:00:00"),
        ("wednesday", "2026-05-06 00:00:00"),
        ("this wednesday", "2026-05-06 00:00:00"),
        ("last monday", "2026-05-04 00:00:00"),
        ("last wednesday", "2026-04-29 00:00:00"),
        ("previous thu", "2026-04-30 00:00:00"),
        ("next wednesday", "2026-05-13 00:00:00"),
        ("third friday", "2026-05-22 00:00:00"),
        ("monday this week", "2026-05-04 00:00:00"),
        ("sunday this week", "2026-05-10 00:00:00"),
        ("monday next week", "2026-05-11 00:00:00"),
        ("last week monday 06:15", "2026-04-27 06:15:00"),
        ("next week", "2026-05-11 12:30:15"),
        ("this week", "2026-05-04 12:30:15"),
        ("first day of this month", "2026-05-01 12:30:15"),
        ("first day of last month midnight", "2026-04-01 00:00:00"),
        ("midnight first day of january this year", "2026-01-01 00:00:00"),
        ("last day of february 2024", "2024-02-29 00:00:00"),
        ("first monday of january 2026", "2026-01-05 00:00:00"),
        ("last friday of this month", "2026-05-29 00:00:00"),
    ],
)
def test_names_of_days_and_months_mean_their_first_moment(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.rules("IM-29", "OM-57", "IF-11")
@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-31", "-1 month", "2026-03-03 00:00:00"),
        ("2024-02-29", "-1 year", "2023-03-01 00:00:00"),
        ("2026-01-31", "first day of next month", "2026-02-01 00:00:00"),
        ("2026-01-31", "last day of next month", "2026-02-28 00:00:00"),
        ("2026-01-31", "first monday of next month", "2026-02-02 00:00:00"),
        ("2026-05-10", "monday this week", "2026-05-04 00:00:00"),
        ("2026-05-11", "last monday", "2026-05-04 00:00:00"),
        ("2026-05-11", "monday", "2026-05-11 00:00:00"),
        ("2026-12-31", "tomorrow", "2027-01-01 00:00:00"),
    ],
)
def test_ends_of_months_and_weeks(now: str, text: str, expected: str) -> None:
    assert shown(text, datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected


@pytest.mark.rules("IM-29", "OM-57", "IF-11")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31 00:00:00"),
        ("2026-1-5", "2026-01-05 00:00:00"),
        ("2023-01-01 10:00:00", "2023-01-01 10:00:00"),
        ("2026-01-31 10:11", "2026-01-31 10:11:00"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31 08:00:00"),
        ("2026-01-31T10:00:00+0200", "2026-01-31 08:00:00"),
        ("2026-01-31T10:00:00-05", "2026-01-31 15:00:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31 10:00:00"),
        ("2026-01-31 10:00:00 UTC", "2026-01-31 10:00:00"),
        ("2026-01-31 10:00 Europe/Prague", "2026-01-31 09:00:00"),
        ("2026-01-31 10:00:00 -1 day", "2026-01-30 10:00:00"),
        ("2026/01/31", "2026-01-31 00:00:00"),
        ("01/31/2026", "2026-01-31 00:00:00"),
        ("31.1.2026", "2026-01-31 00:00:00"),
        ("31-01-2026", "2026-01-31 00:00:00"),
        ("20260131", "2026-01-31 00:00:00"),
        ("20260131T101112", "2026-01-31 10:11:12"),
        ("2026-05", "2026-05-01 00:00:00"),
        ("31 January 2026", "2026-01-31 00:00:00"),
        ("Jan 31, 2026", "2026-01-31 00:00:00"),
        ("january 2026", "2026-01-01 00:00:00"),
        ("1 january", "2026-01-01 00:00:00"),
        ("Thu, 01 Jan 2026 10:00:00 +0000", "2026-01-01 10:00:00"),
        ("10:30 pm", "2026-05-06 22:30:00"),
        ("12am", "2026-05-06 00:00:00"),
    ],
)
def test_dates_and_times(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.rules("IM-29")
def test_fractions_of_seconds_are_kept_because_states_have_them() -> None:
    assert shown("2026-01-31T10:00:00.123456+00:00") == "2026-01-31 10:00:00.123456"


@pytest.mark.rules("IM-29", "OM-57")
@pytest.mark.parametrize("value", [1700000000, 1700000000.0, "1700000000", "@1700000000", "1700000000.0"])
def test_unix_timestamps_are_numbers_or_texts(value: Any) -> None:
    assert shown(value) == "2023-11-14 22:13:20"


@pytest.mark.rules("IM-29", "IF-11", "OM-57")
@pytest.mark.parametrize(
    "text",
    [
        "banana", "", "foo 12", "last", "this", "first", "12", "1", "2026", "a week ago", "ago", "2 days ago foo",
        "-2 fortnoons", "2026-13-45", "2026-02-30", "13/25/2020", "31.13.2026", "24:00", "13pm", "may june",
        "2026-01-31 2026-02-01", "10:00 11:00", "2026-01-31T10:00:00Z Z", "10:00 Mars/Base", "-0530", "monday tuesday",
        "second week",
        "first day of this month -1 day", "+1 week yesterday", "next week ago", "this week last monday",
        "first monday of next year", "this monday of may", True, False, None, "P1D", "9" * 20, "1700000000000",
        "-999999999 days", "-9999 years", "x\x00", "[]", float("nan"), float("inf"), "٣ days", "1e9",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_examples_of_what_is_right(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^a\.b: .* is not a moment; write a date such as 2026-01-31"):
        moment(text, now=NOW, key="a.b")


@given(st.text(alphabet="0123456789-+:./ TZadehmnorstuwy@", max_size=20))
def test_no_text_ends_in_anything_but_a_time_or_a_refusal(text: str) -> None:
    with suppress(ConfigurationError):
        assert moment(text, now=NOW, key="k").utcoffset() is not None


@pytest.mark.rules("IM-29")
@given(st.integers(1, 500), st.sampled_from(["second", "minute", "hour", "day", "week"]))
def test_ago_and_minus_are_the_same(number: int, unit: str) -> None:
    expected = NOW - timedelta(**{f"{unit}s": number})
    assert moment(f"-{number} {unit}s", now=NOW, key="k") == expected
    assert moment(f"{number} {unit} ago", now=NOW, key="k") == expected
