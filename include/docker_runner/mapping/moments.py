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
    import pendulum

    text = str(value).strip()
    if re.fullmatch(r"\d{5,}", text):
        return datetime.fromtimestamp(int(text), tz=UTC)
    offset = _OFFSET.fullmatch(text)
    if offset:
        unit = offset["unit"].lower()
        amount = int(offset["number"]) * (-1 if offset["sign"] == "-" or offset["ago"] else 1)
        return pendulum.instance(now).add(**{_UNITS.get(unit, f"{unit}s"): amount})
    try:
        parsed = pendulum.parse(text, tz="UTC", strict=True)
        if isinstance(parsed, pendulum.DateTime):
            return parsed
    except (ValueError, TypeError):
        pass
    return _from_words(text, now=now, key=key)


def _from_words(text: str, *, now: datetime, key: str) -> datetime:
    import dateparser

    found = dateparser.parse(
        text,
        languages=["en"],
        settings={"RELATIVE_BASE": now.replace(tzinfo=None), "TIMEZONE": "UTC", "TO_TIMEZONE": "UTC"},
    )
    if found is None:
        raise ConfigurationError(
            f"{text!r} is not a moment; write a date such as 2026-01-31, a relative one such as '-2 days', "
            "or a unix timestamp.",
            key=key,
        )
    return found.replace(tzinfo=UTC)
