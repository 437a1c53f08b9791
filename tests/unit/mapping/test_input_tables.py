"""Input mapping of tables, against a real lake."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import mapping

from docker_runner.errors import ApplicationError, ConfigurationError
from docker_runner.mapping.input_tables import TableReader, table_states
from docker_runner.storage.base import BaseType, ColumnType, Exported, Storage
from docker_runner.storage.lake.lake import Lake

SOURCE = "in.c-main.t"
CSV = "id,name\n1,a\n2,b\n3,c\n"
KEYED: dict[str, Any] = {"primary_key": ("id",), "incremental": True}
Fetch = Callable[..., list[dict[str, Any]]]
Load = Callable[..., None]


def state_of(loaded: list[dict[str, Any]]) -> dict[str, Any]:
    return {"storage": {"input": {"tables": table_states(loaded)}}}


@pytest.fixture
def fetch(lake: Storage, tmp_path: Path) -> Fetch:
    def load(*items: dict[str, Any], state: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        options = {"state": state or {}, "max_bytes": 10**11, "log": logging.getLogger("docker_runner"), **more}
        return TableReader(storage=lake, folder=folder, **options).load(mapping("input", "tables", *items))

    return load


def rows(tmp_path: Path, name: str = SOURCE) -> list[list[str]]:
    with (tmp_path / "in" / name).open(newline="") as file:
        header, *data = csv.reader(file)
    return [header, *sorted(data)]


@pytest.mark.rules("IM-33", "IM-34", "IM-45", "IM-48", "IM-53", "CD-11")
@pytest.mark.parametrize("extension", ["json", "yml"])
def test_table_and_manifest_are_written(load: Load, fetch: Fetch, tmp_path: Path, extension: str) -> None:
    load(CSV, primary_key=("id",))
    (done,) = fetch({"source": SOURCE, "destination": "t.csv", "columns": ["name"]}, extension=extension)
    assert (done["source"], done["destination"], done["rows"], done["columns"]) == (SOURCE, "in/tables/t.csv", 3, 1)
    assert rows(tmp_path, "t.csv") == [["name"], ["a"], ["b"], ["c"]]
    text = (tmp_path / "in/t.csv.manifest").read_text()
    manifest = json.loads(text) if extension == "json" else yaml.safe_load(text)
    assert (manifest["id"], manifest["primary_key"], manifest["columns"]) == (SOURCE, ["id"], ["name"])
    # JSON is YAML, too; a component that wants YAML must get what a person would call so.
    assert text.startswith("{\n    " if extension == "json" else "id: in.c-main.t\n")


@pytest.mark.rules("IM-36", "IM-37")
def test_a_csv_is_quoted_throughout_and_has_only_the_tables_own_columns(
    load: Load, fetch: Fetch, tmp_path: Path
) -> None:
    load('id,text\n1,"a ""quoted"", one\nof two lines \\"\n2,\n')
    fetch({"source": SOURCE, "where_column": "id", "where_values": ["1"]}, {"source": SOURCE, "destination": "all"})
    assert (tmp_path / "in" / SOURCE).read_bytes() == b'"id","text"\n"1","a ""quoted"", one\nof two lines \\"\n'
    assert b'\n"2",""\n' in (tmp_path / "in/all").read_bytes()
    fetch({"source": SOURCE, "where_column": "id", "where_values": ["none"]})
    assert (tmp_path / "in" / SOURCE).read_bytes() == b'"id","text"\n'


@pytest.mark.rules("IM-6", "IM-7", "IM-19", "IM-33", "IM-53")
def test_columns_come_in_the_order_that_was_asked_for(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    load("a,b,c\n1,2,3\n")
    fetch({"source": SOURCE, "columns": ["c", "a"]}, {"source": SOURCE, "destination": "all"})
    assert rows(tmp_path) == [["c", "a"], ["3", "1"]]
    assert rows(tmp_path, "all") == [["a", "b", "c"], ["1", "2", "3"]]
    assert json.loads((tmp_path / "in/all.manifest").read_text())["columns"] == ["a", "b", "c"]
    fetch({"source": SOURCE, "columns": ["c", "a"], "column_types": [{"source": "a"}, {"source": "c"}]})
    assert rows(tmp_path) == [["a", "c"], ["1", "3"]]


@pytest.mark.rules("IM-30", "IM-31")
def test_an_adaptive_load_gives_everything_first_then_nothing_then_exactly_the_new_rows(
    load: Load, fetch: Fetch, tmp_path: Path
) -> None:
    item = {"source": SOURCE, "changed_since": "adaptive"}
    load(CSV, **KEYED)
    first = fetch(item)
    assert len(rows(tmp_path)) == 4
    second = fetch(item, state=state_of(first))
    assert rows(tmp_path) == [["id", "name"]]
    load("id,name\n2,b\n3,changed\n4,new\n", **KEYED)
    third = fetch(item, state=state_of(second))
    assert rows(tmp_path) == [["id", "name"], ["3", "changed"], ["4", "new"]]
    fetch(item, state=state_of(third))
    assert rows(tmp_path) == [["id", "name"]]


@pytest.mark.rules("IM-30", "IM-31", "IM-35")
def test_two_adaptive_items_of_one_table_share_what_is_remembered(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    items = [
        {"source": SOURCE, "destination": "all.csv", "changed_since": "adaptive"},
        {"source": SOURCE, "destination": "names.csv", "changed_since": "adaptive", "columns": ["name"]},
    ]
    load(CSV, **KEYED)
    first = fetch(*items)
    assert [entry["source"] for entry in table_states(first)] == [SOURCE, SOURCE]
    load("id,name\n4,d\n", **KEYED)
    second = fetch(*items, state=state_of(first))
    assert rows(tmp_path, "all.csv") == [["id", "name"], ["4", "d"]]
    assert rows(tmp_path, "names.csv") == [["name"], ["d"]]
    fetch(*items, state=state_of(second))
    assert rows(tmp_path, "all.csv") == [["id", "name"]]


@pytest.mark.rules("IM-11", "IM-30", "IM-32")
def test_a_limit_counts_what_an_adaptive_load_has_left(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    item = {"source": SOURCE, "changed_since": "adaptive", "limit": 2}
    load(CSV, **KEYED)
    first = fetch(item)
    assert first[0]["rows"] == 2
    load("id,name\n4,d\n", **KEYED)
    second = fetch(item, state=state_of(first))
    assert rows(tmp_path) == [["id", "name"], ["4", "d"]]
    fetch(item, state=state_of(second))
    assert rows(tmp_path) == [["id", "name"]]
    fetch({"source": SOURCE, "limit": 0})
    assert rows(tmp_path) == [["id", "name"]]


@pytest.mark.rules("IM-26", "IM-31")
def test_rows_that_come_during_an_export_are_not_lost(
    load: Load, fetch: Fetch, lake: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(CSV, **KEYED)
    export = Lake.export_table

    def export_late(self: Lake, table_id: str, target: Path, **options: Any) -> Exported:
        load("id,name\n9,late\n", **KEYED)
        return export(self, table_id, target, **options)

    item = {"source": SOURCE, "changed_since": "adaptive"}
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "export_table", export_late)
        first = fetch(item)
    fetch(item, state=state_of(first))
    assert rows(tmp_path) == [["id", "name"], ["9", "late"]]


@pytest.mark.rules("IM-31", "IM-35", "TV-11")
def test_full_loads_remember_the_import_date_and_forget_tables_that_are_not_mapped(
    load: Load, fetch: Fetch, lake: Storage, tmp_path: Path
) -> None:
    load(CSV)
    load("x\n1\n", "in.c-main.former")
    former = state_of(fetch({"source": "in.c-main.former"}))
    state = table_states(fetch({"source": SOURCE}, {"source": SOURCE, "destination": "again.csv"}, state=former))
    date = lake.table(SOURCE).last_import_date.isoformat()
    assert state == [{"source": SOURCE, "lastImportDate": date}] * 2
    assert rows(tmp_path) == rows(tmp_path, "again.csv")
    assert table_states(fetch({"source": SOURCE}, state=state_of(fetch({"source": SOURCE})))) == state[:1]


def test_a_stored_date_that_is_none_is_told(load: Load, fetch: Fetch) -> None:
    load(CSV)
    state = {"storage": {"input": {"tables": [{"source": SOURCE, "lastImportDate": "never"}]}}}
    with pytest.raises(ConfigurationError, match=r"lastImportDate of in\.c-main\.t in the state: 'never'"):
        fetch({"source": SOURCE, "changed_since": "adaptive"}, state=state)
    assert fetch({"source": SOURCE}, state=state)[0]["rows"] == 3


@pytest.mark.rules("IM-35")
def test_the_same_destination_twice_is_overwritten(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    load(CSV)
    fetch({"source": SOURCE, "destination": "t"}, {"source": SOURCE, "destination": "t", "columns": ["id"]})
    assert rows(tmp_path, "t") == [["id"], ["1"], ["2"], ["3"]]
    assert json.loads((tmp_path / "in/t.manifest").read_text())["columns"] == ["id"]


@pytest.mark.rules("IM-8", "IM-9", "IM-10", "IM-11", "IM-28", "IM-32")
def test_filters_are_combined(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    load(CSV)
    where = {"where_column": "name", "where_values": ["a", "b"]}
    fetch({"source": SOURCE, **where})
    assert rows(tmp_path) == [["id", "name"], ["1", "a"], ["2", "b"]]
    fetch({"source": SOURCE, "days": 1, **where, "where_operator": "ne"})
    assert rows(tmp_path) == [["id", "name"], ["3", "c"]]
    (done,) = fetch({"source": SOURCE, "limit": 1, **where})
    assert (done["rows"], rows(tmp_path)[1][1] in ("a", "b")) == (1, True)
    fetch({"source": SOURCE, "changed_since": "+1 day", **where})
    assert rows(tmp_path) == [["id", "name"]]


@pytest.mark.rules("IM-25")
def test_nothing_mapped_is_nothing_done(fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert fetch() == []
    assert caplog.messages == []


@pytest.mark.rules("IM-38")
def test_the_log_names_every_table_and_the_end(load: Load, fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
    load(CSV)
    load(CSV, "in.c-main.other")
    with caplog.at_level(logging.INFO):
        fetch({"source": SOURCE}, {"source": "in.c-main.other", "destination": "o.csv"})
    assert [message.split(":")[0] for message in caplog.messages] == [
        "Fetched table in.c-main.t",
        "Fetched table in.c-main.other",
        "All tables were fetched.",
    ]


@pytest.mark.rules("IM-26", "IM-33", "IM-39", "LC-44")
@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"columns": ["id", "nope"]}, r"tables\[1\]\.columns: .*no column nope; its columns are: id, name"),
        ({"columns": ["_timestamp"]}, r"tables\[1\]\.columns: .*no column _timestamp"),
        (
            {"where_column": "nope", "where_values": ["1"]},
            r"tables\[1\]\.where_column: .*no column nope; its columns are: id, name",
        ),
        (
            {"source": "in.c-main.other"},
            r"tables\[1\]\.source: This cannot be imported from Storage: There is no table in\.c-main\.other",
        ),
    ],
)
def test_what_storage_does_not_have_is_named_before_anything_is_written(
    load: Load, fetch: Fetch, tmp_path: Path, item: dict[str, Any], problem: str
) -> None:
    load(CSV)
    with pytest.raises(ConfigurationError, match=problem):
        fetch({"source": SOURCE}, {"source": SOURCE, **item})
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.rules("IM-26", "IM-27")
def test_a_table_that_is_too_large_is_refused_before_anything_is_written(
    load: Load, fetch: Fetch, lake: Storage, tmp_path: Path
) -> None:
    load(CSV)
    load("id\n" + "\n".join(str(number) for number in range(5000)), "in.c-main.large")
    small, large = lake.table(SOURCE).bytes, lake.table("in.c-main.large").bytes
    items = [{"source": SOURCE}, {"source": "in.c-main.large", "limit": 1}]
    with pytest.raises(ConfigurationError) as error:
        fetch(*items, max_bytes=small)
    assert error.value.key == "storage.input.tables[1].source"
    assert f"has {large} bytes; no table with more than {small} bytes" in error.value.problem
    assert list((tmp_path / "in").iterdir()) == []
    assert len(fetch(*items, max_bytes=large)) == 2


@pytest.mark.rules("IM-39", "LC-44")
@pytest.mark.parametrize("blocked", [SOURCE, f"{SOURCE}.manifest"])
def test_a_file_that_cannot_be_written_is_an_application_error(
    load: Load, fetch: Fetch, tmp_path: Path, blocked: str
) -> None:
    load(CSV)
    (tmp_path / "in" / blocked).mkdir(parents=True)
    with pytest.raises(ApplicationError, match=r"in\.c-main\.t.*(is a folder|Is a directory)"):
        fetch({"source": SOURCE})


@pytest.mark.rules("IM-15")
def test_a_parquet_table_is_a_folder_of_files(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    import duckdb

    load(CSV, **KEYED)
    item = {"source": SOURCE, "destination": "t.parquet", "file_type": "parquet", "columns": ["name", "id"]}
    (done,) = fetch({**item, "where_column": "id", "where_values": ["2", "3"]})
    assert (done["rows"], done["destination"]) == (2, "in/tables/t.parquet")
    with duckdb.connect() as connection:
        read = connection.execute(
            "SELECT * FROM read_parquet(?) ORDER BY id", [str(tmp_path / "in/t.parquet/*.parquet")]
        )
        assert [column[0] for column in read.description] == ["name", "id"]
        assert read.fetchall() == [("b", "2"), ("c", "3")]
    assert json.loads((tmp_path / "in/t.parquet.manifest").read_text())["columns"] == ["name", "id"]


@pytest.mark.rules("IM-34")
def test_the_longest_name_that_a_file_and_its_manifest_can_have_is_written(
    load: Load, fetch: Fetch, tmp_path: Path
) -> None:
    load(CSV)
    fetch({"source": SOURCE, "destination": "x" * 246})
    assert len(rows(tmp_path, "x" * 246)) == 4


@pytest.mark.rules("IM-11", "IM-32", "IM-36")
def test_typed_tables_are_filtered_and_written_as_texts(load: Load, fetch: Fetch, tmp_path: Path) -> None:
    kinds = {"id": ColumnType(BaseType.INTEGER, nullable=False), "price": ColumnType(BaseType.NUMERIC, "10,2")}
    load("id,price\n1,2.5\n2,\n3,10\n", primary_key=("id",), types=kinds)
    fetch({"source": SOURCE})
    assert rows(tmp_path) == [["id", "price"], ["1", "2.50"], ["2", ""], ["3", "10.00"]]
    fetch({"source": SOURCE, "where_column": "price", "where_values": ["10"], "columns": ["id"]})
    assert rows(tmp_path) == [["id"], ["3"]]
    fetch({"source": SOURCE, "where_column": "price", "where_values": ["10"], "where_operator": "ne"})
    assert [row[0] for row in rows(tmp_path)][1:] == ["1", "2"]


@pytest.mark.rules("IM-15", "IM-35")
@pytest.mark.parametrize("order", [("csv", "parquet"), ("parquet", "csv")])
def test_the_same_destination_twice_may_have_two_formats(
    load: Load, fetch: Fetch, tmp_path: Path, order: tuple[str, str]
) -> None:
    load("id\n1\n", SOURCE)
    fetch(*({"source": SOURCE, "destination": "t", "file_type": file_type} for file_type in order))
    assert (tmp_path / "in/t").is_dir() == (order[1] == "parquet")
