"""Keboola's Python client, as component authors use it, reads what the input mapping writes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from keboola.component.dao import DataType, FileDefinition, TableDefinition
from keboola.component.interface import CommonInterface
from tests.builders import mapping, write

from docker_runner.mapping.input_files import FileReader
from docker_runner.mapping.input_tables import TableReader
from docker_runner.storage.base import BaseType, ColumnType, Commit, FileUpload, MetadataItem, Storage, StoredFile

LOG = logging.getLogger("docker_runner")
Read = Callable[..., list[dict[str, Any]]]
Store = Callable[..., StoredFile]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("in/tables", "in/files", "out/tables", "out/files"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    write(tmp_path / "data/config.json", {"parameters": {}})
    return tmp_path / "data"


@pytest.fixture
def client(data: Path) -> CommonInterface:
    root = logging.getLogger()
    handlers = list(root.handlers)
    client = CommonInterface(data_folder_path=str(data))
    root.handlers[:] = handlers
    return client


@pytest.fixture
def tables(lake: Storage, data: Path) -> Read:
    reader = TableReader(storage=lake, folder=data / "in/tables", state={}, max_bytes=10**9, log=LOG)
    return lambda *items: reader.load(mapping("input", "tables", *items))


@pytest.fixture
def files(lake: Storage, data: Path) -> Read:
    reader = FileReader(storage=lake, folder=data / "in/files", state={}, log=LOG)
    return lambda *items: reader.load(mapping("input", "files", *items))


@pytest.mark.rules("IM-45", "IM-46", "IM-47", "IM-48", "IM-50", "IM-51", "IM-53", "IM-54", "IM-59")
def test_tables_are_input_tables_with_their_columns_keys_and_dates(
    load: Callable[..., None], lake: Storage, tables: Read, client: CommonInterface, data: Path
) -> None:
    described = (MetadataItem("KBC.description", "Orders", "user"), MetadataItem("source", "shop", "vendor.ex-shop"))
    load("id,name,note\n1,a,x\n", primary_key=("id",), metadata=described)
    tables({"source": "in.c-main.t", "destination": "orders.csv", "columns": ["name", "id"]})
    (table,) = client.get_input_tables_definitions()
    assert isinstance(table, TableDefinition)
    assert (table.stage, table.id, table.name) == ("in", "in.c-main.t", "t")
    assert table.uri.endswith("in.c-main.t")
    assert table.full_path == str(data / "in/tables/orders.csv")
    assert table.column_names == ["name", "id"]
    assert table.primary_key == ["id"]
    stored = lake.table("in.c-main.t")
    assert table.created == stored.created.replace(microsecond=0)
    assert table.created.tzinfo is not None
    assert table.last_change_date == stored.last_change_date.strftime("%Y-%m-%dT%H:%M:%S%z")
    assert table.last_import_date == stored.last_import_date.strftime("%Y-%m-%dT%H:%M:%S%z")
    assert table.table_metadata.table_metadata == {"KBC.description": "Orders", "source": "shop"}
    assert client.get_input_table_definition_by_name("orders.csv").full_path == table.full_path


@pytest.mark.rules("IF-25", "IF-26", "IF-28", "IF-33", "IM-59")
def test_files_are_grouped_by_name_and_tags_and_the_newest_is_found(
    store: Store, files: Read, client: CommonInterface, lake: Storage, tmp_path: Path
) -> None:
    old = store("a.csv", "sales", "componentId: vendor.ex-foo", "runId: 1")
    time.sleep(1.05)  # the client compares whole seconds
    new = store("a.csv", "sales", "branchId: 5")
    other = store("b.csv", "sales", "cost")
    files({"tags": ["sales"]})
    newest = client.get_input_files_definitions()
    assert {(file.name, int(file.id)) for file in newest} == {("a.csv", new.id), ("b.csv", other.id)}
    everything = client.get_input_file_definitions_grouped_by_name(only_latest_files=False)
    assert {name: {int(file.id) for file in group} for name, group in everything.items()} == {
        "a.csv": {old.id, new.id},
        "b.csv": {other.id},
    }
    by_tags = client.get_input_file_definitions_grouped_by_tag_group(only_latest_files=False)
    assert {tags: {int(file.id) for file in group} for tags, group in by_tags.items()} == {
        "sales": {old.id, new.id},
        "cost;sales": {other.id},
    }
    (found,) = client.get_input_files_definitions(tags=["cost"])
    assert isinstance(found, FileDefinition)
    assert Path(found.full_path).read_text() == "content of b.csv"
    assert found.created == other.created.astimezone(UTC).replace(microsecond=0)
    assert (found.size_bytes, found.max_age_days, found.is_encrypted, found.is_public) == (16, 15, True, False)


@pytest.mark.rules("IF-26", "IF-33")
def test_a_sliced_file_is_read_as_a_folder(files: Read, client: CommonInterface, lake: Storage, tmp_path: Path) -> None:
    write(tmp_path / "sliced/part1", "a")
    lake.commit(Commit("sliced", files=(FileUpload(tmp_path / "sliced", "s.csv", ("x",)),)))
    files({"tags": ["x"]})
    (file,) = client.get_input_files_definitions()
    assert Path(file.full_path, "part1").read_text() == "a"


@pytest.mark.rules("IM-59")
def test_a_folder_without_a_manifest_is_ignored(
    load: Callable[..., None], tables: Read, client: CommonInterface, data: Path
) -> None:
    load("id\n1\n")
    tables({"source": "in.c-main.t"})
    write(data / "in/tables/unknown/part", "1")
    assert [table.id for table in client.get_input_tables_definitions()] == ["in.c-main.t"]
    assert json.loads((data / "in/tables/in.c-main.t.manifest").read_text())["id"] == "in.c-main.t"


@pytest.mark.rules("IM-55", "IM-59")
def test_types_that_a_component_only_hinted_at_are_read_from_the_metadata(
    load: Callable[..., None], tables: Read, client: CommonInterface
) -> None:
    hints = {"KBC.datatype.basetype": "NUMERIC", "KBC.datatype.length": "10,2"}
    items = tuple(MetadataItem(key, value, "vendor.ex-shop") for key, value in hints.items())
    load("id,price\n1,2.50\n", column_metadata={"price": items})
    tables({"source": "in.c-main.t"})
    with pytest.warns(DeprecationWarning, match="add_column_metadata"):  # the client's own ways
        (table,) = client.get_input_tables_definitions()
    assert table.schema["price"].data_types["base"].dtype == "NUMERIC"
    assert table.schema["id"].data_types["base"].dtype == "STRING"


@pytest.mark.rules("IM-55", "IM-56", "IM-59")
def test_types_of_columns_are_read_from_the_schema(
    load: Callable[..., None], tables: Read, client: CommonInterface
) -> None:
    load(
        "id,price,note\n1,2.50,x\n",
        primary_key=("id",),
        types={
            "id": ColumnType(BaseType.INTEGER, nullable=False),
            "price": ColumnType(BaseType.NUMERIC, "10,2", default="0"),
            "note": ColumnType(BaseType.STRING),
        },
        column_metadata={"price": (MetadataItem("KBC.description", "In euros", "user"),)},
    )
    tables({"source": "in.c-main.t", "columns": ["price", "id"]})
    (table,) = client.get_input_tables_definitions()
    assert list(table.schema) == ["price", "id"]
    price, key = table.schema["price"], table.schema["id"]
    assert price.data_types == {"base": DataType("NUMERIC", "10,2", "0")}
    assert (price.nullable, price.primary_key, price.description) == (True, False, "In euros")
    assert key.data_types == {"base": DataType("INTEGER")}
    assert (key.nullable, key.primary_key, table.primary_key) == (False, True, ["id"])
