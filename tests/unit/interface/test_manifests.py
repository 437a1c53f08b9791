"""Manifests of tables and files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from tests.builders import write

from docker_runner.documents import checked
from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import (
    input_file_manifest,
    input_table_manifest,
    moment_text,
    read_manifest,
    write_manifest,
)
from docker_runner.storage.base import BaseType, ColumnType, MetadataItem, StoredFile, Table

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TABLE = "output-table-manifest"


@pytest.mark.rules(*(f"IM-{number}" for number in (45, 46, 47, 48, 49, 50, 51, 53, 54, 55, 56, 59)))
def test_the_manifest_of_an_input_table_has_all_keys_in_order() -> None:
    described = MetadataItem("KBC.description", "Orders", "user", NOON, 5)
    hint = MetadataItem("KBC.datatype.type", "INTEGER", "user", NOON, 6)
    table = Table(
        "in.c-main.t",
        ("id", "v"),
        ("id",),
        NOON,
        last_import_date=datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC),
        last_change_date=datetime(2026, 2, 28, tzinfo=UTC),
        rows=1,
        bytes=1,
        metadata=(described,),
        column_metadata={"id": (hint,)},
    )
    manifest = input_table_manifest(table, ["id", "v"])
    checked(manifest, "input-table-manifest")
    assert list(manifest) == [
        "id", "uri", "name", "primary_key", "distribution_key", "created", "last_change_date", "last_import_date",
        "description", "columns", "metadata", "column_metadata", "schema",
    ]  # fmt: skip
    assert (manifest["id"], manifest["name"], manifest["description"]) == ("in.c-main.t", "t", "Orders")
    assert (manifest["uri"], manifest["distribution_key"]) == ("docker-runner://tables/in.c-main.t", [])
    assert manifest["schema"] == []
    dates = [manifest[name] for name in ("created", "last_change_date", "last_import_date")]
    assert dates == ["2026-01-31T12:00:00+0000", "2026-02-28T00:00:00+0000", "2026-03-01T23:59:59+0000"]
    assert manifest["metadata"] == [
        {
            "id": 5,
            "key": "KBC.description",
            "value": "Orders",
            "provider": "user",
            "timestamp": "2026-01-31T12:00:00+0000",
        }
    ]
    assert [item["value"] for item in manifest["column_metadata"]["id"]] == ["INTEGER"]
    assert manifest["column_metadata"]["v"] == []
    selected = input_table_manifest(table, ["v"])
    assert (selected["primary_key"], selected["columns"], list(selected["column_metadata"])) == (["id"], ["v"], ["v"])


@pytest.mark.rules("IM-51")
def test_a_table_without_a_description_has_no_such_key() -> None:
    empty = MetadataItem("KBC.description", "", "user", NOON, 5)
    for metadata in ((), (empty,)):
        table = Table("in.c-main.t", ("id",), (), NOON, NOON, NOON, 1, 1, metadata=metadata)
        assert "description" not in input_table_manifest(table, ["id"])


@pytest.mark.rules("IM-55", "IM-56")
def test_the_manifest_of_a_typed_table_tells_the_types_twice() -> None:
    described = MetadataItem("KBC.description", "In euros", "user", NOON, 5)
    own = MetadataItem("KBC.datatype.type", "MONEY", "vendor.ex-shop", NOON, 6)
    table = Table(
        "in.c-main.t",
        ("id", "price", "note", "unused"),
        ("id",),
        NOON,
        NOON,
        NOON,
        1,
        1,
        column_metadata={"price": (described, own)},
        types={
            "id": ColumnType(BaseType.INTEGER, nullable=False),
            "price": ColumnType(BaseType.NUMERIC, "10,2", default="0"),
            "note": ColumnType(BaseType.STRING),
            "unused": ColumnType(BaseType.DATE),
        },
    )
    manifest = input_table_manifest(table, ["price", "id", "note"])
    price = {"base": {"type": "NUMERIC", "length": "10,2", "default": "0"}}
    assert manifest["schema"] == [
        {"name": "price", "data_type": price, "nullable": True, "primary_key": False, "description": "In euros"},
        {"name": "id", "data_type": {"base": {"type": "INTEGER"}}, "nullable": False, "primary_key": True},
        {"name": "note", "data_type": {"base": {"type": "STRING"}}, "nullable": True, "primary_key": False},
    ]
    told = {
        name: {item["key"].removeprefix("KBC.datatype."): item["value"] for item in items}
        for name, items in manifest["column_metadata"].items()
    }
    assert told["id"] == {"type": "INTEGER", "nullable": "", "basetype": "INTEGER"}
    assert told["note"] == {"type": "STRING", "nullable": "1", "basetype": "STRING"}
    assert told["price"] == {
        "KBC.description": "In euros", "type": "MONEY", "nullable": "1", "basetype": "NUMERIC", "length": "10,2",
        "default": "0",
    }  # fmt: skip
    checked(manifest, "input-table-manifest")
    # A component may hand the columns on as they are.
    checked({"schema": manifest["schema"]}, "output-table-manifest")


@pytest.mark.rules("IF-28", "IF-33")
def test_the_manifest_of_an_input_file() -> None:
    assert input_file_manifest(StoredFile(7, "a.csv", NOON, ("x",), 12)) == {
        "id": 7, "name": "a.csv", "created": "2026-01-31T12:00:00+0000", "is_public": False, "is_encrypted": True,
        "is_sliced": False, "tags": ["x"], "max_age_days": 0, "size_bytes": 12,
    }  # fmt: skip


@pytest.mark.rules("IM-50")
def test_times_keep_their_offset() -> None:
    assert moment_text(NOON.astimezone(timezone(timedelta(hours=-5, minutes=-30)))) == "2026-01-31T06:30:00-0530"


@pytest.mark.rules("CD-11", "OM-7")
@pytest.mark.parametrize("extension", ["json", "yml"])
def test_manifests_are_written_and_read_in_the_components_format(tmp_path: Path, extension: str) -> None:
    write_manifest(tmp_path / "t.csv", {"primary_key": ["ě"], "incremental": True}, extension=extension)
    text = (tmp_path / "t.csv.manifest").read_text(encoding="utf-8")
    assert (json.loads if extension == "json" else yaml.safe_load)(text) == {"primary_key": ["ě"], "incremental": True}
    assert read_manifest(tmp_path / "t.csv", TABLE, extension=extension) == {"primary_key": ["ě"], "incremental": True}


@pytest.mark.parametrize("content", ["", "[]", "null", "{}"])
def test_an_empty_manifest_says_nothing_and_a_missing_one_is_none(tmp_path: Path, content: str) -> None:
    assert read_manifest(tmp_path / "t.csv", TABLE, extension="json") is None
    write(tmp_path / "t.csv.manifest", content)
    assert read_manifest(tmp_path / "t.csv", TABLE, extension="json") == {}


@pytest.mark.rules("OM-7", "OF-4")
@pytest.mark.parametrize(
    ("content", "extension", "problem"),
    [
        ("{", "json", "not valid JSON"),
        ("a: [", "yml", "not valid YAML"),
        (b'{"description": "\xff"}', "json", "not UTF-8"),
        ('{"incremantal": true}', "json", "Unknown key 'incremantal'; did you mean 'incremental'?"),
        ('{"incremental": "yes"}', "json", "incremental: Must be true or false"),
        ('{"column_metadata": {"a": [{"key": "x"}]}}', "json", "column_metadata.a[0]: The key 'value' is missing"),
        ('{"table_metadata": ["x"]}', "json", "table_metadata: Must be a map, not a list"),
        ('{"schema": [{"name": "a", "data_type": {}}]}', "json", "schema[0].data_type: The key 'base' is missing"),
        ("5", "json", "Must be a map"),
    ],
)
def test_a_wrong_manifest_names_its_file(tmp_path: Path, content: str | bytes, extension: str, problem: str) -> None:
    write(tmp_path / "out/tables/t.csv.manifest", content)
    with pytest.raises(ConfigurationError) as error:
        read_manifest(tmp_path / "out/tables/t.csv", TABLE, extension=extension)
    assert error.value.file == "out/tables/t.csv.manifest"
    assert problem in str(error.value)


def test_a_link_or_a_folder_in_place_of_a_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.manifest").symlink_to(write(tmp_path / "secret", "{}"))
    (tmp_path / "b.csv.manifest").mkdir()
    for name in ("a.csv", "b.csv"):
        with pytest.raises(ConfigurationError, match="must be a regular file"):
            read_manifest(tmp_path / name, TABLE, extension="json")
