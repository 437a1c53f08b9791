"""An API that only this component knows: its answers are made up, and always the same."""

from collections import defaultdict
from dataclasses import dataclass

QUANTITIES = ("temperature", "wind")
MOMENTS_PER_PAGE = 3


class WrongKeyError(Exception):
    """The key is not accepted."""


@dataclass(frozen=True)
class Page:
    """Rows by quantity, and where the next page begins."""

    by_quantity: dict
    next: int


class Client:
    """Answers whoever has a key; hands out a token and wants to see it again next time."""

    def __init__(self, key, *, token=None):
        if not key.startswith("key-"):
            raise WrongKeyError("it must begin with key-")
        self.token = token or f"token-of-{key}"

    def stations(self, names):
        """Each station with its height."""
        return [(name, 100 * number) for number, name in enumerate(names, start=1)]

    def readings(self, names, *, after):
        """The next page."""
        found = defaultdict(list)
        for moment in range(after, after + MOMENTS_PER_PAGE):
            for number, name in enumerate(names, start=1):
                quantity = QUANTITIES[moment % len(QUANTITIES)]
                found[quantity].append({"station": name, "moment": moment, "value": f"{number + moment / 4:.2f}"})
        return Page(dict(found), after + MOMENTS_PER_PAGE)
