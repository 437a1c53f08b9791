"""Who reads what has changed since a load finds the next one, whatever the clock of the machine says that made it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import pytest

from docker_runner.storage.base import LoadedTable
from docker_runner.storage.lake import import_dates
from docker_runner.storage.lake.lake import Lake

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
TABLE, OTHER = "in.c-main.t", "in.c-main.other"


class Clock(datetime):
    """The clock of a machine."""

    behind = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - cls.behind


@pytest.mark.rules("IM-30")
@pytest.mark.locations
def test_a_table_that_was_dropped_and_comes_back_on_a_machine_whose_clock_is_behind_has_changed(
    lake: Lake, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_dates, "datetime", Clock)
    load("id\n1\n", OTHER)
    load("id\n1\n")
    seen = lake.table(TABLE).last_import_date
    snapshot = lake.history(TABLE)[0].snapshot
    lake.drop_table(TABLE)
    lake.drop_table(OTHER)  # it was loaded before the other one
    lake.maintain(timedelta(days=1))
    monkeypatch.setattr(Clock, "behind", timedelta(hours=1))
    for come_back in (
        lambda: load("id\n2\n"),
        lambda: lake.restore(TABLE, snapshot),
        lambda: lake.restore(TABLE, snapshot, new_id=OTHER),
    ):
        come_back()
        (table,) = lake.tables()
        assert rows(table.id, changed_since=seen) == rows(table.id)
        assert rows(table.id) != []
        assert table.last_import_date > seen
        seen = table.last_import_date
        assert rows(table.id, changed_since=seen) == []
        lake.drop_table(table.id)
    assert lake.bucket("in.c-main") is not None
