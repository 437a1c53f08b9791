"""What the options of input files ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.builders import mapping

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.input_file_options import InputFiles, input_files
from docker_runner.storage.base import FileQuery

NOW = datetime(2026, 5, 6, 12, 30, tzinfo=UTC)
KEY = "storage.input.files[0]"


def understood(branch: str = "", **options: Any) -> InputFiles:
    (item,) = mapping("input", "files", options)
    return input_files(item, key=KEY, now=NOW, branch=branch)


@pytest.mark.rules("IF-1", "IF-2", "IF-3", "IF-4", "IF-5", "IF-6", "IF-8", "IF-9", "IF-14", "IF-21", "IF-22")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tags": ["a", 5]}, FileQuery(tags=("a", "5"), limit=100)),
        ({"tags": ["a"], "query": "", "file_ids": [], "source": {}}, FileQuery(tags=("a",))),
        ({"tags": ["a"], "query": None, "file_ids": None, "source": None}, FileQuery(tags=("a",))),
        (
            {"source": {"tags": [{"name": "a"}, {"name": "b", "match": "exclude"}]}, "tags": [], "limit": 3},
            FileQuery(tags=("a",), without_tags=("b",), limit=3),
        ),
        ({"query": "name:*.zip"}, FileQuery(query="name:*.zip")),
        ({"query": "name:*.zip", "tags": ["a"]}, FileQuery(tags=("a",), query="name:*.zip")),
        (
            {"query": "a OR b", "source": {"tags": [{"name": "x", "match": "exclude"}]}},
            FileQuery(without_tags=("x",), query="a OR b"),
        ),
        ({"file_ids": [7, "8"], "processed_tags": ["done"], "overwrite": True}, FileQuery(ids=(7, 8), limit=2)),
        ({"file_ids": list(range(1, 151))}, FileQuery(ids=tuple(range(1, 151)), limit=150)),
        ({"tags": ["a"], "limit": 0}, FileQuery(tags=("a",), limit=0)),
        ({"tags": ["a"], "limit": 1000}, FileQuery(tags=("a",), limit=1000)),
        ({"tags": ["a"], "changed_since": "-1 day"}, FileQuery(tags=("a",), created_since=NOW - timedelta(days=1))),
        ({"tags": ["a"], "changed_since": "adaptive"}, FileQuery(tags=("a",))),
    ],
)
def test_what_is_asked_of_storage(options: dict[str, Any], expected: FileQuery) -> None:
    found = understood(**options)
    assert (found.query, found.adaptive) == (expected, options.get("changed_since") == "adaptive")


@pytest.mark.rules("IF-7")
def test_processed_tags_are_texts() -> None:
    assert understood(tags=["a"], processed_tags=["done", 1]).processed_tags == ("done", "1")


@pytest.mark.rules("IF-23", "IF-24", "BR-7")
@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        ({"tags": ["b", "a"]}, [{"name": "b"}, {"name": "a"}]),
        (
            {"source": {"tags": [{"name": "a"}, {"name": 5, "match": "exclude"}]}},
            [{"name": "a", "match": "include"}, {"name": "5", "match": "exclude"}],
        ),
        ({"query": "x"}, []),
        ({"file_ids": [1]}, []),
    ],
)
def test_an_item_is_known_by_its_tags_as_written(options: dict[str, Any], identifier: list[dict[str, str]]) -> None:
    assert list(understood(**options).identifier) == identifier


@pytest.mark.rules("IF-2", "IF-6", "IF-9", "IF-10", "IF-11", "IF-12", "IF-13", "IF-27", "LC-44")
@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({}, "", "give tags, source.tags, query or file_ids"),
        ({"tags": [], "query": "", "file_ids": [], "processed_tags": ["x"]}, "", "give tags, source.tags, query"),
        ({"source": {"tags": []}, "limit": 5}, "", "give tags, source.tags, query"),
        ({"tags": ["a"], "source": {"tags": [{"name": "b"}]}}, ".tags", "not both"),
        ({"query": "a", "changed_since": "adaptive"}, ".changed_since", "Give query or changed_since"),
        ({"query": "a", "changed_since": "-1 day"}, ".changed_since", "Give query or changed_since"),
        ({"tags": ["a"], "overwrite": False}, ".overwrite", "Must be true"),
        ({"file_ids": [1], "tags": ["a"]}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "source": {"tags": [{"name": "b"}]}}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "query": "a"}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "limit": 5}, ".file_ids", "only with processed_tags"),
        ({"file_ids": [1], "changed_since": "adaptive"}, ".file_ids", "only with processed_tags"),
        ({"file_ids": ["x1"]}, ".file_ids", "numbers, not 'x1'"),
        ({"file_ids": [10**20]}, ".file_ids", "File ids are numbers"),
        ({"tags": ["a"], "changed_since": "soon-ish"}, ".changed_since", "is not a moment"),
        ({"tags": ["a"], "changed_since": ""}, ".changed_since", "is not a moment"),
        ({"tag": ["a"]}, "", "Unknown key 'tag'; did you mean 'tags'?"),
        ({"tags": ["a"], "filter_by_run_id": True}, "", "Unknown key 'filter_by_run_id'"),
        ({"source": {"tags": [{"name": "a", "match": "maybe"}]}}, ".source.tags[0].match", "Must be one of 'include'"),
        ({"source": {"tags": [{"name": ""}]}}, ".source.tags[0].name", "Must not be empty"),
        ({"source": {"tags": [{"match": "include"}]}}, ".source.tags[0]", "The key 'name' is missing"),
        ({"tags": ["a"], "limit": -1}, ".limit", "-1"),
    ],
)
def test_wrong_options_name_the_key(options: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        understood(**options)
    assert error.value.key == f"{KEY}{key}"
    assert problem in error.value.problem


@pytest.mark.rules("IF-15", "BR-11")
@pytest.mark.parametrize("more", [{}, {"tags": ["a"]}, {"source": {"tags": [{"name": "a"}]}}])
def test_a_query_is_refused_in_a_development_branch(more: dict[str, Any]) -> None:
    assert understood(query="name:a", **more).query.query == "name:a"
    with pytest.raises(ConfigurationError, match=r"files\[0\]\.query: .* in a development branch"):
        understood("123", query="name:a", **more)
