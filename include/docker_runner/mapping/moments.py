"""Moments as people write them in mappings: unix timestamps, ISO 8601, and relative texts such as ``-2 days``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.date_texts import read_date_text

# Fewer digits are a time of the years up to 1973, which nobody means, or part of a date.
_TIMESTAMP = re.compile(r"@-?\d+(?:\.\d+)?|\d{9,}(?:\.\d+)?", re.ASCII)


def moment(value: Any, *, now: datetime, key: str) -> datetime:
    """Understand a moment (IM-29, OM-57, IF-11).

    Args:
        value: unix timestamp (number or text), ISO 8601, ``-2 days``, ``yesterday``, … as PHP's ``strtotime``.
        now: what relative texts refer to; in UTC, which is also the zone of texts without one.
        key: path of the key, for the error.

    Raises:
        ConfigurationError: the text is not a moment.
    """
    # Python would write large numbers with an exponent.
    text = f"{value:f}" if isinstance(value, float) else str(value).strip()
    try:
        if _TIMESTAMP.fullmatch(text):
            return datetime.fromtimestamp(float(text.removeprefix("@")), tz=UTC)
        return read_date_text(text, now=now)
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"{text!r} is not a moment; write a date such as 2026-01-31, a relative one such as '-2 days', "
            "or a unix timestamp.",
            key=key,
        ) from None
