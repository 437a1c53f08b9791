"""Schedules of configurations, as the project directory holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from docker_runner.documents import read_object


@dataclass(frozen=True)
class Schedule:
    """When a configuration runs by itself: a cron expression in a time zone."""

    cron: str
    timezone: str
    enabled: bool
    file: Path

    @classmethod
    def read(cls, file: Path) -> Schedule:
        """Read a schedule's ``config.json``.

        Raises:
            ConfigurationError: the file is not a schedule.
        """
        schedule = read_object(file, "schedule")["schedule"]
        return cls(
            cron=schedule["cronTab"],
            timezone=schedule["timezone"],
            enabled=schedule["state"] == "enabled",
            file=file,
        )
