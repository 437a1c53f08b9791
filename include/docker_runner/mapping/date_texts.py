"""Texts for moments as PHP's ``strtotime`` understands them, because that is what mappings are written for.

The forms that are documented and in use are understood, with PHP's results; all others are refused. Nothing is guessed:
a date that selects other rows than its author meant would go unnoticed.

A text is read from left to right. Each part sets or moves something: a date, a time of day, a zone, a weekday, a
distance. Parts that reset the time of day (``yesterday``, names of weekdays) do so for what stands before them, so
``yesterday 10:00`` is ten o'clock and ``10:00 yesterday`` is midnight.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_ORDINALS = {
    "this": 0, "last": -1, "previous": -1, "next": 1, "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5,
    "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12,
}  # fmt: skip
_WHOLE_DAYS = {"today": 0, "midnight": 0, "yesterday": -1, "tomorrow": 1}
_SECONDS = {"sec": 1, "second": 1, "min": 60, "minute": 60, "hour": 3600}
_CALENDAR_DAYS = {"day": 1, "week": 7, "fortnight": 14}
_CALENDAR_MONTHS = {"month": 1, "year": 12}
_UNITS = {**_SECONDS, **_CALENDAR_DAYS, **_CALENDAR_MONTHS}

_DAY = (
    r"(?P<weekday>mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:r|rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
)
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_UNIT = rf"(?P<unit>{'|'.join(_UNITS)})s?"
_ORDINAL = rf"(?P<ordinal>{'|'.join(_ORDINALS)})"
_NTH = r"(?:st|nd|rd|th)?"


@dataclass
class _Reading:
    """What has been read of a text so far.

    ``named_week`` is set by texts such as ``this week``: a weekday is then one of that week, from Monday to Sunday.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    time: time | None = None
    zone: tzinfo | None = None
    months: int = 0
    days: int = 0
    seconds: int = 0
    weekday: int | None = None
    weekday_may_be_today: bool = True
    named_week: bool = False
    edge_of_month: str = ""
    nth_weekday: tuple[int, int] | None = None
    seen: set[str] = field(default_factory=set)

    def once(self, what: str) -> None:
        """Refuse a second date, time or zone."""
        if what in self.seen:
            raise ValueError(f"two {what}s")
        self.seen.add(what)

    def set_date(self, match: re.Match[str]) -> None:
        self.once("date")
        parts = match.groupdict()
        name = parts["month"]
        self.month = int(name) if name.isdigit() else _index(_MONTHS, name) + 1
        self.year = int(parts["year"]) if parts.get("year") else None
        self.day = int(parts["day"]) if parts.get("day") else 1 if self.year else None

    def set_time(self, match: re.Match[str]) -> None:
        self.once("time")
        parts = match.groupdict()
        hour, half = int(parts["hour"]), (parts.get("half") or "").lower()
        if half and not 1 <= hour <= 12:
            raise ValueError("no such hour")
        hour = hour % 12 + (12 if half == "p" else 0) if half else hour
        fraction = (parts.get("fraction") or "0")[:6].ljust(6, "0")
        self.time = time(hour, int(parts.get("minute") or 0), int(parts.get("second") or 0), int(fraction))

    def set_zone(self, match: re.Match[str]) -> None:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        self.once("zone")
        parts = match.groupdict()
        if parts.get("area"):
            try:
                self.zone = ZoneInfo(parts["area"])
            except ZoneInfoNotFoundError:
                raise ValueError("no such zone") from None
        elif parts.get("sign"):
            if "time" not in self.seen:
                raise ValueError("an offset without a time")
            offset = timedelta(hours=int(parts["hours"]), minutes=int(parts["minutes"] or 0))
            self.zone = timezone(-offset if parts["sign"] == "-" else offset)
        else:
            self.zone = UTC

    def set_noon(self, _match: re.Match[str]) -> None:
        self.reset_time()
        self.once("time")
        self.time = time(12)

    def whole_day(self, match: re.Match[str]) -> None:
        self.reset_time()
        days = _WHOLE_DAYS[match["word"].lower()]
        if days and self.days:
            raise ValueError("PHP would leave the distance before it out")
        self.days += days

    def reset_time(self) -> None:
        self.seen.discard("time")
        self.time = time(0)

    def nothing(self, _match: re.Match[str]) -> None:
        """``now`` says nothing more."""

    def move(self, match: re.Match[str]) -> None:
        self._move(int(match["number"]) * (-1 if match["sign"] == "-" else 1), match["unit"].lower())

    def move_by_ordinal(self, match: re.Match[str]) -> None:
        unit, amount = match["unit"].lower(), _ORDINALS[match["ordinal"].lower()]
        self._move(amount, unit)
        if unit == "week":
            if amount > 1:
                raise ValueError("which week?")
            self.named_week = True

    def _move(self, amount: int, unit: str) -> None:
        self.seen.add("years" if unit == "year" else "distance")
        if unit in _SECONDS:
            self.seconds += amount * _SECONDS[unit]
        elif unit in _CALENDAR_DAYS:
            self.days += amount * _CALENDAR_DAYS[unit]
        else:
            self.months += amount * _CALENDAR_MONTHS[unit]

    def turn_back(self, _match: re.Match[str]) -> None:
        """``ago`` turns round every distance before it."""
        if not self.seen & {"distance", "years"} or self.weekday is not None or self.named_week:
            raise ValueError("ago without a distance")
        self.months, self.days, self.seconds = -self.months, -self.days, -self.seconds

    def set_weekday(self, match: re.Match[str]) -> None:
        self.once("weekday")
        self.reset_time()
        self.weekday = _index(_DAYS, match["weekday"])
        ordinal = _ORDINALS[(match.groupdict().get("ordinal") or "this").lower()]
        self.weekday_may_be_today = ordinal == 0
        self.days += 7 * (ordinal - 1 if ordinal > 0 else ordinal)

    def set_nth_weekday(self, match: re.Match[str]) -> None:
        self.once("weekday")
        self.reset_time()
        ordinal = _ORDINALS[match["ordinal"].lower()]
        if match["ordinal"].lower() in ("this", "next", "previous"):
            raise ValueError("which one?")
        self.nth_weekday = (ordinal, _index(_DAYS, match["weekday"]))

    def set_edge(self, match: re.Match[str]) -> None:
        self.once("edge of a month")
        self.edge_of_month = match["edge"].lower()

    def moment(self, now: datetime) -> datetime:
        """Put it together."""
        self._refuse_what_php_would_mix_up()
        day = date(self.year or now.year, self.month or now.month, self.day or now.day)
        clock = self.time or (time(0) if "date" in self.seen else now.time())
        if self.weekday is not None or self.named_week:
            day = self._to_weekday(day)
        month = day.year * 12 + day.month - 1 + self.months
        first = date(month // 12, month % 12 + 1, 1)
        if self.edge_of_month:
            day = first if self.edge_of_month == "first" else _last_of_month(first)
        elif self.nth_weekday:
            day = _nth_weekday(first, *self.nth_weekday)
        else:
            # A day that the month does not have runs over into the next one.
            day = first + timedelta(days=day.day - 1)
        found = datetime.combine(day, clock) + timedelta(days=self.days, seconds=self.seconds)
        return found.replace(tzinfo=self.zone or UTC)

    def _refuse_what_php_would_mix_up(self) -> None:
        """Some parts do not go together: PHP leaves one of them out, or takes them in another order."""
        days = bool(self.days or self.seconds or self.named_week or self.weekday is not None)
        if (self.edge_of_month and (days or self.nth_weekday)) or (
            self.nth_weekday and (days or self.edge_of_month or "years" in self.seen)
        ):
            raise ValueError("a day of a month and another distance")
        if self.named_week and not self.weekday_may_be_today:
            raise ValueError("two weeks")

    def _to_weekday(self, day: date) -> date:
        weekday = self.weekday or 0  # a named week begins on its Monday
        if self.named_week:
            return day + timedelta(days=weekday - day.weekday())
        ahead = (weekday - day.weekday()) % 7
        if ahead == 0 and not self.weekday_may_be_today:
            ahead = 7 if self.days >= 0 else 0
        return day + timedelta(days=ahead)


def _nth_weekday(first: date, number: int, weekday: int) -> date:
    """The n-th weekday of the month that begins with ``first``; -1 is its last one."""
    if number < 0:
        last = _last_of_month(first)
        return last - timedelta(days=(last.weekday() - weekday) % 7)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _last_of_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _index(names: tuple[str, ...], text: str) -> int:
    return next(index for index, name in enumerate(names) if name.startswith(text.lower()[:3]))


_Part = Callable[[_Reading, "re.Match[str]"], None]
_FIRST_MATCH_WINS: tuple[tuple[str, _Part], ...] = (
    (r"(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)", _Reading.set_date),
    (r"(?P<year>\d{4})/(?P<month>\d\d?)/(?P<day>\d\d?)", _Reading.set_date),
    (r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?=$|t\d)", _Reading.set_date),
    (r"(?P<year>\d{4})-(?P<month>\d\d)", _Reading.set_date),
    (r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})", _Reading.set_date),
    (r"(?P<day>\d\d?)(?P<separator>[.-])(?P<month>\d\d?)(?P=separator)(?P<year>\d{4})", _Reading.set_date),
    (rf"(?P<day>\d\d?){_NTH}[ .-]*{_MONTH}(?:[ .,-]+(?P<year>\d{{4}})(?!:))?", _Reading.set_date),
    (rf"{_MONTH}[ .-]+(?P<day>\d\d?){_NTH}(?:[ .,-]+(?P<year>\d{{4}})(?!:))?(?!:)", _Reading.set_date),
    (rf"{_MONTH}(?:[ .-]+(?P<year>\d{{4}})(?!:))?", _Reading.set_date),
    (
        r"t?(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
        r"(?:\s*(?P<half>[ap])m)?",
        _Reading.set_time,
    ),
    (r"t(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?", _Reading.set_time),
    (r"(?P<hour>\d\d?)\s*(?P<half>[ap])m", _Reading.set_time),
    (rf"(?P<sign>[+-]?)\s*(?P<number>\d{{1,9}})\s*{_UNIT}", _Reading.move),
    (r"(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?", _Reading.set_zone),
    (r"z|utc|gmt", _Reading.set_zone),
    (r"(?P<area>[A-Za-z_]+/[A-Za-z_/+-]+)", _Reading.set_zone),
    (r"(?P<edge>first|last)\s+day\s+of", _Reading.set_edge),
    (rf"{_ORDINAL}\s+{_DAY}\s+of", _Reading.set_nth_weekday),
    (rf"{_ORDINAL}\s+{_DAY}", _Reading.set_weekday),
    (rf"{_ORDINAL}\s+{_UNIT}", _Reading.move_by_ordinal),
    (_DAY, _Reading.set_weekday),
    (rf"(?P<word>{'|'.join(_WHOLE_DAYS)})", _Reading.whole_day),
    (r"noon", _Reading.set_noon),
    (r"now", _Reading.nothing),
    (r"ago", _Reading.turn_back),
)
_PARTS = tuple(
    (re.compile(rf"{pattern}(?=$|[^a-z0-9]|t\d|z$)", re.IGNORECASE | re.ASCII), part)
    for pattern, part in _FIRST_MATCH_WINS
)
_BETWEEN = re.compile(r"[ \t,]*")


def read_date_text(text: str, *, now: datetime) -> datetime:
    """Understand a text as ``strtotime`` does (IM-29, IF-11).

    Args:
        text: e.g. ``-2 days``, ``yesterday noon``, ``monday this week``, ``2026-01-31T10:00:00+0200``.
        now: what relative texts refer to; in UTC.

    Raises:
        ValueError: the text is none of the forms, or names a day that does not exist.
        OverflowError: it lies beyond the calendar.
    """
    reading = _Reading()
    position = 0
    while position < len(text):
        match, part = next(
            ((match, part) for pattern, part in _PARTS if (match := pattern.match(text, position))), (None, None)
        )
        if match is None or part is None:
            raise ValueError("not a moment")
        part(reading, match)
        between = _BETWEEN.match(text, match.end())
        position = between.end() if between else match.end()
    if not text:
        raise ValueError("nothing")
    return reading.moment(now)
