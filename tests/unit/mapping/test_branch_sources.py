"""What a run in a development branch reads, against a real lake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import mapping

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.branches import branch_table, branch_tags
from docker_runner.mapping.input_files import FileReader, file_states, tags_to_add
from docker_runner.mapping.input_tables import TableReader, table_states
from docker_runner.storage.base import MetadataItem, Storage, StoredFile

BRANCH = "123"
LOG = logging.getLogger("docker_runner")
CSV = "id,name\n1,a\n2,b\n"
KEYED: dict[str, Any] = {"primary_key": ("id",), "incremental": True}
OWNED = (MetadataItem("KBC.createdBy.branch.id", BRANCH, "system"),)
Load = Callable[..., None]
Store = Callable[..., StoredFile]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tables(lake: Storage, tmp_path: Path) -> Read:
    def load(*items: dict[str, Any], state: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "tables"
        folder.mkdir(exist_ok=True)
        reader = TableReader(
            storage=lake, folder=folder, state=state or {}, max_bytes=10**9, log=LOG, **{"branch": BRANCH, **more}
        )
        return reader.load(mapping("input", "tables", *items))

    return load


@pytest.fixture
def files(lake: Storage, tmp_path: Path) -> Read:
    def load(*items: dict[str, Any], state: dict[str, Any] | None = None, branch: str = BRANCH) -> list[dict[str, Any]]:
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        reader = FileReader(storage=lake, folder=folder, state=state or {}, log=LOG, branch=branch)
        return reader.load(mapping("input", "files", *items))

    return load


def ids(loaded: list[dict[str, Any]]) -> list[list[int]]:
    return [[file["id"] for file in item["files"]] for item in loaded]


@pytest.mark.rules("BR-3", "BR-8")
def test_names_of_tables_and_tags_in_a_branch() -> None:
    assert branch_table("in.c-main.t", BRANCH) == "in.c-123-main.t"
    assert branch_table("in.main.t", BRANCH) == "in.123-main.t"
    assert branch_table("in.c-main.t", "") == "in.c-main.t"
    assert branch_tags(["a", "b"], BRANCH) == ("123-a", "123-b")
    assert branch_tags(["a"], "") == ("a",)


@pytest.mark.rules("BR-3", "IM-45")
def test_a_branch_reads_its_own_table_when_there_is_one(
    load: Load, tables: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(CSV)
    load("id,name\n9,own\n", "in.c-123-main.t")
    load(CSV, "in.c-main.only")
    with caplog.at_level(logging.INFO):
        own, production = tables({"source": "in.c-main.t"}, {"source": "in.c-main.only"})
    assert (own["source"], production["source"]) == ("in.c-123-main.t", "in.c-main.only")
    assert (tmp_path / "tables/in.c-main.t").read_text() == '"id","name"\n"9","own"\n'
    assert '"id": "in.c-123-main.t"' in (tmp_path / "tables/in.c-main.t.manifest").read_text()
    assert "Using the branch's table in.c-123-main.t instead of in.c-main.t." in caplog.messages
    assert not any("in.c-main.only" in message for message in caplog.messages if message.startswith("Using"))
    assert tables({"source": "in.c-main.t"}, branch="")[0]["source"] == "in.c-main.t"


@pytest.mark.rules("BR-3", "IM-30", "IM-31")
def test_what_a_branch_remembers_of_a_table_counts_for_the_branchs_own(
    load: Load, tables: Read, tmp_path: Path
) -> None:
    item = {"source": "in.c-main.t", "changed_since": "adaptive"}

    def remembered(loaded: list[dict[str, Any]]) -> dict[str, Any]:
        return {"storage": {"input": {"tables": table_states(loaded)}}}

    def count(loaded: list[dict[str, Any]]) -> tuple[str, int]:
        return loaded[0]["source"], loaded[0]["rows"]

    load(CSV, **KEYED)
    first = tables(item)
    assert count(first) == ("in.c-main.t", 2)
    load("id,name\n9,own\n", "in.c-123-main.t", **KEYED)
    second = tables(item, state=remembered(first))
    assert count(second) == ("in.c-123-main.t", 1)
    third = tables(item, state=remembered(second))
    assert count(third) == ("in.c-123-main.t", 0)
    by_original = {"source": "in.c-main.t", "lastImportDate": third[0]["last_import_date"]}
    load("id,name\n10,own\n", "in.c-123-main.t", **KEYED)
    fourth = tables(item, state={"storage": {"input": {"tables": [by_original]}}})
    assert count(fourth) == ("in.c-123-main.t", 1)


@pytest.mark.rules("BR-9")
def test_a_bucket_that_does_not_exist_passes_and_its_table_is_told_as_missing(tables: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no table in\.c-gone\.t in Storage"):
        tables({"source": "in.c-gone.t"})


@pytest.mark.rules("BR-6")
def test_a_branch_reads_files_with_its_own_tags_when_there_are_any(
    store: Store, files: Read, caplog: pytest.LogCaptureFixture
) -> None:
    production, half = store("p", "a", "b"), store("h", "123-a", "b")
    item = {"tags": ["a", "b"]}
    assert ids(files(item)) == [[production.id]]
    own = store("o", "123-a", "123-b")
    with caplog.at_level(logging.INFO):
        assert ids(files(item)) == [[own.id]]
    assert "Using files with the branch's tags 123-a, 123-b instead of a, b." in caplog.messages
    assert ids(files({"tags": ["b"]})) == [[own.id]]
    assert ids(files(item, branch="")) == [[production.id]]
    assert ids(files({"file_ids": [half.id]})) == [[half.id]]


@pytest.mark.rules("BR-6")
def test_excluded_tags_are_the_branchs_only_when_they_mark_processed_files(store: Store, files: Read) -> None:
    tags = [{"name": "a"}, {"name": "done", "match": "exclude"}, {"name": "bad", "match": "exclude"}]
    item = {"source": {"tags": tags}, "processed_tags": ["done"]}
    done_here, done_in_production = store("1", "a", "123-done"), store("2", "a", "done")
    bad, bad_here = store("3", "a", "bad"), store("4", "a", "123-bad")
    assert ids(files(item)) == [[bad_here.id, done_in_production.id]]
    assert ids(files({"source": {"tags": tags}})) == [[bad_here.id, done_here.id]]
    own = store("5", "123-a", "done")
    assert ids(files(item)) == [[own.id]]
    assert ids(files({"source": {"tags": tags}})) == [[]]
    assert bad.id not in ids(files(item, branch=""))[0]


@pytest.mark.rules("BR-7", "BR-6", "IF-23", "IF-24")
def test_the_state_of_files_is_found_by_the_tags_as_written(store: Store, files: Read) -> None:
    item = {"tags": ["a"], "changed_since": "adaptive"}
    own = store("o", "123-a")
    states = file_states(files(item), {})
    assert states == [{"tags": [{"name": "a"}], "lastImportId": str(own.id)}]
    later = store("p", "123-a")
    assert ids(files(item, state={"storage": {"input": {"files": states}}})) == [[later.id]]


@pytest.mark.rules("BR-8", "IF-29")
def test_processed_tags_carry_the_branch(lake: Storage, store: Store, files: Read) -> None:
    item = {
        "source": {"tags": [{"name": "a"}, {"name": "done", "match": "exclude"}]},
        "processed_tags": ["done"],
    }
    file = store("p", "a", "done")
    loaded = files(item)
    added = tags_to_add(mapping("input", "files", item), loaded, storage=lake, branch=BRANCH, log=LOG)
    assert added == {file.id: ("123-done",)}


@pytest.mark.rules("BR-9")
@pytest.mark.parametrize("branch", [BRANCH, "456", ""])
@pytest.mark.parametrize("key", ["KBC.createdBy.branch.id", "KBC.lastUpdatedBy.branch.id"])
def test_a_bucket_of_a_branch_must_not_be_named_outright(load: Load, tables: Read, branch: str, key: str) -> None:
    load(CSV)
    load(CSV, "in.c-123-main.t", created_metadata=(MetadataItem(key, BRANCH, "system"),))
    items = ({"source": "in.c-main.t"}, {"source": "in.c-123-main.t", "destination": "own"})
    with pytest.raises(ConfigurationError, match=r"tables\[1\]\.source: .* must not be read: in\.c-123-main\."):
        tables(*items, branch=branch)
    allowed = tables(items[1], branch=branch, branch_buckets_allowed=True)
    assert allowed[0]["source"] == "in.c-123-main.t"
