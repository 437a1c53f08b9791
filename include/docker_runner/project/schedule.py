"""Schedules of configurations, as the project directory holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from docker_runner.documents import lines_shown, read_object
from docker_runner.errors import ConfigurationError


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
            ConfigurationError: the file is not a schedule, its cron expression or its time zone does not exist.
        """
        schedule = read_object(file, "schedule")["schedule"]
        try:
            ZoneInfo(schedule["timezone"])
        except (ValueError, OSError, ZoneInfoNotFoundError):
            problem = f"There is no time zone {schedule['timezone']!r}; write one such as UTC or Europe/Prague."
            raise ConfigurationError(problem, file=file, key="schedule.timezone") from None
        from croniter import croniter

        if not croniter.is_valid(schedule["cronTab"]):
            problem = f"{schedule['cronTab']!r} is not a cron expression; write one such as '0 6 * * *' (daily at six)."
            raise ConfigurationError(problem, file=file, key="schedule.cronTab")
        return cls(
            cron=schedule["cronTab"],
            timezone=schedule["timezone"],
            enabled=schedule["state"] == "enabled" and not _is_disabled(file.with_name("meta.json")),
            file=file,
        )


def _is_disabled(meta: Path) -> bool:
    return meta.exists() and bool(read_object(meta, "meta").get("isDisabled", False))
