"""Moments as people write them in mappings: unix timestamps, ISO 8601, and relative texts such as ``-2 days``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from docker_runner.errors import ConfigurationError

_OFFSET = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<number>\d+)\s*(?P<unit>sec|second|min|minute|hour|day|week|month|year)s?(?P<ago>\s+ago)?",
    re.IGNORECASE,
)
_DAYS = {"today": 0, "midnight": 0, "yesterday": -1, "tomorrow": 1}
_UNITS = {"sec": "seconds", "min": "minutes"}


def moment(value: Any, *, now: datetime, key: str) -> datetime:
    """Understand a moment (IM-29, OM-57, IF-11).

    Args:
        value: unix timestamp (number or digits), ISO 8601, ``-2 days``, ``yesterday``, …
        now: what relative texts refer to.
        key: path of the key, for the error.

    Raises:
        ConfigurationError: the text is not a moment.
    """
    text = str(value).strip()
    try:
        found = _exact(text, now=now) or _from_words(text, now=now)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ConfigurationError(
            f"{text!r} is not a moment; write a date such as 2026-01-31, a relative one such as '-2 days', "
            "or a unix timestamp.",
            key=key,
        )
    return found


def _exact(text: str, *, now: datetime) -> datetime | None:
    import pendulum

    if re.fullmatch(r"\d{5,}", text):
        return datetime.fromtimestamp(int(text), tz=UTC)
    if text.lower() in _DAYS:
        # As in PHP these mean the day's first moment, not this time of day.
        return pendulum.instance(now).add(days=_DAYS[text.lower()]).start_of("day")
    if text.lower() == "now":
        return now
    offset = _OFFSET.fullmatch(text)
    if offset:
        unit = offset["unit"].lower()
        amount = int(offset["number"]) * (-1 if offset["sign"] == "-" or offset["ago"] else 1)
        return pendulum.instance(now).add(**{_UNITS.get(unit, f"{unit}s"): amount})
    try:
        parsed = pendulum.parse(text, tz="UTC", strict=True)
    except (ValueError, TypeError):
        return None
    return parsed if isinstance(parsed, pendulum.DateTime) else None


def _from_words(text: str, *, now: datetime) -> datetime | None:
    import dateparser

    found = dateparser.parse(
        text,
        languages=["en"],
        settings={"RELATIVE_BASE": now.replace(tzinfo=None), "TIMEZONE": "UTC", "TO_TIMEZONE": "UTC"},
    )
    return found.replace(tzinfo=UTC) if found else None
