"""Tables as CSV."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from docker_runner.errors import NotFoundError, UserError
from docker_runner.storage.base import Exported, LoadedTable, Operator, Storage, Where

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"


@pytest.mark.rules("IM-36", "IM-37")
def test_every_field_is_quoted_and_lines_end_with_a_newline(lake: Storage, load: Load, tmp_path: Path) -> None:
    load('id,v\n1,\n2,"a""b\nc\r\nd"\n')
    target = tmp_path / "out" / "t.csv"
    target.parent.mkdir()
    exported = lake.export_table(ID, target, columns=("v", "id"), where=Where("id", ("2",)))
    assert target.read_bytes() == b'"v","id"\n"a""b\nc\r\nd","2"\n'
    assert exported == Exported(columns=("v", "id"), rows=1, bytes=target.stat().st_size)
    lake.export_table(ID, target, where=Where("id", ("1",)))
    assert target.read_bytes() == b'"id","v"\n"1",""\n'
    assert [path.name for path in target.parent.iterdir()] == ["t.csv"]


@pytest.mark.rules("IM-36")
def test_no_rows_are_a_header(lake: Storage, load: Load, tmp_path: Path) -> None:
    load("id,v\n")
    exported = lake.export_table(ID, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b'"id","v"\n'
    assert exported.rows == 0


@pytest.mark.rules("IM-32", "IM-10")
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (Where("v", ("a", "b")), ["1", "2"]),
        (Where("v", ("a", "b"), Operator.NE), ["3", "4"]),
        (Where("v", ("",)), ["3"]),
        (Where("v", ("it's; --",)), ["4"]),
        (Where("V", ("a",)), ["1"]),
    ],
)
def test_rows_are_chosen_by_values(load: Load, rows: Rows, where: Where, ids: list[str]) -> None:
    load("id,v\n1,a\n2,b\n3,\n4,it's; --\n")
    assert [row[0] for row in rows(where=where)] == ids


@pytest.mark.rules("IM-32")
def test_filters_are_combined_and_then_limited(lake: Storage, load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n2,a\n")
    since = lake.table(ID).last_import_date
    load("id,v\n3,a\n4,a\n5,b\n", incremental=True)
    assert [row[0] for row in rows(where=Where("v", ("a",)), changed_since=since)] == ["3", "4"]
    assert len(rows(where=Where("v", ("a",)), changed_since=since, limit=1)) == 1
    assert rows(limit=0) == []


@pytest.mark.rules("IM-29", "IM-30")
@pytest.mark.locations
def test_after_an_import_exactly_the_new_rows_are_exported_also_within_one_second(
    lake: Storage, load: Load, rows: Rows
) -> None:
    load("id\n0\n")
    for number in range(1, 6):
        state = datetime.fromisoformat(lake.table(ID).last_import_date.isoformat())
        assert rows(changed_since=state) == []
        load(f"id\n{number}\n", incremental=True)
        assert rows(changed_since=state) == [[str(number)]]
    load("id\n9\n")
    assert rows(changed_since=state) == [["9"]]


@pytest.mark.rules("IM-30", "IM-31")
def test_an_export_finds_the_rows_of_the_next_load_also_when_the_clock_was_set_back(
    lake: Storage, load: Load, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("id\n1\n")
    state = lake.table(ID).last_import_date

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Earlier:
            return cls(2020, 1, 1, tzinfo=tz)

    monkeypatch.setattr("docker_runner.storage.lake.import_dates.datetime", Earlier)
    load("id\n2\n", incremental=True)
    assert lake.table(ID).last_import_date > state
    assert rows(changed_since=state) == [["2"]]


@pytest.mark.rules("IM-29")
def test_changed_since_takes_any_time_zone(load: Load, rows: Rows) -> None:
    from datetime import timezone

    load("id\n1\n")
    now = datetime.now(timezone(timedelta(hours=9)))
    assert rows(changed_since=now - timedelta(minutes=1)) == [["1"]]
    assert rows(changed_since=now.astimezone(UTC) + timedelta(minutes=1)) == []


@pytest.mark.rules("IM-39")
def test_an_unknown_table_is_told_with_similar_ones(lake: Storage, load: Load, tmp_path: Path) -> None:
    load("id\n1\n", "in.c-main.orders")
    with pytest.raises(NotFoundError, match=r"There is no table in\.c-main\.oders .* Similar: in\.c-main\.orders\."):
        lake.export_table("in.c-main.oders", tmp_path / "t.csv")
    with pytest.raises(NotFoundError):
        lake.drop_table("in.c-main.oders")


@pytest.mark.rules("IM-33")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": ("id", "x", "y")}, "There is no column x, y. The table has: id, v."),
        ({"where": Where("x", ("1",))}, "There is no column x."),
        ({"columns": ("_timestamp",)}, "There is no column _timestamp."),
        ({"columns": ("id", "ID")}, "once only"),
        ({"limit": -1}, "must be 0 or more"),
    ],
)
def test_an_impossible_export_is_refused_and_leaves_the_target_alone(
    lake: Storage, load: Load, tmp_path: Path, options: dict[str, object], problem: str
) -> None:
    load("id,v\n1,a\n")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "t.csv").write_text("before")
    with pytest.raises(UserError) as error:
        lake.export_table(ID, tmp_path / "t" / "t.csv", **options)  # type: ignore[arg-type]
    assert problem in str(error.value)
    assert [(path.name, path.read_text()) for path in (tmp_path / "t").iterdir()] == [("t.csv", "before")]
