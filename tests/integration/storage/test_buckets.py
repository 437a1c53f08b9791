"""Buckets and what is recorded of them; lakes that were made before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import Bucket, Commit, LoadedTable, MetadataItem, Storage, TableLoad
from docker_runner.storage.lake.lake import Lake

Load = Callable[..., LoadedTable]
CREATED = (MetadataItem("KBC.createdBy.component.id", "vendor.x", "system"),)


@pytest.mark.rules("OM-51", "OM-80")
def test_a_bucket_that_a_load_makes_remembers_who_made_it(lake: Storage, load: Load) -> None:
    load("id\n1\n", created_metadata=CREATED)
    other = (MetadataItem("KBC.createdBy.component.id", "vendor.y", "system"),)
    load("id\n1\n", "in.c-main.second", created_metadata=other)
    load("id\n1\n", "in.c-other.t", created_metadata=other)
    bucket = lake.bucket("in.c-main")
    assert bucket
    assert [(item.provider, item.key, item.value) for item in bucket.metadata] == [
        ("system", "KBC.createdBy.component.id", "vendor.x")
    ]
    assert bucket.metadata[0].timestamp
    assert bucket.metadata[0].id == 1
    assert bucket.tables == 2
    assert [(found.id, found.metadata[0].value) for found in lake.buckets()] == [
        ("in.c-main", "vendor.x"),
        ("in.c-other", "vendor.y"),
    ]
    assert lake.bucket("in.c-nowhere") is None
    assert lake.bucket("in.c-mai") is None


@pytest.mark.rules("OM-80")
def test_the_first_load_of_a_commit_is_the_one_that_makes_the_bucket(lake: Storage, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    loads = [
        TableLoad(f"in.c-main.{name}", tmp_path / "a.csv", created_metadata=(MetadataItem("k", name, "system"),))
        for name in ("z", "a")
    ]
    lake.commit(Commit("k", tuple(loads)))
    bucket = lake.bucket("in.c-main")
    assert bucket
    assert [item.value for item in bucket.metadata] == ["z"]


@pytest.mark.rules("OM-80", "OM-81")
def test_a_table_remembers_who_made_it_and_who_wrote_it_last(lake: Storage, load: Load) -> None:
    def updated(name: str) -> tuple[MetadataItem, ...]:
        return (MetadataItem("KBC.lastUpdatedBy.component.id", name, "system"),)

    load("id\n1\n", created_metadata=CREATED, metadata=updated("vendor.x"))
    other = (MetadataItem("KBC.createdBy.component.id", "vendor.y", "system"),)
    load("id\n1\n", created_metadata=other, metadata=updated("vendor.y"))
    assert {item.key: item.value for item in lake.table("in.c-main.t").metadata} == {
        "KBC.createdBy.component.id": "vendor.x",
        "KBC.lastUpdatedBy.component.id": "vendor.y",
    }


def test_bucket_ids_that_differ_only_in_case_are_refused(lake: Storage, load: Load) -> None:
    load("id\n1\n", "in.c-main.orders")
    with pytest.raises(UserError, match=r"there is the bucket in\.c-main already"):
        load("id\n1\n", "in.c-Main.other")
    assert [bucket.id for bucket in lake.buckets()] == ["in.c-main"]


def test_a_lake_of_before_is_read_and_written(lake: Lake, uri: str, load: Load, tmp_path: Path) -> None:
    load("id,v\n1,a\n", primary_key=("id",))
    for records, key in (("tables", "types"), ("buckets", "metadata")):
        ((record_id, text),) = lake._connection.run(f"SELECT id, document FROM lake._docker_runner.{records}")
        document = json.loads(str(text))
        del document[key]
        lake._connection.run(
            f"UPDATE lake._docker_runner.{records} SET document = ? WHERE id = ?", [json.dumps(document), record_id]
        )
    storage = open_storage(uri)
    assert storage.table("in.c-main.t").types == {}
    bucket = storage.bucket("in.c-main")
    assert isinstance(bucket, Bucket)
    assert (bucket.metadata, bucket.tables) == ((), 1)
    assert [found.metadata for found in storage.buckets()] == [()]
    (tmp_path / "more.csv").write_text("id,v\n1,b\n2,c\n")
    storage.commit(Commit("more", (TableLoad("in.c-main.t", tmp_path / "more.csv", incremental=True),)))
    assert storage.table("in.c-main.t").rows == 2
    storage.close()
