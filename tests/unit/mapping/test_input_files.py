"""Input mapping of files, against a real lake."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.builders import mapping

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.mapping.input_files import file_query, file_states, load_files, tags_to_add
from docker_runner.storage.base import FileQuery, Storage, StoredFile

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)
Fetch = Callable[..., list[dict[str, Any]]]
Store = Callable[..., StoredFile]


def query(state: dict[str, Any] | None = None, **options: Any) -> FileQuery:
    (item,) = mapping("input", "files", options)
    return file_query(item, key="storage.input.files[0]", state=state or {}, now=NOW)


def state(*files: dict[str, Any]) -> dict[str, Any]:
    return {"storage": {"input": {"files": list(files)}}}


@pytest.fixture
def fetch(lake: Storage, tmp_path: Path) -> Fetch:
    def load(*items: dict[str, Any], known: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        return load_files(mapping("input", "files", *items), storage=lake, folder=folder, state=known or {})

    return load


@pytest.mark.rules("IF-1", "IF-2", "IF-4", "IF-5", "IF-8", "IF-9", "IF-21", "IF-22")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tags": ["a", 5]}, FileQuery(tags=("a", "5"))),
        ({"tags": ["a"], "query": "", "file_ids": [], "source": {}}, FileQuery(tags=("a",))),
        (
            {"source": {"tags": [{"name": "a"}, {"name": "b", "match": "exclude"}]}, "limit": 3},
            FileQuery(tags=("a",), without_tags=("b",), limit=3),
        ),
        ({"file_ids": [7, "8"], "processed_tags": ["done"]}, FileQuery(ids=(7, 8), limit=2)),
        ({"file_ids": list(range(1, 151))}, FileQuery(ids=tuple(range(1, 151)), limit=150)),
        ({"tags": ["a"], "changed_since": "-1 day"}, FileQuery(tags=("a",), created_since=NOW - timedelta(days=1))),
        ({"tags": ["a"], "changed_since": "adaptive"}, FileQuery(tags=("a",))),
    ],
)
def test_what_is_asked_of_storage(options: dict[str, Any], expected: FileQuery) -> None:
    assert query(**options) == expected


@pytest.mark.rules("IF-3", "IF-6", "IF-9", "IF-10", "IF-11", "IF-12", "IF-13")
@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({}, "", "give tags, source.tags or file_ids"),
        ({"tags": [], "processed_tags": ["x"]}, "", "give tags, source.tags or file_ids"),
        ({"query": "name:*.zip"}, ".query", "Full-text queries are not offered"),
        ({"tags": ["a"], "source": {"tags": [{"name": "b"}]}}, ".tags", "not both"),
        ({"tags": ["a"], "overwrite": False}, ".overwrite", "Must be true"),
        ({"file_ids": [1], "tags": ["a"]}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "limit": 5}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "changed_since": "adaptive"}, ".file_ids", "only with processed_tags"),
        ({"file_ids": ["x1"]}, ".file_ids", "numbers, not 'x1'"),
        ({"tags": ["a"], "changed_since": "soon-ish"}, ".changed_since", "is not a moment"),
        ({"tag": ["a"]}, "", "Unknown key 'tag'; did you mean 'tags'?"),
        ({"source": {"tags": [{"name": "a", "match": "maybe"}]}}, ".source.tags[0].match", "Must be one of 'include'"),
        ({"source": {"tags": [{"name": ""}]}}, ".source.tags[0].name", "Must not be empty"),
        ({"tags": ["a"], "limit": 0}, ".limit", "0"),
    ],
)
def test_wrong_options_name_the_key(options: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        query(**options)
    assert error.value.key == f"storage.input.files[0]{key}"
    assert problem in error.value.problem


@pytest.mark.rules("IF-23")
@pytest.mark.parametrize(
    ("options", "known", "since"),
    [
        ({"tags": ["a", "b"]}, [{"name": "a"}, {"name": "b"}], 5),
        ({"tags": ["b", "a"]}, [{"name": "a"}, {"name": "b"}], None),
        ({"tags": ["a"]}, [{"name": "a"}, {"name": "b"}], None),
        ({"source": {"tags": [{"name": "a", "match": "exclude"}]}}, [{"name": "a", "match": "exclude"}], 5),
        ({"source": {"tags": [{"name": "a"}]}}, [{"name": "a", "match": "exclude"}], None),
    ],
)
def test_state_is_found_by_exactly_the_same_tags(options: dict[str, Any], known: Any, since: int | None) -> None:
    found = query(state({"tags": known, "lastImportId": "5"}), changed_since="adaptive", **options)
    assert found.since_id == since


def test_a_stored_id_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match="lastImportId in the state: Must be the id of a file, not 'x'"):
        query(state({"tags": [{"name": "a"}], "lastImportId": "x"}), tags=["a"], changed_since="adaptive")


@pytest.mark.rules("IF-20", "IF-25", "IF-28", "IF-31")
def test_files_are_written_with_manifests_newest_first(store: Store, fetch: Fetch, tmp_path: Path) -> None:
    old, new = store("a.txt", "x"), store("b.txt", "x", "y")
    (done,) = fetch({"tags": ["x"]})
    assert [file["id"] for file in done["files"]] == [new.id, old.id]
    written = tmp_path / "in" / f"{new.id}_{new.name}"
    assert written.read_text() == "content of b.txt"
    manifest = json.loads(Path(f"{written}.manifest").read_text())
    assert (manifest["id"], manifest["tags"], manifest["size_bytes"]) == (new.id, ["x", "y"], 16)
    assert len(fetch({"tags": ["y"]}, {"tags": ["x"], "limit": 1})[1]["files"]) == 1


@pytest.mark.rules("IF-22", "IF-24")
def test_an_adaptive_load_gives_new_files_only_and_keeps_its_state_when_there_are_none(
    store: Store, fetch: Fetch
) -> None:
    item = {"tags": ["x"], "changed_since": "adaptive"}
    first = store("a.txt", "x")
    states = file_states(fetch(item), {})
    assert states == [{"tags": [{"name": "x"}], "lastImportId": str(first.id)}]
    nothing = fetch(item, known=state(*states))
    assert nothing[0]["files"] == []
    assert file_states(nothing, state(*states)) == states
    second = store("b.txt", "x")
    more = fetch(item, known=state(*states))
    assert [file["id"] for file in more[0]["files"]] == [second.id]
    assert file_states(more, state(*states))[0]["lastImportId"] == str(second.id)


@pytest.mark.rules("IF-24", "IF-32")
def test_items_that_find_nothing_do_not_multiply_the_state(fetch: Fetch) -> None:
    known = state({"tags": [{"name": "x"}], "lastImportId": "5"}, {"tags": [{"name": "gone"}], "lastImportId": "1"})
    loaded = fetch({"tags": ["x"]}, {"tags": ["x"]}, {"tags": ["never"]})
    once = file_states(loaded, known)
    assert once == [{"tags": [{"name": "x"}], "lastImportId": "5"}] * 2
    assert file_states(loaded, state(*once)) == once


@pytest.mark.rules("IF-24")
def test_files_by_id_are_remembered_without_tags(store: Store, fetch: Fetch) -> None:
    file = store("a.txt", "x")
    assert file_states(fetch({"file_ids": [file.id]}), {}) == [{"tags": [], "lastImportId": str(file.id)}]


@pytest.mark.rules("IF-4")
def test_a_file_that_does_not_exist_is_named(store: Store, fetch: Fetch) -> None:
    file = store("a.txt", "x")
    with pytest.raises(NotFoundError, match="There is no file 4711 in Storage"):
        fetch({"file_ids": [file.id, 4711]})


@pytest.mark.rules("IF-7", "IF-29")
def test_processed_tags_go_to_the_files_that_were_read(store: Store, fetch: Fetch) -> None:
    file = store("a.txt", "x")
    assert tags_to_add(fetch({"tags": ["x"], "processed_tags": ["done", 1]}, {"tags": ["x"]})) == {
        file.id: ("done", "1")
    }
