"""What loads do to a table: rows, keys, columns, delete rules, metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docker_runner.errors import UserError
from docker_runner.storage.base import (
    Commit,
    DeleteWhere,
    LoadedTable,
    MetadataItem,
    Operator,
    Storage,
    TableLoad,
    Where,
)
from docker_runner.storage.lake.lake import Lake

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"


@pytest.mark.rules("OM-51", "OM-52")
@pytest.mark.locations
def test_the_first_load_makes_bucket_and_table(lake: Storage, load: Load) -> None:
    loaded = load("id,name\n1,a\n2,b\n", primary_key=("id",))
    assert loaded == LoadedTable(ID, rows=2, table_rows=2, columns=("id", "name"), created=True)
    (bucket,) = lake.buckets()
    assert (bucket.id, bucket.tables) == ("in.c-main", 1)
    table = lake.table(ID)
    assert (table.columns, table.primary_key, table.rows) == (("id", "name"), ("id",), 2)
    assert (table.bucket, table.name) == ("in.c-main", "t")
    assert table.bytes > 0
    assert table.created == table.last_import_date == table.last_change_date


@pytest.mark.rules("OM-54")
@pytest.mark.locations
def test_a_full_load_replaces_all_rows(load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n2,b\n")
    assert load("id,v\n3,c\n") == LoadedTable(ID, rows=1, table_rows=1, columns=("id", "v"), created=False)
    assert rows() == [["3", "c"]]


@pytest.mark.rules("OM-54")
def test_an_incremental_load_without_key_adds_rows(load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n")
    assert load("id,v\n1,a\n", incremental=True).table_rows == 2
    assert rows() == [["1", "a"], ["1", "a"]]


@pytest.mark.rules("OM-54")
def test_an_incremental_load_with_key_updates_and_adds_rows(load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n2,b\n", primary_key=("id",))
    assert load("id,v\n2,B\n3,c\n", incremental=True).table_rows == 3
    assert rows() == [["1", "a"], ["2", "B"], ["3", "c"]]


@pytest.mark.rules("OM-54", "D4")
@pytest.mark.parametrize("incremental", [False, True])
def test_the_last_row_of_a_key_wins(load: Load, rows: Rows, incremental: bool) -> None:
    load("id,v\n1,before\n", primary_key=("id",))
    loaded = load("id,v\n1,a\n2,b\n1,c\n2,d\n1,e\n", primary_key=("id",), incremental=incremental)
    assert (loaded.rows, loaded.table_rows) == (2, 2)
    assert rows() == [["1", "e"], ["2", "d"]]


@pytest.mark.rules("D4")
def test_the_last_row_wins_also_across_slices_and_buffers(lake: Storage, rows: Rows, tmp_path: Path) -> None:
    folder = tmp_path / "slices"
    folder.mkdir()
    for name, offset in (("b", 300_000), ("a", 0), ("c", 600_000)):
        with (folder / name).open("w") as file:
            file.writelines(f"{i % 1000},{offset + i}\n" for i in range(300_000))
    (loaded,) = lake.commit(Commit("k", (TableLoad(ID, folder, columns=("id", "v"), primary_key=("id",)),))).tables
    assert loaded.rows == 1000
    assert {int(v) - int(i) for i, v in rows()} == {600_000 + 299_000}


@pytest.mark.rules("D4", "IM-30")
@pytest.mark.locations
def test_only_rows_that_changed_count_as_changed(lake: Storage, load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n2,b\n", primary_key=("id",))
    before = lake.table(ID)
    load("id,v\n1,a\n2,B\n3,c\n", incremental=True)
    after = lake.table(ID)
    assert rows(changed_since=before.last_import_date) == [["2", "B"], ["3", "c"]]
    assert after.last_change_date == after.last_import_date > before.last_import_date
    load("id,v\n1,a\n2,B\n", incremental=True)
    assert lake.table(ID).last_import_date > after.last_import_date
    assert lake.table(ID).last_change_date == after.last_change_date


@pytest.mark.rules("D4", "OM-55", "OM-61")
def test_times_rows_and_bytes_follow_what_really_changed(lake: Lake, load: Load, rows: Rows, tmp_path: Path) -> None:
    def changes(work: Callable[[], object]) -> tuple[bool, list[str]]:
        """Whether the table has changed, and the ids of the rows that did; each import must be noted."""
        before = lake.table(ID)
        work()
        after = lake.table(ID)
        exported = rows(changed_since=before.last_import_date)
        assert after.created == created
        assert after.rows == len(rows())
        assert after.bytes > 0
        assert after.last_import_date > before.last_import_date
        assert after.last_change_date in (before.last_change_date, after.last_import_date)
        return after.last_change_date > before.last_change_date, [row[0] for row in exported]

    def delete(value: str) -> tuple[DeleteWhere, ...]:
        return (DeleteWhere((Where("v", (value,)),)),)

    load("id,v\n1,a\n2,b\n3,c\n", primary_key=("id",))
    created = lake.table(ID).created
    first = lake.history(ID)[0].snapshot
    assert changes(lambda: load("id,v\n1,a\n3,c\n", incremental=True)) == (False, [])
    assert changes(lambda: load("id,v\n", incremental=True)) == (False, [])
    assert changes(lambda: load("id,v\n", incremental=True, delete_where=delete("nothing"))) == (False, [])
    assert changes(lambda: load("id,v\n", incremental=True, delete_where=delete("c"))) == (True, [])
    assert changes(lambda: load("id,v,w\n1,a,\n", incremental=True)) == (False, [])
    assert changes(lambda: load("id,v,w\n1,a,x\n", incremental=True)) == (True, ["1"])
    # A full load replaces all rows, whatever is in them; of no rows by no rows it changes nothing.
    assert changes(lambda: load("id,v,w\n1,a,x\n2,b,\n")) == (True, ["1", "2"])
    assert changes(lambda: lake.restore(ID, first)) == (True, ["1", "2", "3"])
    known = lake.table(ID)
    with pytest.raises(UserError):
        load("id,v\n1,z\n2\n", incremental=True)
    lake.maintain(timedelta(0), grace=timedelta(0))
    assert replace(lake.table(ID), bytes=known.bytes) == known
    load("id,v\n")
    empty = lake.table(ID)
    assert (empty.rows, empty.bytes) == (0, 0)
    load("id,v\n")
    assert lake.table(ID).last_change_date == empty.last_change_date < lake.table(ID).last_import_date


@pytest.mark.rules("OM-54")
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from("12")))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_sequence_of_loads_gives_what_a_dictionary_gives(
    lake: Storage, load: Load, rows: Rows, loads: list[tuple[bool, list[tuple[str, str, str]]]]
) -> None:
    load("k1,k2,v\n", primary_key=("k1", "k2"))
    expected: dict[tuple[str, str], str] = {}
    for incremental, records in loads:
        if not incremental:
            expected = {}
        expected.update({(k1, k2): v for k1, k2, v in records})
        content = "".join(f"{','.join(record)}\n" for record in [("k1", "k2", "v"), *records])
        assert load(content, incremental=incremental).table_rows == len(expected)
    assert rows() == sorted([*key, value] for key, value in expected.items())


@pytest.mark.rules("OM-61", "D5", "OM-60")
@pytest.mark.locations
def test_new_columns_are_added_and_are_empty_in_rows_that_were_there(load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n", primary_key=("id",))
    assert load("id,v,new col\n2,b,x\n", incremental=True).columns == ("id", "v", "new_col")
    assert rows() == [["1", "a", ""], ["2", "b", "x"]]
    assert rows(where=Where("new_col", ("",))) == [["1", "a", ""]]


@pytest.mark.rules("OM-61", "D4")
def test_a_new_empty_column_changes_no_row(lake: Storage, load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n", primary_key=("id",))
    before = lake.table(ID).last_import_date
    load("id,v,w\n1,a,\n", incremental=True)
    assert rows(changed_since=before) == []


@pytest.mark.rules("OM-60")
def test_columns_are_compared_without_case(load: Load, rows: Rows) -> None:
    load("Id,V\n1,a\n", primary_key=("ID",))
    assert load("ID,v\n1,b\n", incremental=True).columns == ("Id", "V")
    assert rows() == [["1", "b"]]


@pytest.mark.rules("OM-72")
def test_a_csv_without_all_columns_of_the_table_is_refused(load: Load, rows: Rows) -> None:
    load("id,name,v\n1,a,x\n")
    with pytest.raises(UserError) as error:
        load("id;name;v\n1;a;x\n", incremental=True)
    assert "The columns id, name, v are missing. Expected are id, name, v, found were id_name_v." in str(error.value)
    assert "Is the delimiter ',' right?" in str(error.value)
    assert rows() == [["1", "a", "x"]]


@pytest.mark.rules("OM-72")
def test_duplicate_columns_are_refused(load: Load) -> None:
    with pytest.raises(UserError, match="there twice"):
        load("id,v,ID\n1,2,3\n")


@pytest.mark.rules("OM-63")
def test_a_key_that_is_no_column_is_refused_for_a_new_table(lake: Storage, load: Load) -> None:
    with pytest.raises(UserError, match=r"There is no column idd\. The table has: id, v\."):
        load("id,v\n1,a\n", primary_key=("idd",))
    assert lake.buckets() == []


@pytest.mark.rules("OM-62", "TV-12")
def test_the_order_of_the_key_does_not_matter(lake: Storage, load: Load) -> None:
    load("a,b\n1,2\n", primary_key=("a", "b"))
    assert load("a,b\n1,3\n", primary_key=("b", "a"), incremental=True).warnings == ()
    assert lake.table(ID).primary_key == ("a", "b")


@pytest.mark.rules("OM-62", "TV-12")
def test_an_empty_key_removes_the_key_and_none_leaves_it(lake: Storage, load: Load, rows: Rows) -> None:
    load("a,b\n1,2\n", primary_key=("a", "b"))
    load("a,b\n1,2\n", primary_key=None, incremental=True)
    assert lake.table(ID).primary_key == ("a", "b")
    loaded = load("a,b\n1,2\n", primary_key=(), incremental=True)
    assert loaded.warnings == ("Modifying the primary key of in.c-main.t from [a, b] to [].",)
    assert lake.table(ID).primary_key == ()
    assert rows() == [["1", "2"], ["1", "2"]]


@pytest.mark.rules("OM-62", "TV-12")
def test_a_key_with_duplicate_values_is_not_taken_and_the_load_goes_on(lake: Storage, load: Load, rows: Rows) -> None:
    load("a,b\n1,2\n1,3\n", primary_key=("a", "b"))
    loaded = load("a,b\n1,4\n", primary_key=("a",), incremental=True)
    assert "stays [a, b]: [a] is not possible" in loaded.warnings[1]
    assert lake.table(ID).primary_key == ("a", "b")
    assert rows() == [["1", "2"], ["1", "3"], ["1", "4"]]


@pytest.mark.rules("OM-62")
def test_a_key_can_be_changed_when_its_values_are_unique(lake: Storage, load: Load, rows: Rows) -> None:
    load("a,b\n1,2\n2,2\n", primary_key=("b", "a"))
    load("a,b\n1,9\n", primary_key=("a",), incremental=True)
    assert lake.table(ID).primary_key == ("a",)
    assert rows() == [["1", "9"], ["2", "2"]]


@pytest.mark.rules("OM-55", "OM-56", "OM-57")
@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ([DeleteWhere((Where("v", ("a", "b")),))], ["3", "4"]),
        ([DeleteWhere((Where("v", ("a", "b"), Operator.NE),))], ["1", "2"]),
        ([DeleteWhere((Where("v", ("a", "b")), Where("id", ("1",))))], ["2", "3", "4"]),
        ([DeleteWhere((Where("v", ("a",)),)), DeleteWhere((Where("v", ("b",)),))], ["3", "4"]),
        ([DeleteWhere((Where("v", ("it's",)),))], ["1", "2", "4"]),
    ],
)
def test_delete_rules_remove_rows_before_the_load(
    load: Load, rows: Rows, rules: list[DeleteWhere], left: list[str]
) -> None:
    load("id,v\n1,a\n2,b\n3,it's\n4,d\n")
    load("id,v\n5,a\n", incremental=True, delete_where=tuple(rules))
    assert [row[0] for row in rows()] == [*left, "5"]


@pytest.mark.rules("OM-50", "OM-55")
def test_columns_are_added_before_rows_are_deleted_and_rows_are_loaded_after_that(load: Load, rows: Rows) -> None:
    load("id,v\n1,a\n2,b\n", primary_key=("id",))
    load("id,v,w\n1,c,\n3,d,\n", incremental=True, delete_where=(DeleteWhere((Where("w", ("",)),)),))
    assert rows() == [["1", "c", ""], ["3", "d", ""]]


@pytest.mark.rules("OM-57")
@pytest.mark.locations
def test_delete_rules_know_when_rows_changed(lake: Storage, load: Load, rows: Rows) -> None:
    load("id\n1\n")
    first = lake.table(ID).last_import_date
    load("id\n2\n", incremental=True)
    second = lake.table(ID).last_import_date
    load("id\n3\n", incremental=True, delete_where=(DeleteWhere(changed_since=first, changed_until=second),))
    assert rows() == [["2"], ["3"]]
    load("id\n4\n", incremental=True, delete_where=(DeleteWhere(changed_since=datetime.now(UTC) - timedelta(1)),))
    assert rows() == [["4"]]


@pytest.mark.rules("OM-59", "OM-20a")
@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (DeleteWhere((Where("nope", ("1",)),)), "There is no column nope. The table has: id."),
        (DeleteWhere(), "It has no condition at all"),
    ],
)
def test_a_wrong_delete_rule_is_refused_with_the_table(load: Load, rows: Rows, rule: DeleteWhere, problem: str) -> None:
    load("id\n1\n")
    with pytest.raises(UserError) as error:
        load("id\n2\n", delete_where=(rule,))
    assert str(error.value).startswith(f"Table {ID}: A delete rule does not fit")
    assert problem in str(error.value)
    assert rows() == [["1"]]


@pytest.mark.rules("OM-55")
def test_delete_rules_are_ignored_for_a_new_table(load: Load, rows: Rows) -> None:
    load("id\n1\n", delete_where=(DeleteWhere((Where("nope", ("1",)),)),))
    assert rows() == [["1"]]


@pytest.mark.rules("OM-82", "OM-83")
def test_metadata_is_set_by_provider_and_key(lake: Storage, load: Load) -> None:
    def item(key: str, value: str, provider: str = "comp") -> MetadataItem:
        return MetadataItem(key, value, provider)

    load("id\n1\n", metadata=(item("k", "1"), item("d", "x")), column_metadata={"id": (item("t", "INT"),)})
    before = lake.table(ID)
    load("id\n1\n", metadata=(item("k", "2"), item("k", "s", "system")), column_metadata={"ID": (item("t", "STR"),)})
    after = lake.table(ID)
    assert [(m.provider, m.key, m.value) for m in after.metadata] == [
        ("comp", "k", "2"),
        ("comp", "d", "x"),
        ("system", "k", "s"),
    ]
    assert [(m.key, m.value) for m in after.column_metadata["id"]] == [("t", "STR")]
    ids = [m.id for m in (*after.metadata, *after.column_metadata["id"])]
    assert len(set(ids)) == 4
    assert [m.id for m in before.metadata] == ids[:2]
    assert after.metadata[0].timestamp == after.last_import_date
    assert after.metadata[1].timestamp == before.last_import_date


@pytest.mark.rules("OM-82")
def test_metadata_of_an_unknown_column_is_refused(load: Load) -> None:
    with pytest.raises(UserError, match="There is no column x"):
        load("id\n1\n", column_metadata={"x": (MetadataItem("k", "v", "p"),)})


@pytest.mark.parametrize(
    "name", ["select", "rowid", "filename", "snapshot_id", "file_row_number", "s", "t", "last", "x" * 64, "123", "row"]
)
def test_any_column_name_can_be_used(load: Load, rows: Rows, name: str) -> None:
    load(f"{name},v\n1,a\n1,b\n", primary_key=(name,))
    load(f"{name},v\n1,c\n2,d\n", incremental=True)
    assert rows(columns=(name, "v")) == [["1", "c"], ["2", "d"]]
    assert rows(where=Where(name, ("2",))) == [["2", "d"]]


def test_table_ids_that_differ_only_in_case_are_refused(load: Load) -> None:
    load("id\n1\n", "in.c-main.orders")
    with pytest.raises(UserError, match=r"there is in\.c-main\.orders already"):
        load("id\n1\n", "in.c-main.Orders")


def test_a_table_of_a_thousand_columns_works(load: Load, rows: Rows) -> None:
    header = ",".join(f"column_{i}" for i in range(1000))
    load(f"{header}\n{','.join('x' * 1000)}\n", primary_key=("column_0",))
    load(f"{header}\n{','.join('xy' + 'y' * 998)}\n", primary_key=("column_0",), incremental=True)
    assert rows() == [["x", *"y" * 999]]


def test_a_table_of_two_thousand_columns_is_loaded_and_exported(load: Load, rows: Rows) -> None:
    header = ",".join(f"column_{i}" for i in range(2000))
    load(f"{header}\n{','.join('x' * 2000)}\n")
    assert rows() == [["x"] * 2000]


@pytest.mark.locations
def test_a_dropped_table_is_gone_and_can_be_made_again(lake: Storage, load: Load, rows: Rows) -> None:
    load("id\n1\n")
    lake.drop_table(ID)
    assert lake.tables() == []
    assert load("other\n2\n").created
    assert rows() == [["2"]]


@pytest.mark.parametrize("many_rows", [0, 1_000_000])
def test_a_table_replaced_twice_in_one_commit_has_the_last_rows(
    lake: Storage, load: Load, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many_rows: int
) -> None:
    monkeypatch.setattr("docker_runner.storage.lake.load._MANY_ROWS", many_rows)
    load("id\n0\n")
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(f"id\n{number}\n")
    lake.commit(Commit("k", tuple(TableLoad("in.c-main.t", tmp_path / f"{number}.csv") for number in (1, 2))))
    assert rows() == [["2"]]
    lake.drop_table("in.c-main.t")
    lake.commit(Commit("k2", tuple(TableLoad("in.c-main.t", tmp_path / f"{number}.csv") for number in (1, 2))))
    assert rows() == [["2"]]
