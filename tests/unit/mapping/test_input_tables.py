"""Input mapping of tables, against a real lake."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import mapping

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.mapping.input_tables import InputTable, input_table, load_tables, table_states
from docker_runner.storage.base import Operator, Storage, Where

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)
SOURCE = "in.c-main.t"
CSV = "id,name\n1,a\n2,b\n3,c\n"


def understood(state: dict[str, Any] | None = None, **options: Any) -> InputTable:
    (item,) = mapping("input", "tables", {"source": SOURCE, **options})
    return input_table(item, key="storage.input.tables[0]", state=state or {}, now=NOW)


def state_of(loaded: list[dict[str, Any]]) -> dict[str, Any]:
    return {"storage": {"input": {"tables": table_states(loaded)}}}


@pytest.fixture
def fetch(lake: Storage, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def load(*items: dict[str, Any], state: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        return load_tables(mapping("input", "tables", *items), storage=lake, folder=folder, state=state or {}, **more)

    return load


def rows(tmp_path: Path, name: str = SOURCE) -> list[list[str]]:
    with (tmp_path / "in" / name).open(newline="") as file:
        header, *data = csv.reader(file)
    return [header, *sorted(data)]


@pytest.mark.rules("IM-1", "IM-3", "IM-11", "IM-34")
@pytest.mark.parametrize("destination", [None, "", False])
def test_a_table_without_a_destination_gets_the_name_of_its_source(destination: Any) -> None:
    assert understood(destination=destination).destination == SOURCE
    assert understood(destination="t.csv", limit=5) == InputTable(SOURCE, "t.csv", (), None, None, 5)
    assert understood(limit=0).limit is None


@pytest.mark.rules("IM-4", "IM-5", "IM-17", "IM-28", "D19")
@pytest.mark.parametrize(
    ("options", "since"),
    [
        ({"days": 2}, NOW - timedelta(days=2)),
        ({"days": "2"}, NOW - timedelta(days=2)),
        ({"changed_since": "-2 days"}, NOW - timedelta(days=2)),
        ({"days": 2, "changed_since": ""}, NOW - timedelta(days=2)),
        ({"days": 0, "changed_since": "-2 days"}, NOW - timedelta(days=2)),
        ({"days": None, "changed_since": "0"}, None),
        ({"days": "", "changed_since": None}, None),
        ({"changed_since": 0}, None),
        ({"changed_since": "adaptive"}, None),
    ],
)
def test_days_and_changed_since_mean_the_same(options: dict[str, Any], since: datetime | None) -> None:
    assert understood(**options).changed_since == since


@pytest.mark.rules("IM-10", "IM-18")
@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"where_column": "id", "where_values": [1, "a"]}, Where("id", ("1", "a"), Operator.EQ)),
        ({"where_column": "id", "where_values": [""], "where_operator": "ne"}, Where("id", ("",), Operator.NE)),
        ({"where_column": "id", "where_values": [None, True], "where_operator": ""}, Where("id", ("", "true"))),
        ({"where_column": "id", "where_values": ["1"], "where_operator": None}, Where("id", ("1",))),
        ({"where_column": " ", "where_values": []}, None),
    ],
)
def test_a_filter_has_a_column_values_and_an_operator(options: dict[str, Any], where: Where | None) -> None:
    assert understood(**options).where == where


@pytest.mark.rules("IM-7", "IM-19")
def test_the_order_of_typed_columns_decides() -> None:
    typed = [{"source": "b"}, {"source": "a"}]
    assert understood(columns=["a", "b"]).columns == ("a", "b")
    assert understood(column_types=typed).columns == ("b", "a")
    assert understood(columns=["a", "b"], column_types=typed).columns == ("b", "a")


@pytest.mark.rules("IM-17", "IM-18", "IM-19", "IM-29", "IM-34")
@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"days": 1, "changed_since": "adaptive"}, ".days", "not both"),
        ({"where_column": "id"}, ".where_values", "belong together"),
        ({"where_values": ["1"]}, ".where_column", "belong together"),
        ({"where_values": ["1"], "where_column": "  "}, ".where_column", "belong together"),
        ({"columns": ["a", "b"], "column_types": [{"source": "a"}, {"source": "c"}]}, "", "only in one of them: b, c"),
        ({"changed_since": "soon-ish"}, ".changed_since", "is not a moment"),
        ({"days": 10**12}, ".days", "is not a moment"),
        ({"destination": "../t.csv"}, ".destination", "without folders"),
        ({"destination": "a/b.csv"}, ".destination", "without folders"),
        ({"destination": ".."}, ".destination", "without folders"),
    ],
)
def test_options_that_contradict_each_other_name_the_key(options: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        understood(**options)
    assert error.value.key == f"storage.input.tables[0]{key}"
    assert problem in error.value.problem


def test_a_stored_date_that_is_none_is_told() -> None:
    state = {"storage": {"input": {"tables": [{"source": SOURCE, "lastImportDate": "never"}]}}}
    with pytest.raises(ConfigurationError, match=r"lastImportDate of in\.c-main\.t in the state: 'never'"):
        understood(state, changed_since="adaptive")


@pytest.mark.rules("IM-33", "IM-34", "IM-36", "IM-45", "IM-48", "IM-53", "CD-11")
@pytest.mark.parametrize("extension", ["json", "yml"])
def test_table_and_manifest_are_written(
    load: Callable[..., None], fetch: Callable[..., Any], tmp_path: Path, extension: str
) -> None:
    load(CSV, primary_key=("id",))
    (done,) = fetch({"source": SOURCE, "destination": "t.csv", "columns": ["name"]}, extension=extension)
    assert (done["source"], done["destination"], done["rows"], done["columns"]) == (SOURCE, "in/tables/t.csv", 3, 1)
    assert rows(tmp_path, "t.csv") == [["name"], ["a"], ["b"], ["c"]]
    text = (tmp_path / "in/t.csv.manifest").read_text()
    manifest = json.loads(text) if extension == "json" else yaml.safe_load(text)
    assert (manifest["id"], manifest["primary_key"], manifest["columns"]) == (SOURCE, ["id"], ["name"])


@pytest.mark.rules("IM-30", "IM-31")
def test_an_adaptive_load_gives_everything_first_then_nothing_then_exactly_the_new_rows(
    load: Callable[..., None], fetch: Callable[..., Any], tmp_path: Path
) -> None:
    item = {"source": SOURCE, "changed_since": "adaptive"}
    load(CSV, primary_key=("id",), incremental=True)
    first = fetch(item)
    assert len(rows(tmp_path)) == 4
    second = fetch(item, state=state_of(first))
    assert rows(tmp_path) == [["id", "name"]]
    load("id,name\n2,b\n3,changed\n4,new\n", primary_key=("id",), incremental=True)
    third = fetch(item, state=state_of(second))
    assert rows(tmp_path) == [["id", "name"], ["3", "changed"], ["4", "new"]]
    fetch(item, state=state_of(third))
    assert rows(tmp_path) == [["id", "name"]]


@pytest.mark.rules("IM-31", "IM-35", "TV-11")
def test_full_loads_remember_the_import_date_too(
    load: Callable[..., None], fetch: Callable[..., Any], lake: Storage, tmp_path: Path
) -> None:
    load(CSV)
    load("x\n1\n", "in.c-main.unmapped")
    state = table_states(fetch({"source": SOURCE}, {"source": SOURCE, "destination": "again.csv"}))
    date = lake.table(SOURCE).last_import_date.isoformat()
    assert state == [{"source": SOURCE, "lastImportDate": date}] * 2
    assert rows(tmp_path) == rows(tmp_path, "again.csv")


@pytest.mark.rules("IM-35")
def test_the_same_destination_twice_is_overwritten(
    load: Callable[..., None], fetch: Callable[..., Any], tmp_path: Path
) -> None:
    load(CSV)
    fetch({"source": SOURCE, "destination": "t"}, {"source": SOURCE, "destination": "t", "columns": ["id"]})
    assert rows(tmp_path, "t") == [["id"], ["1"], ["2"], ["3"]]
    assert json.loads((tmp_path / "in/t.manifest").read_text())["columns"] == ["id"]


@pytest.mark.rules("IM-32")
def test_filters_are_combined(load: Callable[..., None], fetch: Callable[..., Any], tmp_path: Path) -> None:
    load(CSV)
    where = {"where_column": "name", "where_values": ["a"], "where_operator": "ne"}
    fetch({"source": SOURCE, "days": 1, **where})
    assert rows(tmp_path) == [["id", "name"], ["2", "b"], ["3", "c"]]
    (done,) = fetch({"source": SOURCE, "limit": 1, **where})
    assert done["rows"] == 1
    fetch({"source": SOURCE, "changed_since": "+1 day"})
    assert rows(tmp_path) == [["id", "name"]]


@pytest.mark.rules("IM-25")
def test_nothing_mapped_is_nothing_done(fetch: Callable[..., Any]) -> None:
    assert fetch() == []


@pytest.mark.rules("IM-33", "IM-39")
def test_unknown_tables_and_columns_are_named_before_anything_is_written(
    load: Callable[..., None], fetch: Callable[..., Any], tmp_path: Path
) -> None:
    load(CSV)
    with pytest.raises(ConfigurationError, match=r"tables\[1\]\.columns: .*no column nope; its columns are: id, name"):
        fetch({"source": SOURCE}, {"source": SOURCE, "columns": ["id", "nope"]})
    with pytest.raises(NotFoundError, match=r"in\.c-main\.other"):
        fetch({"source": SOURCE}, {"source": "in.c-main.other"})
    assert list((tmp_path / "in").iterdir()) == []
