"""Schedules of configurations, as the project directory holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from docker_runner.documents import lines_shown, read_object
from docker_runner.errors import ConfigurationError

_FIELDS = 5
_RANDOM = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Schedule:
    """When a configuration runs by itself: a cron expression in a time zone."""

    cron: str
    timezone: str
    enabled: bool
    file: Path

    @classmethod
    @lines_shown()
    def read(cls, file: Path) -> Schedule:
        """Read a schedule's ``config.json``, and from the ``meta.json`` beside it whether it is disabled.

        Raises:
            ConfigurationError: the file is not a schedule, its cron expression or its time zone does not exist, or
                its time never comes.
        """
        schedule = read_object(file, "schedule")["schedule"]
        try:
            ZoneInfo(schedule["timezone"])
        except (ValueError, OSError, ZoneInfoNotFoundError):
            problem = f"There is no time zone {schedule['timezone']!r}; write one such as UTC or Europe/Prague."
            raise ConfigurationError(problem, file=file, key="schedule.timezone") from None
        if problem := _cron_problem(schedule["cronTab"]):
            raise ConfigurationError(problem, file=file, key="schedule.cronTab")
        return cls(
            cron=schedule["cronTab"],
            timezone=schedule["timezone"],
            enabled=schedule["state"] == "enabled" and not _is_disabled(file.with_name("meta.json")),
            file=file,
        )


def _cron_problem(cron: str) -> str:
    """What is wrong with a cron expression; empty when nothing is."""
    from croniter import CroniterBadDateError, CroniterError, croniter

    fields = cron.split()
    is_alias = len(fields) == 1 and cron.startswith("@")
    # croniter takes more than people mean: seconds as the sixth field of six, and times that it draws by lot.
    no_expression = f"{cron!r} is not a cron expression; write five fields such as '0 6 * * *' (daily at six)."
    if not (is_alias or len(fields) == _FIELDS) or _RANDOM.search(cron):
        return no_expression
    try:
        croniter(cron).get_next()
    except CroniterBadDateError:
        return f"The time {cron!r} never comes; write one such as '0 6 * * *' (daily at six)."
    except CroniterError:
        return no_expression
    return ""


def _is_disabled(meta: Path) -> bool:
    return meta.exists() and bool(read_object(meta, "meta").get("isDisabled", False))
