"""What starts a DAG by itself: schedules with a time zone, or changes of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.branches import branch_table
from docker_runner.project.run_options import Trigger
from docker_runner_airflow.assets import is_table_id, table_asset

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import Asset
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
    zones = {schedule.timezone for schedule in enabled}
    if len(zones) > 1:
        raise ConfigurationError(
            f"The schedules of one configuration must have one time zone, not {' and '.join(sorted(zones))}.",
            file=enabled[0].file,
            key="schedule.timezone",
        )
    from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

    if len(enabled) == 1:
        return CronTriggerTimetable(enabled[0].cron, timezone=enabled[0].timezone)
    return MultipleCronTriggerTimetable(*(schedule.cron for schedule in enabled), timezone=enabled[0].timezone)


def changes(trigger: Trigger, tables: Sequence[str], *, own: Sequence[Asset], branch: str, file: Path | str) -> Any:
    """The change of which tables starts a DAG.

    Args:
        trigger: one of the tables, or each of them since the last run.
        tables: ids of the tables that the configuration reads.
        own: assets of tables that it writes itself; their changes do not start it again.
        branch: id of the development branch, which reads its own tables where there are any (BR-3); may be empty.
        file: for errors.

    Raises:
        ConfigurationError: a table is known at run time only, or no table is left.
    """
    from airflow.sdk import AssetAll, AssetAny

    wanted = []
    for table in tables:
        if not is_table_id(table):
            raise ConfigurationError(
                f"A change of {table!r} cannot start a run: write its id (stage.bucket.table) without variables.",
                file=file,
                key="runtime.trigger",
            )
        candidates = [
            asset
            for name in dict.fromkeys((branch_table(table, branch), table))
            if (asset := table_asset(name)) not in own
        ]
        if candidates:
            wanted.append(candidates[0] if len(candidates) == 1 else AssetAny(*candidates))
    if not wanted:
        raise ConfigurationError(
            "The configuration reads only tables that it writes itself, so it would start itself for ever: "
            "give it a schedule instead of the trigger.",
            file=file,
            key="runtime.trigger",
        )
    if len(wanted) == 1:
        return wanted[0]
    return AssetAny(*wanted) if trigger is Trigger.ANY_INPUT else AssetAll(*wanted)
