"""Output mapping of tables, with real folders and a real lake."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.builders import mapping, write

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.mapping.output_metadata import Owner
from docker_runner.mapping.output_tables import TableOutput
from docker_runner.storage.base import Commit, DeleteWhere, Operator, Storage, TableLoad, Where

OWNER = Owner("vendor.ex-foo", "main")
MAPPED = {"source": "t.csv", "destination": "out.c-main.t"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables = tmp_path / "out/tables"
    tables.mkdir(parents=True)
    return tables


@pytest.fixture
def loads(lake: Storage, folder: Path) -> Callable[..., list[TableLoad]]:
    def describe(*items: dict[str, Any], owner: Owner = OWNER, bucket: str = "", **more: Any) -> list[TableLoad]:
        owner = Owner(owner.component_id, owner.config_id, owner.row_id, bucket)
        return TableOutput(mapping("output", "tables", *items), folder, owner, **more).loads()

    return describe


def table(folder: Path, name: str = "t.csv", manifest: Any = None, content: str = "id\n1\n") -> None:
    write(folder / name, content)
    if manifest is not None:
        write(folder / f"{name}.manifest", manifest)


@pytest.mark.rules("OM-22", "OM-24", "OM-27", "D24", "TV-4")
@pytest.mark.parametrize(
    ("name", "mapped", "manifest", "bucket", "destination"),
    [
        ("x.csv", None, None, "in.c-b", "in.c-b.x"),
        ("x", None, None, "in.c-b", "in.c-b.x"),
        ("out.c-z.x.csv", None, None, "in.c-b", "out.c-z.x"),
        ("out.c-z.x.csv", None, None, "", "out.c-z.x"),
        ("x.csv", None, {"destination": "y"}, "in.c-b", "in.c-b.y"),
        ("x.csv", None, {"destination": "out.c-z.y"}, "in.c-b", "out.c-z.y"),
        ("x.csv", "out.c-m.y", {"destination": "out.c-z.y"}, "in.c-b", "out.c-m.y"),
        ("x.csv", "", {"destination": "y"}, "in.c-b", "in.c-b.y"),
        ("my.csv", None, None, "in.c-vendor-ex-foo-123", "in.c-vendor-ex-foo-123.my"),
    ],
)
def test_where_a_table_goes(
    loads: Any, folder: Path, name: str, mapped: str | None, manifest: Any, bucket: str, destination: str
) -> None:
    table(folder, name, manifest)
    items = [] if mapped is None else [{"source": name, "destination": mapped}]
    assert [load.table_id for load in loads(*items, bucket=bucket)] == [destination]


@pytest.mark.rules("OM-22", "OM-24", "TV-4")
@pytest.mark.parametrize(
    ("name", "mapped", "bucket", "key", "problem"),
    [
        ("x.csv", "y", "in.c-b", "storage.output.tables[0].destination", "write stage.bucket.table, e.g. out.c-main.y"),
        ("x.csv", "a.b.c.d", "", "storage.output.tables[0].destination", "is not a table id"),
        ("x.csv", None, "", "out/tables/x.csv", "with a destination such as out.c-main.table"),
        ("a.b.c.d", None, "in.c-b", "out/tables/a.b.c.d", "'in.c-b.a.b.c.d' is not a table id"),
    ],
)
def test_a_destination_that_is_no_table_is_told_with_an_example(
    loads: Any, folder: Path, name: str, mapped: str | None, bucket: str, key: str, problem: str
) -> None:
    table(folder, name)
    items = [] if mapped is None else [{"source": name, "destination": mapped}]
    with pytest.raises(ConfigurationError) as error:
        loads(*items, bucket=bucket)
    assert error.value.key == key
    assert problem in error.value.problem


@pytest.mark.rules("OM-22", "OM-24")
def test_only_the_name_of_a_file_loses_its_ending(loads: Any, folder: Path) -> None:
    table(folder, "x.csv", {"destination": "y.csv"})
    with pytest.raises(ConfigurationError, match=r"'in\.c-b\.y\.csv' is not a table id"):
        loads(bucket="in.c-b")


@pytest.mark.rules("OM-24", "OM-28")
@pytest.mark.parametrize("destination", ["a.b.c", "out.c-main.t/../x", "out..t"])
def test_a_destination_that_storage_does_not_take_is_a_user_error(loads: Any, folder: Path, destination: str) -> None:
    table(folder)
    with pytest.raises(UserError, match="is not a table id"):
        loads({"source": "t.csv", "destination": destination})


@pytest.mark.rules("OM-3", "OM-4")
def test_mapped_tables_that_were_not_written_are_all_named(loads: Any, folder: Path) -> None:
    table(folder, "T.csv")
    with pytest.raises(ConfigurationError) as error:
        loads(MAPPED, {**MAPPED, "source": "t"}, {**MAPPED, "source": "T.csv"})
    assert error.value.key == "storage.output.tables[0].source"
    assert error.value.problem == "The component did not write out/tables/t.csv, out/tables/t; it wrote: T.csv."


@pytest.mark.rules("OM-1", "OM-5", "OM-8")
def test_every_table_is_loaded_mapped_or_not_and_once_per_mapping(loads: Any, folder: Path) -> None:
    table(folder, "b.csv")
    table(folder, "a.csv")
    again = {"source": "b.csv", "destination": "out.c-main.again"}
    found = loads({**again, "destination": "out.c-main.t"}, again, bucket="in.c-b")
    assert [load.table_id for load in found] == ["in.c-b.a", "out.c-main.t", "out.c-main.again"]
    assert [load.source.name for load in found] == ["a.csv", "b.csv", "b.csv"]


@pytest.mark.rules("OM-6")
def test_a_mapping_needs_a_source() -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.output\.tables\[0\]: The key 'source' is missing"):
        mapping("output", "tables", {"destination": "out.c-main.t"})


@pytest.mark.rules("OM-13", "OM-30", "OM-53", "OM-70", "D23")
def test_columns_and_key_come_from_options_or_schema(loads: Any, folder: Path) -> None:
    table(folder, "a.csv", {"columns": ["id", "v"], "primary_key": ["id"], "enclosure": "", "delimiter": "\t"})
    table(folder, "b.csv", {"schema": [{"name": "id", "primary_key": True}, {"name": "v"}], "has_header": True})
    a, b = loads(bucket="in.c-b")
    assert (a.columns, a.primary_key, a.has_header, a.delimiter, a.enclosure) == (("id", "v"), ("id",), False, "\t", "")
    assert (b.columns, b.primary_key, b.has_header, b.delimiter, b.enclosure) == (("id", "v"), ("id",), True, ",", '"')


@pytest.mark.rules("CD-11", "OM-7")
def test_manifests_are_read_as_yaml_for_a_component_that_wants_yaml(loads: Any, folder: Path) -> None:
    table(folder, manifest="incremental: true\ndestination: out.c-z.y\n")
    (load,) = loads(extension="yml")
    assert (load.table_id, load.incremental) == ("out.c-z.y", True)
    with pytest.raises(ConfigurationError, match=r"out/tables/t\.csv\.manifest: This is not valid JSON"):
        loads()


@pytest.mark.rules("OM-71")
def test_a_sliced_table_needs_columns(loads: Any, folder: Path) -> None:
    write(folder / "t.csv/part1", "1\n")
    with pytest.raises(ConfigurationError, match=r"tables\[0\]: A sliced table has no header: .*t\.csv\.manifest or"):
        loads(MAPPED)
    (load,) = loads({**MAPPED, "columns": ["id"]})
    assert load.source.is_dir()


@pytest.mark.rules("OM-71")
def test_a_header_in_slices_is_told_to_be_data(loads: Any, folder: Path) -> None:
    (folder / "t.csv").mkdir(parents=True)
    told: list[str] = []
    loads({**MAPPED, "columns": ["a"], "has_header": True}, warn=told.append)
    assert told == [
        "storage.output.tables[0]: has_header has no effect: slices have no header, all their lines are data."
    ]


@pytest.mark.rules("OM-71")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_slice_that_is_no_regular_file_is_never_loaded(
    loads: Any, folder: Path, lake: Storage, tmp_path: Path, kind: str
) -> None:
    write(folder / "t.csv/a", "1\n")
    odd = folder / "t.csv/b"
    if kind == "link":
        odd.symlink_to(write(tmp_path / "secret", "of the machine\n"))
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.mkdir()
    with pytest.raises(UserError):
        lake.commit(Commit("key", tuple(loads({**MAPPED, "columns": ["id"]}))))
    assert lake.tables() == []


@pytest.mark.rules("OM-14", "OM-15", "OM-20a", "OM-56", "OM-57")
def test_delete_rules_in_both_forms(loads: Any, folder: Path) -> None:
    table(folder)
    (old,) = loads(
        {**MAPPED, "delete_where_column": "id", "delete_where_values": [1, None], "delete_where_operator": "ne"}
    )
    assert old.delete_where == (DeleteWhere((Where("id", ("1", ""), Operator.NE),)),)
    before = datetime.now(UTC)
    (new,) = loads(
        {
            **MAPPED,
            "delete_where": [
                {
                    "changed_since": "-7 days",
                    "changed_until": "2026-01-31",
                    "where_filters": [
                        {"column": "a", "values_from_set": ["x"]},
                        {"column": "b", "operator": "ne", "values_from_set": ["y", 2]},
                    ],
                },
                {"changed_until": 1700000000},
            ],
        }
    )
    first, second = new.delete_where
    assert first.filters == (Where("a", ("x",)), Where("b", ("y", "2"), Operator.NE))
    assert timedelta(0) <= first.changed_since - (before - timedelta(days=7)) < timedelta(minutes=1)
    assert first.changed_until == datetime(2026, 1, 31, tzinfo=UTC)
    assert second == DeleteWhere(changed_until=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))


@pytest.mark.rules("OM-20a", "OM-58", "BR-10")
@pytest.mark.parametrize(
    ("rule", "key", "problem"),
    [
        ({}, "", "Give changed_since, changed_until or where_filters"),
        ({"where_filters": [{"column": "a"}]}, ".where_filters[0]", "one source, but none is given"),
        (
            {"where_filters": [{"column": "a", "values_from_set": ["1"], "values_from_workspace": {"table": "t"}}]},
            ".where_filters[0]",
            "both values_from_set and values_from_workspace are given",
        ),
        (
            {"where_filters": [{"column": "a", "values_from_workspace": {"table": "t"}}]},
            ".where_filters[0].values_from_workspace",
            "list them in values_from_set",
        ),
        (
            {
                "where_filters": [
                    {"column": "a", "values_from_set": [], "values_from_storage": {"bucket_id": "in.c-b", "table": "t"}}
                ]
            },
            ".where_filters[0].values_from_storage",
            "list them in values_from_set",
        ),
        ({"changed_since": "soon-ish"}, ".changed_since", "is not a moment"),
    ],
)
def test_a_delete_rule_without_meaning_is_refused_where_it_is_written(
    loads: Any, folder: Path, rule: Any, key: str, problem: str
) -> None:
    table(folder)
    with pytest.raises(ConfigurationError, match=problem) as error:
        loads({**MAPPED, "delete_where": [rule]})
    assert error.value.key == f"storage.output.tables[0].delete_where[0]{key}"
    table(folder, manifest={"delete_where": [{"changed_since": "today"}, rule]})
    with pytest.raises(ConfigurationError, match=problem) as error:
        loads(MAPPED)
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", f"delete_where[1]{key}")


@pytest.mark.rules("OM-20a")
@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"delete_where_operator": "gt"}, ".delete_where_operator"),
        (
            {"delete_where": [{"where_filters": [{"column": "a", "operator": "lt"}]}]},
            ".delete_where[0].where_filters[0].operator",
        ),
    ],
)
def test_a_wrong_operator_names_its_key(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError, match="Must be one of 'eq', 'ne'") as error:
        mapping("output", "tables", {**MAPPED, **options})
    assert error.value.key == f"storage.output.tables[0]{key}"


@pytest.mark.rules("OM-80", "OM-81", "OM-82", "OM-91", "D23")
def test_metadata_tells_who_wrote_a_table_and_what_the_component_says_of_it(
    loads: Any, folder: Path, lake: Storage
) -> None:
    manifest = {
        "table_metadata": {"rows": 5, "sure": True},
        "description": "Orders",
        "schema": [{"name": "id", "description": "Number", "metadata": {"unit": None}}, {"name": "v"}],
        "has_header": True,
    }
    table(folder, manifest=manifest, content="id,v\n1,2\n")

    def stored(key: str) -> list[tuple[str, str, str]]:
        owner = Owner("vendor.ex-foo", "main", "r1")
        lake.commit(Commit(key, tuple(loads(MAPPED, owner=owner))))
        return sorted((item.key, item.value, item.provider) for item in lake.table("out.c-main.t").metadata)

    own = [
        ("KBC.description", "Orders", "vendor.ex-foo"),
        ("rows", "5", "vendor.ex-foo"),
        ("sure", "true", "vendor.ex-foo"),
    ]
    ids = {"component": "vendor.ex-foo", "configuration": "main", "configurationRow": "r1"}
    events = [
        (f"KBC.{event}.{kind}.id", value, "system")
        for event in ("createdBy", "lastUpdatedBy")
        for kind, value in ids.items()
    ]
    assert stored("first") == sorted(own + events)
    columns = lake.table("out.c-main.t").column_metadata
    assert sorted((item.key, item.value) for item in columns["id"]) == [("KBC.description", "Number"), ("unit", "")]
    assert not columns.get("v")
    (again,) = loads(MAPPED)
    assert [item.key for item in again.metadata if item.provider == "system"] == [
        "KBC.lastUpdatedBy.component.id", "KBC.lastUpdatedBy.configuration.id",
    ]  # fmt: skip


@pytest.mark.rules("OM-16", "OM-82", "OM-84")
def test_legacy_metadata_is_the_components(loads: Any, folder: Path) -> None:
    hint = {"key": "KBC.datatype.type", "value": "INTEGER"}
    table(folder, manifest=json.dumps({"metadata": [{"key": "a", "value": "1"}], "column_metadata": {"id": [hint]}}))
    (load,) = loads(MAPPED)
    assert [(item.key, item.value) for item in load.metadata if item.provider == "vendor.ex-foo"] == [("a", "1")]
    assert [(item.key, item.provider) for item in load.column_metadata["id"]] == [
        ("KBC.datatype.type", "vendor.ex-foo")
    ]


@pytest.mark.rules("OM-23")
def test_a_destination_taken_from_the_files_name_is_deprecated(loads: Any, folder: Path) -> None:
    table(folder, "out.c-z.x.csv")
    table(folder, "mapped.c-z.x.csv")
    told: list[str] = []
    mapped = {"source": "mapped.c-z.x.csv", "destination": "out.c-z.y"}
    assert [load.table_id for load in loads(mapped, warn=told.append)] == ["out.c-z.y", "out.c-z.x"]
    assert told == [
        "out/tables/out.c-z.x.csv: the table goes to out.c-z.x because of its name, which is deprecated: map it, or "
        "write the destination into out/tables/out.c-z.x.csv.manifest."
    ]


@pytest.mark.rules("OM-40")
def test_a_changed_name_of_a_column_is_told_for_mapping_and_manifest(loads: Any, folder: Path) -> None:
    table(folder, manifest={"columns": ["a b"]})
    told: list[str] = []
    loads({**MAPPED, "primary_key": ["a b"]}, warn=told.append)
    assert [line.split(":")[0] for line in told] == ["storage.output.tables[0]", "out/tables/t.csv.manifest"]
    assert all("'a b' is stored as 'a_b'" in line for line in told)


@pytest.mark.rules("OM-24", "OM-28")
def test_a_wrong_destination_of_a_manifest_names_the_manifest(loads: Any, folder: Path) -> None:
    table(folder, manifest={"destination": "a.b.c"})
    with pytest.raises(ConfigurationError) as error:
        loads()
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", "destination")


@pytest.mark.rules("OM-18")
@pytest.mark.parametrize(("strategy", "deduplicate"), [(None, True), ("upsert", True), ("insert", False)])
def test_the_deduplication_strategy_tells_whether_rows_are_updated(
    loads: Any, folder: Path, strategy: str | None, deduplicate: bool
) -> None:
    table(folder, manifest={"deduplication_strategy": strategy} if strategy else {})
    (load,) = loads(MAPPED)
    assert load.deduplicate is deduplicate


@pytest.mark.rules("OM-18")
@pytest.mark.parametrize("option", [{"deduplication_strategy": "merge"}, {"incremental": "yes"}, {"columns": "a"}])
def test_an_option_of_another_type_is_refused(loads: Any, folder: Path, option: dict[str, Any]) -> None:
    table(folder, manifest=option)
    with pytest.raises(ConfigurationError) as error:
        loads(MAPPED)
    assert (error.value.file, error.value.key) == ("out/tables/t.csv.manifest", next(iter(option)))


@pytest.mark.rules("OM-26", "BR-4", "BR-14", "OM-80")
def test_in_a_development_branch_buckets_carry_its_id_and_metadata_tells_it(loads: Any, folder: Path) -> None:
    table(folder, "a.csv", {"destination": "out.c-main.a"})
    table(folder, "b.csv")
    owner = Owner("vendor.ex-foo", "main", default_bucket="in.plain", branch="123")
    first, second = TableOutput([], folder, owner).loads()
    assert (first.table_id, second.table_id) == ("out.c-123-main.a", "in.123-plain.b")
    told = {(item.key, item.value) for item in (*first.metadata, *first.created_metadata) if "branch" in item.key}
    assert told == {("KBC.createdBy.branch.id", "123"), ("KBC.lastUpdatedBy.branch.id", "123")}
    (plain,) = loads({"source": "b.csv", "destination": "out.c-main.b"}, bucket="in.c-x")[1:]
    assert not [item for item in (*plain.metadata, *plain.created_metadata) if "branch" in item.key]


@pytest.mark.rules("OM-3", "OM-17", "OM-100")
def test_after_a_failure_only_tables_with_write_always_are_stored(folder: Path) -> None:
    for name in ("by_mapping", "by_manifest", "neither", "unmapped"):
        table(folder, name, {"write_always": True} if name in ("by_manifest", "unmapped") else None)
    items = [
        {"source": name, "destination": f"out.c-main.{name}", "write_always": name == "by_mapping"}
        for name in ("by_mapping", "by_manifest", "neither", "missing")
    ]
    owner = Owner("vendor.ex-foo", "main", default_bucket="in.c-b")
    output = TableOutput(mapping("output", "tables", *items), folder, owner)
    assert [load.table_id for load in output.loads_after_failure()] == [
        "out.c-main.by_manifest",
        "out.c-main.by_mapping",
        "in.c-b.unmapped",
    ]


@pytest.mark.rules("OM-2", "OM-101")
def test_after_a_failure_a_wrong_table_is_left_out_but_a_manifest_that_cannot_be_read_stops_all(folder: Path) -> None:
    told: list[str] = []
    output = TableOutput([], folder, Owner("c", "main", default_bucket="in.c-b"), warn=told.append)
    table(folder, "sound", {"write_always": True})
    table(folder, "twice", {"write_always": True, "columns": ["a"], "schema": [{"name": "a"}]})
    table(folder, "a.b.c.d", {"write_always": True})
    assert [load.table_id for load in output.loads_after_failure()] == ["in.c-b.sound"]
    assert [line.split(" is not stored: ")[0] for line in told] == ["a.b.c.d", "twice"]
    told.clear()
    (folder / "link").symlink_to("sound")
    (folder / ("x" * 255)).write_text("id\n")
    assert [load.table_id for load in output.loads_after_failure()] == ["in.c-b.sound"]
    assert sum("It is left out" in line for line in told) == 2
    (folder / "twice").unlink()
    with pytest.raises(ConfigurationError, match="no data beside them"):
        output.loads_after_failure()
    (folder / "twice.manifest").unlink()
    table(folder, "sound", "{")
    with pytest.raises(ConfigurationError, match=r"sound\.manifest: This is not valid JSON"):
        output.loads_after_failure()


@pytest.mark.rules("OM-101")
def test_after_a_failure_a_promised_schema_may_be_missing(folder: Path) -> None:
    table(folder, "log", {"write_always": True})
    owner = Owner("c", "main", default_bucket="in.c-b")
    output = TableOutput([], folder, owner, data_types="authoritative")
    (load,) = output.loads_after_failure()
    assert (load.columns, load.types) == ((), {})
    with pytest.raises(ConfigurationError, match="must be told by a schema"):
        output.loads()
