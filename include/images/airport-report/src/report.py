"""The report's numbers and its text."""

from dataclasses import dataclass, field


@dataclass
class Day:
    """One day of one airport."""

    flights: int = 0
    cancelled: int = 0
    delayed: float = 0.0

    @property
    def trouble(self) -> float:
        """Share of the day's flights that were cancelled or delayed."""
        return (self.cancelled + self.delayed) / self.flights if self.flights else 0.0


@dataclass
class Summary:
    """Daily delays of one airport, added up row by row."""

    days: dict[str, Day] = field(default_factory=dict)
    carriers: set[str] = field(default_factory=set)

    def add(self, row: dict[str, str]) -> None:
        """Add one row of the table of daily delays."""
        flights, cancelled = int(row["flights"]), int(row["cancelled"])
        day = self.days.setdefault(row["day"], Day())
        day.flights += flights
        day.cancelled += cancelled
        day.delayed += float(row["delayed_share"] or 0) * (flights - cancelled)
        self.carriers.add(row["carrier"])


def render(airport: dict[str, str], summary: Summary, *, author: str, worst_days: int) -> str:
    """The report as Markdown."""
    flights = sum(day.flights for day in summary.days.values())
    cancelled = sum(day.cancelled for day in summary.days.values())
    delayed = round(sum(day.delayed for day in summary.days.values()))
    lines = [
        f"# {airport['name']} ({airport['faa']})",
        f"{airport['lat']}, {airport['lon']}, {airport['alt']} ft. From {min(summary.days)} to {max(summary.days)}.",
        "",
        f"- {flights} flights of {len(summary.carriers)} airlines on {len(summary.days)} days",
        f"- {cancelled} cancelled ({cancelled / flights:.1%}), {delayed} delayed ({delayed / flights:.1%})",
    ]
    worst = sorted(summary.days.items(), key=lambda item: (-item[1].trouble, item[0]))[:worst_days]
    if worst:
        lines += ["", "| worst day | flights | cancelled | delayed |", "| --- | --- | --- | --- |"]
        lines += [f"| {name} | {day.flights} | {day.cancelled} | {round(day.delayed)} |" for name, day in worst]
    return "\n".join([*lines, "", f"Written by {author}.", ""])
