"""Typed tables from component to component: types are written in a manifest, kept by Storage, and told to the next."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workbench import Workbench, metadata

from docker_runner.errors import UserError

pytestmark = pytest.mark.engine

ORDERS = [
    {"id": 1, "customer": "Ann", "price": "10.50", "weight": "0.25", "paid": "true", "ordered_on": "2026-01-31",
     "changed_at": "2026-01-31 12:00:00"},
    {"id": 2, "customer": "Bo", "price": "3", "paid": "false", "ordered_on": "", "changed_at": ""},
]  # fmt: skip
TABLE = "out.c-shop.orders"


def shop(workbench: Workbench, *, support: str = "authoritative", orders: Any = ORDERS, **parameters: Any) -> str:
    component = workbench.register("ex-typed", dataTypesConfiguration={"dataTypesSupport": support})
    storage = {"output": {"default_bucket": "out.c-shop"}}
    workbench.configuration(
        "main", {"parameters": {"orders": orders, **parameters}, "storage": storage}, component=component
    )
    return component


def profile(workbench: Workbench, *, features: tuple[str, ...] = (), **item: Any) -> dict[str, dict[str, str]]:
    """What a second component finds out about the table, by column."""
    component = workbench.register("app-profile", features=features)
    storage = {
        "input": {"tables": [{"source": TABLE, "destination": "any.csv", **item}]},
        "output": {"tables": [{"source": "profile.csv", "destination": "out.c-profile.columns"}]},
    }
    workbench.configuration("main", {"storage": storage}, component=component)
    workbench.run("main", component=component)
    return {row["column"]: row for row in workbench.rows("out.c-profile.columns")}


@pytest.mark.rules("OM-90", "OM-91", "OM-92", "OM-93", "EV-11", "EV-21", "CD-28")
def test_a_component_with_authoritative_types_gets_a_typed_table(workbench: Workbench) -> None:
    component = shop(workbench)
    workbench.run("main", component=component)
    table = workbench.storage.table(TABLE)
    assert {name: kind.base.value for name, kind in table.types.items()} == {
        "id": "INTEGER",
        "customer": "STRING",
        "price": "NUMERIC",
        "weight": "FLOAT",
        "paid": "BOOLEAN",
        "ordered_on": "DATE",
        "changed_at": "TIMESTAMP",
    }
    assert (table.types["customer"].length, table.types["price"].length) == ("100", "10,2")
    assert table.primary_key == ("id",)
    assert metadata(table)["KBC.description"] == "What was ordered."
    assert metadata(table, "id")["KBC.description"] == "Number of the order."
    assert metadata(table, "customer")["pii"] == "yes"


@pytest.mark.rules("IM-48", "IM-50", "IM-53", "IM-54", "IM-55", "IM-56", "IM-59")
def test_the_next_component_is_told_the_types_that_it_finds(workbench: Workbench) -> None:
    workbench.run("main", component=shop(workbench))
    found = profile(workbench)
    assert {name: row["type"] for name, row in found.items()} == {
        "id": "INTEGER",
        "customer": "STRING",
        "price": "NUMERIC",
        "weight": "FLOAT",
        "paid": "BOOLEAN",
        "ordered_on": "DATE",
        "changed_at": "TIMESTAMP",
    }
    assert found["price"]["length"] == "10,2"
    assert found["id"]["description"] == "Number of the order."
    assert {name for name, row in found.items() if row["key"] == "True"} == {"id"}
    assert {row["table"] for row in found.values()} == {TABLE}
    # NULL of typed columns is an empty text in the file.
    assert {name: row["empty"] for name, row in found.items() if row["empty"] != "0"} == {
        "weight": "1",
        "ordered_on": "1",
        "changed_at": "1",
    }
    facts = workbench.json("tables.json")[TABLE]
    assert facts["name"] == "orders"
    assert facts["metadata"]["KBC.description"] == "What was ordered."
    assert facts["columns"] == list(ORDERS[0])


@pytest.mark.rules("IM-33", "IM-48", "IM-53", "IM-56")
def test_a_selection_of_columns_is_told_with_its_types_only(workbench: Workbench) -> None:
    workbench.run("main", component=shop(workbench))
    found = profile(workbench, columns=["price", "id"])
    assert {name: row["type"] for name, row in found.items()} == {"price": "NUMERIC", "id": "INTEGER"}


@pytest.mark.rules("CD-27", "IM-55")
def test_a_component_that_refuses_a_schema_is_told_the_types_as_metadata(workbench: Workbench) -> None:
    workbench.run("main", component=shop(workbench))
    found = profile(workbench, features=("input-manifests-without-schema",))
    assert (found["id"]["type"], found["price"]["type"]) == ("INTEGER", "NUMERIC")
    # Lengths are what the package takes from a schema only.
    assert found["price"]["length"] == ""


@pytest.mark.rules("OM-95", "OM-54")
def test_later_loads_update_rows_and_add_the_columns_that_the_schema_gained(workbench: Workbench) -> None:
    component = shop(workbench)
    workbench.run("main", component=component)
    changed = [{**ORDERS[1], "paid": "true", "rating": "5"}, {"id": 3, "customer": "Cy", "rating": ""}]
    shop(workbench, orders=changed, more_columns=["rating"])
    workbench.run("main", component=component)
    rows = {row["id"]: row for row in workbench.rows(TABLE)}
    assert sorted(rows) == ["1", "2", "3"]
    assert [rows[number]["rating"] for number in ("1", "2", "3")] == ["", "5", ""]
    assert rows["2"]["paid"] == "true"
    assert workbench.storage.table(TABLE).types["rating"].base.value == "INTEGER"


@pytest.mark.rules("OM-74")
def test_a_value_that_is_not_of_its_columns_type_is_named_and_nothing_is_stored(workbench: Workbench) -> None:
    component = shop(workbench, orders=[{**ORDERS[0], "price": "cheap"}])
    with pytest.raises(UserError, match=r"(?s)price.*cheap|cheap.*price"):
        workbench.run("main", component=component)
    assert workbench.tables() == []


@pytest.mark.rules("OM-94", "OM-90", "EV-11")
def test_with_hints_columns_are_texts_that_tell_their_type(workbench: Workbench) -> None:
    workbench.run("main", component=shop(workbench, support="hints"))
    table = workbench.storage.table(TABLE)
    assert not table.types
    price = metadata(table, "price")
    assert (price["KBC.datatype.basetype"], price["KBC.datatype.length"]) == ("NUMERIC", "10,2")


@pytest.mark.rules("OM-90", "EV-11", "EV-21", "CF-24")
def test_a_configuration_can_switch_the_types_of_its_component_off(workbench: Workbench) -> None:
    component = shop(workbench)
    storage = {"output": {"default_bucket": "out.c-shop", "data_type_support": "none"}}
    workbench.configuration("main", {"parameters": {"orders": ORDERS}, "storage": storage}, component=component)
    workbench.run("main", component=component)
    table = workbench.storage.table(TABLE)
    assert (dict(table.types), table.primary_key) == ({}, ("id",))
    assert [row["price"] for row in workbench.rows(TABLE)] == ["10.50", "3"]
