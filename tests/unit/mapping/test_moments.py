"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.moments import moment

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)


@pytest.mark.rules("IM-29", "OM-57", "IF-11")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2 days", "2026-05-04T12:30:00+00:00"),
        ("2 days ago", "2026-05-04T12:30:00+00:00"),
        ("-1 month", "2026-04-06T12:30:00+00:00"),
        ("+3 hours", "2026-05-06T15:30:00+00:00"),
        ("- 10 Minutes", "2026-05-06T12:20:00+00:00"),
        ("now", "2026-05-06T12:30:00+00:00"),
        ("yesterday", "2026-05-05T00:00:00+00:00"),
        ("Today", "2026-05-06T00:00:00+00:00"),
        ("tomorrow", "2026-05-07T00:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31 10:11:12", "2026-01-31T10:11:12+00:00"),
        ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T10:00:00+0200", "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T10:00:00.123456Z", "2026-01-31T10:00:00.123456+00:00"),
        ("31 January 2026", "2026-01-31T00:00:00+00:00"),
        (1700000000, "2023-11-14T22:13:20+00:00"),
        ("1700000000", "2023-11-14T22:13:20+00:00"),
    ],
)
def test_relative_iso_and_unix_moments_are_understood(text: Any, expected: str) -> None:
    assert moment(text, now=NOW, key="k").astimezone(UTC).isoformat() == expected


@pytest.mark.rules("IM-29", "IF-11")
@pytest.mark.parametrize(
    "text", ["banana", "", "-2 fortnoons", "2026-13-45", True, "P1D", "9" * 20, "-999999999 days", "x\x00", "[]"]
)
def test_nonsense_is_refused_with_examples_of_what_is_right(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^a\.b: .* is not a moment; write a date such as 2026-01-31"):
        moment(text, now=NOW, key="a.b")
