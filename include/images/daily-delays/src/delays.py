"""Delays per day, airport and airline, added up flight by flight."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from keboola.component import UserException

REQUIRED_COLUMNS = ("year", "month", "day", "dep_delay", "carrier", "origin")
OUTPUT_COLUMNS = ("day", "origin", "carrier", "flights", "cancelled", "average_departure_delay", "delayed_share")
PRIMARY_KEY = ("day", "origin", "carrier")
# The published data write NA for a flight that never left; a table in Storage may also keep nothing at all.
CANCELLED = ("", "NA")


@dataclass
class Delays:
    """Sums of one day, airport and airline; the delay is in minutes, early departures count as negative."""

    flights: int = 0
    cancelled: int = 0
    delayed: int = 0
    total_delay: int = 0


def read_flights(lines: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """Read flights from a CSV with a header, one at a time; a UserException names missing columns."""
    reader = csv.DictReader(lines)
    missing = [column for column in REQUIRED_COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UserException(f"The table of flights lacks the columns {', '.join(missing)}: add them to its mapping.")
    return iter(reader)


def add_up(flights: Iterable[Mapping[str, str]], delayed_from_minutes: int) -> dict[tuple[str, str, str], Delays]:
    """Add up flights; memory grows with days, airports and airlines, not with flights."""
    sums: dict[tuple[str, str, str], Delays] = {}
    days: dict[tuple[str, str, str], str] = {}
    for number, flight in enumerate(flights, start=1):
        written = (flight["year"], flight["month"], flight["day"])
        try:
            day = days.get(written)
            if day is None:
                day = days[written] = date(*map(int, written)).isoformat()
            delay = None if flight["dep_delay"] in CANCELLED else int(flight["dep_delay"])
        except (TypeError, ValueError) as error:
            raise UserException(f"Row {number} of the table of flights: {error}.") from error
        key = (day, flight["origin"], flight["carrier"])
        delays = sums.get(key)
        if delays is None:
            delays = sums[key] = Delays()
        delays.flights += 1
        if delay is None:
            delays.cancelled += 1
        else:
            delays.total_delay += delay
            delays.delayed += delay >= delayed_from_minutes
    return sums


def as_rows(sums: Mapping[tuple[str, str, str], Delays]) -> Iterator[list[object]]:
    """Rows of the output table in order of the key; averages are empty where no flight departed."""
    for key in sorted(sums):
        delays = sums[key]
        departed = delays.flights - delays.cancelled
        average = f"{delays.total_delay / departed:.2f}" if departed else ""
        share = f"{delays.delayed / departed:.4f}" if departed else ""
        yield [*key, delays.flights, delays.cancelled, average, share]
