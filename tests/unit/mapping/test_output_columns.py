"""Columns of an output table, from options or from a schema, by the component's support of data types."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import mapping

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.output_columns import Columns, table_columns, types_by_metadata
from docker_runner.mapping.output_metadata import column_metadata
from docker_runner.mapping.output_options import TableOptions, merged_options
from docker_runner.storage.base import BaseType, ColumnType

SOURCE = {"source": "t.csv", "destination": "out.c-main.t"}
SCHEMA = [
    {
        "name": "id",
        "primary_key": True,
        "data_type": {"base": {"type": "INTEGER"}, "snowflake": {"type": "NUMBER", "length": "38,0"}},
    },
    {
        "name": "price",
        "nullable": False,
        "description": "Price",
        "metadata": {"unit": "EUR"},
        "data_type": {"base": {"type": "NUMERIC", "length": "12,2", "default": 0}},
    },
    {"name": "sure", "data_type": {"base": {"type": "BOOLEAN", "default": True}}},
]


def merged(manifest: dict[str, Any], mapped: dict[str, Any] | None = None) -> TableOptions:
    item = {} if mapped is None else mapping("output", "tables", {**SOURCE, **mapped})[0]
    return merged_options(item, manifest, source="t.csv", key="storage.output.tables[0]" if item else "")


def columns(schema: Any, data_types: str) -> Columns:
    return table_columns(merged({"schema": schema}), data_types=data_types)


@pytest.mark.rules("OM-90", "OM-96", "D23")
def test_without_support_a_schema_gives_names_and_key_only() -> None:
    found = columns(SCHEMA, "none")
    assert (found.names, found.key, found.from_schema) == (("id", "price", "sure"), ("id",), True)
    assert (found.types, found.hints) == ({}, {})


@pytest.mark.rules("OM-90", "OM-91", "OM-92")
def test_with_authoritative_support_columns_get_their_base_types() -> None:
    found = columns(SCHEMA, "authoritative")
    assert found.types == {
        "id": ColumnType(BaseType.INTEGER, nullable=False),
        "price": ColumnType(BaseType.NUMERIC, length="12,2", default="0", nullable=False),
        "sure": ColumnType(BaseType.BOOLEAN, default="true"),
    }
    assert (found.names, found.hints) == (("id", "price", "sure"), {})


@pytest.mark.rules("OM-84", "OM-94")
def test_with_hints_columns_are_texts_and_their_types_become_metadata() -> None:
    options = merged({"schema": SCHEMA})
    found = table_columns(options, data_types="hints")
    assert found.types == {}
    told = column_metadata(options, found.hints, provider="c")
    assert {name: {item.key: item.value for item in items} for name, items in told.items()} == {
        "id": {"KBC.datatype.basetype": "INTEGER", "KBC.datatype.nullable": "1"},
        "price": {
            "unit": "EUR",
            "KBC.description": "Price",
            "KBC.datatype.basetype": "NUMERIC",
            "KBC.datatype.length": "12,2",
            "KBC.datatype.default": "0",
            "KBC.datatype.nullable": "0",
        },
        "sure": {
            "KBC.datatype.basetype": "BOOLEAN",
            "KBC.datatype.default": "true",
            "KBC.datatype.nullable": "1",
        },
    }
    assert {item.provider for items in told.values() for item in items} == {"c"}


@pytest.mark.rules("OM-93")
@pytest.mark.parametrize("data_types", ["authoritative", "hints"])
def test_a_component_that_supports_types_must_give_a_schema(data_types: str) -> None:
    with pytest.raises(ConfigurationError, match=data_types) as error:
        table_columns(merged({"columns": ["a"]}, {}), data_types=data_types)
    assert error.value.key == "storage.output.tables[0]"
    assert "write one into out/tables/t.csv.manifest or into the mapping" in error.value.problem
    assert table_columns(merged({"columns": ["a"]}), data_types="none").names == ("a",)


@pytest.mark.rules("OM-93")
def test_columns_without_a_type_are_all_named_where_types_count() -> None:
    schema = [{"name": "a"}, {"name": "b", "data_type": {"base": {"type": "DATE"}}}, {"name": "c"}]
    with pytest.raises(ConfigurationError, match=r"a, c\.$") as error:
        columns(schema, "authoritative")
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", "schema")
    assert columns(schema, "hints").hints["a"] == {"KBC.datatype.nullable": "1"}


@pytest.mark.rules("OM-92")
def test_an_unknown_base_type_is_refused_with_the_known_ones() -> None:
    schema = [{"name": "a", "data_type": {"base": {"type": "VARCHAR"}}}]
    with pytest.raises(ConfigurationError) as error:
        table_columns(merged({}, {"schema": schema}), data_types="authoritative")
    assert error.value.key == "storage.output.tables[0].schema"
    assert error.value.problem == (
        "The base type of the column a must be one of STRING, INTEGER, NUMERIC, FLOAT, BOOLEAN, DATE, TIMESTAMP, "
        "not 'VARCHAR'."
    )
    assert columns([{"name": "a", "data_type": {"base": {"type": "date"}}}], "authoritative").types == {
        "a": ColumnType(BaseType.DATE)
    }


@pytest.mark.rules("OM-91")
@pytest.mark.parametrize(
    ("data_type", "key"),
    [
        ({"base": {"type": "STRING"}, "redshift": {"type": "VARCHAR"}}, "schema[0].data_type"),
        ({"snowflake": {"type": "VARCHAR"}}, "schema[0].data_type"),
        ({"base": {"length": "1"}}, "schema[0].data_type.base"),
    ],
)
def test_a_data_type_has_a_base_type_and_known_backends(data_type: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        mapping("output", "tables", {**SOURCE, "schema": [{"name": "a", "data_type": data_type}]})
    assert error.value.key == f"storage.output.tables[0].{key}"


@pytest.mark.rules("OM-97")
def test_metadata_of_columns_tells_their_types() -> None:
    def item(value: str, key: str = "KBC.datatype.basetype") -> dict[str, str]:
        return {"key": key, "value": value}

    options = merged({"columns": ["id", "v", "w"], "column_metadata": {"id": [item("INTEGER")], "v": [item("x", "y")]}})
    names = ("id", "v", "w")
    assert types_by_metadata(options, names) == {
        "id": ColumnType(BaseType.INTEGER),
        "v": ColumnType(BaseType.STRING),
        "w": ColumnType(BaseType.STRING),
    }
    assert types_by_metadata(options, ()) == {}
    assert types_by_metadata(merged({"columns": ["id"]}), ("id",)) == {}
    with pytest.raises(ConfigurationError, match=r"must be one of STRING, .* not 'NUMBER'") as error:
        types_by_metadata(merged({"columns": ["id"], "column_metadata": {"id": [item("NUMBER")]}}), ("id",))
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", "column_metadata")
