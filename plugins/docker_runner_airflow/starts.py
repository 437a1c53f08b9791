"""What starts a DAG by itself: schedules with a time zone, or changes of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from docker_runner.project.run_options import Trigger
from docker_runner.project.starts import refuse_several_zones
from docker_runner_airflow.assets import table_asset

if TYPE_CHECKING:
    from airflow.timetables.base import Timetable

    from docker_runner.project.schedule import Schedule


def timetable(schedules: Sequence[Schedule]) -> Timetable | None:
    """When a DAG runs by its enabled schedules; None without any.

    Raises:
        ConfigurationError: they do not have one time zone.
    """
    enabled = [schedule for schedule in schedules if schedule.enabled]
    if not enabled:
        return None
    refuse_several_zones(enabled)
    from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

    if len(enabled) == 1:
        return CronTriggerTimetable(enabled[0].cron, timezone=enabled[0].timezone)
    return MultipleCronTriggerTimetable(*(schedule.cron for schedule in enabled), timezone=enabled[0].timezone)


def changes(trigger: Trigger, tables: Sequence[tuple[str, ...]]) -> Any:
    """The change of which tables starts a DAG.

    Args:
        trigger: one of the tables, or each of them since the last run.
        tables: ids of tables, see :func:`docker_runner.project.starts.starting_tables`; there is at least one.
    """
    from airflow.sdk import AssetAll, AssetAny

    wanted = []
    for names in tables:
        candidates = [table_asset(name) for name in names]
        wanted.append(candidates[0] if len(candidates) == 1 else AssetAny(*candidates))
    if len(wanted) == 1:
        return wanted[0]
    return AssetAny(*wanted) if trigger is Trigger.ANY_INPUT else AssetAll(*wanted)
