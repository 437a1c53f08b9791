"""An incremental extractor written with ``keboola.component``, run again and again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workbench import Workbench, metadata

from docker_runner.errors import ComponentError

pytestmark = pytest.mark.engine

BUCKET = "in.c-test-ex-readings-main"
COLUMNS = ("station", "moment", "value")


def parameters(workbench: Workbench, *stations: str, key: str = "key-1", **more: Any) -> dict[str, Any]:
    secret = workbench.secret("test.ex-readings", key)
    return {"parameters": {"#api_key": secret, "stations": list(stations), **more}}


def readings(workbench: Workbench, quantity: str, *, bucket: str = BUCKET) -> list[tuple[str, int, str]]:
    rows = workbench.rows(f"{bucket}.readings_{quantity}")
    return sorted((row["station"], int(row["moment"]), row["value"]) for row in rows)


@pytest.mark.rules("OM-21", "OM-27", "OM-22", "OM-1", "OM-71", "OM-54", "OM-82", "CD-16", "EV-21", "ST-5", "ST-3")
def test_an_extractor_without_any_mapping_fills_its_own_bucket_and_goes_on_where_it_ended(
    workbench: Workbench,
) -> None:
    component = workbench.register("ex-readings", {"default_bucket": True})
    workbench.configuration("main", parameters(workbench, "north"), component=component)
    workbench.run("main", component=component)
    assert workbench.tables() == [f"{BUCKET}.{name}" for name in ("readings_temperature", "readings_wind", "stations")]
    assert workbench.rows(f"{BUCKET}.stations") == [{"name": "north", "height": "100"}]
    assert readings(workbench, "temperature") == [("north", 0, "1.00"), ("north", 2, "1.50"), ("north", 4, "2.00")]
    table = workbench.storage.table(f"{BUCKET}.readings_wind")
    assert (table.columns, table.primary_key) == (COLUMNS, ("station", "moment"))
    assert metadata(table)["KBC.description"] == "Readings of wind."
    assert metadata(table)["quantity"] == "wind"

    workbench.configuration("main", parameters(workbench, "north", "south", key="key-2"), component=component)
    workbench.run("main", component=component)
    assert [row[:2] for row in readings(workbench, "wind")] == [
        *[("north", moment) for moment in (1, 3, 5, 7, 9, 11)],
        *[("south", moment) for moment in (7, 9, 11)],
    ]
    assert [row["name"] for row in workbench.rows(f"{BUCKET}.stations")] == ["north", "south"]

    state = workbench.state("main", component=component)["component"]
    assert state["#token"].startswith("KBC::")
    # The token of the first run came back in plain text: the second run would have got another one.
    assert workbench.plain(component, state) == {"cursor": 12, "#token": "token-of-key-1"}
    said = "\n".join(workbench.lines)
    assert "Read up to 12 with the token" in said
    assert "token-of-key-1" not in said
    assert workbench.left_behind() == []


@pytest.mark.rules("OM-14", "OM-55", "OM-56")
def test_rows_that_the_extractor_wants_to_forget_are_deleted_before_its_load(workbench: Workbench) -> None:
    component = workbench.register("ex-readings", {"default_bucket": True})
    workbench.configuration("main", parameters(workbench, "north", "south"), component=component)
    workbench.run("main", component=component)
    workbench.configuration("main", parameters(workbench, "north", forget_stations=["south"]), component=component)
    workbench.run("main", component=component)
    assert {row[0] for row in readings(workbench, "wind")} == {"north"}
    assert len(readings(workbench, "wind")) == 6


@pytest.mark.rules("OM-80", "OM-81", "OM-82", "OM-84")
def test_tables_tell_who_made_them_and_what_their_columns_mean(workbench: Workbench) -> None:
    component = workbench.register("ex-readings", {"default_bucket": True})
    workbench.configuration("main", parameters(workbench, "north"), component=component)
    workbench.run("main", component=component)
    table = workbench.storage.table(f"{BUCKET}.stations")
    assert metadata(table) == {
        "KBC.createdBy.component.id": "test.ex-readings",
        "KBC.createdBy.configuration.id": "main",
        "KBC.lastUpdatedBy.component.id": "test.ex-readings",
        "KBC.lastUpdatedBy.configuration.id": "main",
        "KBC.description": "Every station, as it is now.",
    }
    name = metadata(table, "name")
    assert name["KBC.description"] == "What people call it."
    assert (name["KBC.datatype.basetype"], name["KBC.datatype.length"]) == ("STRING", "40")
    assert metadata(table, "height")["KBC.datatype.basetype"] == "INTEGER"
    assert table.primary_key == ("name",)
    providers = {item.key: item.provider for item in table.metadata}
    assert providers["KBC.description"] == "test.ex-readings"
    assert providers["KBC.createdBy.component.id"] == "system"


@pytest.mark.rules("EV-11", "EV-21", "OM-19", "OM-94", "OM-91")
def test_with_hints_the_same_extractor_writes_new_manifests_and_its_types_become_metadata(
    workbench: Workbench,
) -> None:
    component = workbench.register(
        "ex-readings", {"default_bucket": True}, dataTypesConfiguration={"dataTypesSupport": "hints"}
    )
    workbench.configuration("main", parameters(workbench, "north"), component=component)
    for _ in range(2):
        workbench.run("main", component=component)
    table = workbench.storage.table(f"{BUCKET}.readings_wind")
    assert (table.columns, table.primary_key, dict(table.types)) == (COLUMNS, ("station", "moment"), {})
    assert metadata(table)["KBC.description"] == "Readings of wind."
    assert metadata(table)["quantity"] == "wind"
    value = metadata(table, "value")
    assert (value["KBC.datatype.basetype"], value["KBC.datatype.length"]) == ("NUMERIC", "10,2")
    assert metadata(table, "moment")["KBC.datatype.basetype"] == "INTEGER"
    assert metadata(table, "moment")["KBC.description"] == "Seconds since the beginning."
    assert len(readings(workbench, "wind")) == 6
    assert workbench.storage.table(f"{BUCKET}.stations").primary_key == ("name",)


@pytest.mark.rules("RW-2", "RW-3", "RW-10", "ST-7", "EV-12", "OM-80")
def test_rows_of_one_extractor_have_a_state_each_and_share_the_bucket(workbench: Workbench) -> None:
    component = workbench.register("ex-readings", {"default_bucket": True})
    rows = {name: {"parameters": {"stations": [name], "pages_per_run": pages}} for name, pages in (("a", 1), ("b", 2))}
    workbench.configuration("main", parameters(workbench), component=component, rows=rows)
    done = workbench.command("run", f"{component}/main")
    assert done.returncode == 0, done.stderr
    assert f"{BUCKET}.readings_wind: 1 rows loaded, 1 in all" in done.stdout
    assert f"{BUCKET}.readings_wind: 3 rows loaded, 4 in all" in done.stdout
    cursors = [workbench.state("main", row=row, component=component)["component"]["cursor"] for row in ("a", "b")]
    assert cursors == [3, 6]
    assert workbench.state("main", component=component) == {}
    created = metadata(workbench.storage.table(f"{BUCKET}.readings_wind"))
    assert created["KBC.createdBy.configurationRow.id"] == "a"
    assert created["KBC.lastUpdatedBy.configurationRow.id"] == "b"
    assert "token-of-key-1" not in done.stdout + done.stderr
    assert workbench.left_behind() == []


@pytest.mark.rules("CT-32", "CT-35", "ST-10", "LC-46")
def test_a_wrong_key_is_a_message_of_the_component_and_forgets_nothing(workbench: Workbench) -> None:
    component = workbench.register("ex-readings", {"default_bucket": True})
    workbench.configuration("main", parameters(workbench, "north"), component=component)
    workbench.run("main", component=component)
    before = workbench.state("main", component=component)
    workbench.configuration("main", parameters(workbench, "north", key="guess"), component=component)
    with pytest.raises(ComponentError, match=r"^The API refuses the key: it must begin with key-$"):
        workbench.run("main", component=component)
    workbench.configuration("main", {"parameters": {"stations": []}}, component=component)
    with pytest.raises(ComponentError, match=r"Missing mandatory config parameters fields: \[#api_key\]"):
        workbench.run("main", component=component)
    assert workbench.state("main", component=component) == before
    assert len(readings(workbench, "wind")) == 3
    assert workbench.left_behind() == []
