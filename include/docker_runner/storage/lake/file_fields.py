"""The fields of stored files that a query can name, and what it can ask of them (IF-3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from docker_runner.storage.lake import sql

TAGS = """from_json(document->'tags', '["VARCHAR"]')"""
"""SQL of a file's tags."""

CREATED = "(document->>'created')::TIMESTAMPTZ"
"""SQL of the time when a file was stored."""

_NAME = "(document->>'name')"
_UNITS = {
    "y": "years",
    "M": "months",
    "w": "weeks",
    "d": "days",
    "h": "hours",
    "H": "hours",
    "m": "minutes",
    "s": "seconds",
}
_ROUNDED = {"y": "year", "M": "month", "w": "week", "d": "day", "h": "hour", "H": "hour", "m": "minute", "s": "second"}
_FROM_NOW = re.compile(r"now((?:[+-]\d{1,6}[yMwdhHms])*)(?:/([yMwdhHms]))?")
_TIME = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?(Z|[+-]\d{2}:?\d{2})?)?)?)?"
)

End = tuple[str, bool]
"""An end of a range as written, and whether it belongs to the range."""


class Field(Protocol):
    """What can be asked of a field; the answers are SQL that is true or false, never NULL.

    Every method raises ValueError with the rest of a sentence that begins with the field's name.
    """

    @property
    def exists(self) -> str:
        """The file has a value."""

    def equals(self, text: str) -> str:
        """The value is this."""

    def like(self, pattern: str) -> str:
        """The value matches a pattern of SQL's LIKE."""

    def between(self, low: End | None, high: End | None) -> str:
        """The value is in a range; None for an end that is open."""


@dataclass(frozen=True)
class _Texts:
    """Name, tags or both."""

    name: bool
    tags: bool

    @property
    def exists(self) -> str:
        return "true" if self.name else f"(len({TAGS}) > 0)"

    def equals(self, text: str) -> str:
        value = sql.text(text)
        name, words = f"' ' || {_words(_NAME)} || ' '", f"' ' || {_words(value)} || ' '"
        in_name = f"lower({_NAME}) = lower({value}) OR ({_words(value)} <> '' AND contains({name}, {words}))"
        return self._either(in_name, f"list_contains({TAGS}, {value})")

    def like(self, pattern: str) -> str:
        def matching(texts: str, operator: str) -> str:
            return f"len(list_filter({texts}, lambda text: text {operator} {sql.text(pattern)} ESCAPE '\\')) > 0"

        names = f"list_append(string_split({_words(_NAME)}, ' '), {_NAME})"
        return self._either(matching(names, "ILIKE"), matching(TAGS, "LIKE"))

    def between(self, low: End | None, high: End | None) -> str:
        raise ValueError(f"takes no ranges; {low or high} is one")

    def _either(self, in_name: str, in_tags: str) -> str:
        return f"({' OR '.join([in_name] * self.name + [in_tags] * self.tags)})"


@dataclass(frozen=True)
class _Flag:
    """True or false."""

    value: str
    exists: str = "true"

    def equals(self, text: str) -> str:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"is true or false, not {text!r}")
        return f"({self.value} = {text.lower()})"

    def like(self, pattern: str) -> str:
        raise ValueError(f"takes no wildcards such as {pattern!r}")

    def between(self, low: End | None, high: End | None) -> str:
        raise ValueError(f"takes no ranges; {low or high} is one")


@dataclass(frozen=True)
class _Ordered:
    """Numbers and times. A text stands for a span, e.g. a day: from its first value to the first after it, as SQL."""

    value: str
    span: Callable[[str], tuple[str, str]]

    @property
    def exists(self) -> str:
        return f"({self.value} IS NOT NULL)"

    def equals(self, text: str) -> str:
        return self.between((text, True), (text, True))

    def like(self, pattern: str) -> str:
        raise ValueError(f"takes no wildcards such as {pattern!r}")

    def between(self, low: End | None, high: End | None) -> str:
        conditions = [self.exists]
        if low:
            start, end = self.span(low[0])
            conditions.append(f"{self.value} >= {start if low[1] else end}")
        if high:
            start, end = self.span(high[0])
            conditions.append(f"{self.value} < {end if high[1] else start}")
        return f"coalesce({' AND '.join(conditions)}, false)"


def file_fields(now: datetime) -> Mapping[str, Field]:
    """The fields by name; "" is what words without a field are looked for in.

    Args:
        now: what ``now`` means in times.
    """

    def times(text: str) -> tuple[str, str]:
        start, end = time_span(text, now=now)
        return sql.time(start), sql.time(end)

    return {
        "": _Texts(name=True, tags=True),
        "name": _Texts(name=True, tags=False),
        "tags": _Texts(name=False, tags=True),
        "id": _Ordered("id", _number_span),
        "sizeBytes": _Ordered("(document->>'size_bytes')::BIGINT", _number_span),
        "maxAgeDays": _Ordered("(document->>'max_age_days')::BIGINT", _number_span),
        "created": _Ordered(CREATED, times),
        "isPublic": _Flag("(document->>'is_public')::BOOLEAN"),
        "isPermanent": _Flag("(document->>'is_permanent')::BOOLEAN"),
        "isEncrypted": _Flag("(document->>'is_encrypted')::BOOLEAN"),
        "isSliced": _Flag("(document->>'is_sliced')::BOOLEAN"),
    }


def time_span(text: str, *, now: datetime) -> tuple[datetime, datetime]:
    """The time that a text means, from its first moment to the first after it.

    Written are ``2026``, ``2026-01``, ``2026-01-31``, ``2026-01-31T10:00`` (also with seconds, a fraction, ``Z`` or an
    offset; UTC is meant without one), or ``now`` with shifts and a rounding: ``now-1d``, ``now-1M/d``.

    Args:
        text: the text.
        now: what ``now`` means.

    Raises:
        ValueError: it is no time.
    """
    import pendulum

    from_now = _FROM_NOW.fullmatch(text)
    try:
        if from_now:
            start = pendulum.instance(now).in_timezone("UTC")
            for shift in re.findall(r"[+-]\d+.", from_now[1]):
                start = start.add(**{_UNITS[shift[-1]]: int(shift[:-1])})
            unit: str | None = _ROUNDED.get(from_now[2] or "")
            start = start.start_of(unit) if unit else start
        else:
            found = _TIME.fullmatch(text)
            if not found:
                raise ValueError
            numbers = [int(part) for part in found.groups()[:6] if part]
            unit = ("year", "month", "day", "hour", "minute", "second")[len(numbers) - 1]
            year, month, day, hour, minute, second = [*numbers, *(1, 1, 1, 0, 0, 0)[len(numbers) :]]
            fraction = int((found[7] or "").ljust(6, "0"))
            zone = UTC if found[8] in (None, "Z") else datetime.strptime(found[8], "%z").tzinfo
            start = pendulum.instance(datetime(year, month, day, hour, minute, second, fraction, zone))
            unit = None if found[7] else unit
        end = start.add(**{f"{unit}s": 1}) if unit else start + timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a time such as 2026-01-31, 2026-01-31T10:00 or now-1d, not {text!r}") from None
    return start, end


def _number_span(text: str) -> tuple[str, str]:
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise ValueError(f"must be a whole number, not {text!r}")
    return text, str(int(text) + 1)


def _words(text: str) -> str:
    """SQL of the words of a text, in lower case and with blanks between them."""
    return f"trim(regexp_replace(lower({text}), '[^\\pL\\pM\\pN]+', ' ', 'g'))"
