"""The parameters of the component, checked."""

from dataclasses import dataclass

from keboola.component import UserException

MINUTES_OF_A_DAY = 24 * 60


@dataclass(frozen=True)
class Parameters:
    """What the author of a configuration can choose.

    Attributes:
        delayed_from_minutes: departures at least this late count as delayed.
    """

    delayed_from_minutes: int = 15

    @classmethod
    def from_configuration(cls, parameters: dict) -> "Parameters":
        """Check the ``parameters`` of a configuration; a UserException names the one that is wrong."""
        unknown = sorted(set(parameters) - {"delayed_from_minutes", "debug"})
        if unknown:
            raise UserException(f"Unknown parameter {unknown[0]!r}: the only parameter is 'delayed_from_minutes'.")
        minutes = parameters.get("delayed_from_minutes", cls.delayed_from_minutes)
        whole_number = isinstance(minutes, int) and not isinstance(minutes, bool)
        if not whole_number or not 0 < minutes <= MINUTES_OF_A_DAY:
            right = f"a whole number from 1 to {MINUTES_OF_A_DAY}"
            raise UserException(f"Parameter 'delayed_from_minutes' must be {right}, not {minutes!r}.")
        return cls(delayed_from_minutes=minutes)
