"""Properties: any text in any CSV comes back, and any sequence of loads does what plain Python would do."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.storage.lake_files import read_csv

from docker_runner.storage.base import BaseType, ColumnType, Commit, LoadedTable, Storage, TableLoad

Load = Callable[..., LoadedTable]
Rows = Callable[..., list[list[str]]]
ID = "in.c-main.t"
INTEGER = ColumnType(BaseType.INTEGER)

# Surrogates are no text; everything else may come, in any place.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    st.sampled_from(list("\"',;|\n\r\t\\ \0é日NULL007")), max_size=8
)


def rendered(records: list[tuple[str, ...]], delimiter: str, enclosure: str, end: str) -> str:
    """A CSV; with an enclosure every field is enclosed."""

    def field(text: str) -> str:
        return f"{enclosure}{text.replace(enclosure, 2 * enclosure)}{enclosure}" if enclosure else text

    return "".join(delimiter.join(map(field, record)) + end for record in records)


@pytest.mark.rules("OM-13", "OM-70", "OM-71", "OM-77", "IM-36")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=12),
    st.sampled_from(",;|\t"),
    st.sampled_from("\"'"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["header", "skipped header", "headless", "slices"]),
    st.booleans(),
)
def test_any_text_comes_back_from_any_kind_of_csv(
    lake: Storage, tmp_path: Path, records: list[tuple[str, ...]], delimiter: str, enclosure: str, end: str, kind: str,
    compressed: bool,
) -> None:  # fmt: skip
    source = tmp_path / os.urandom(8).hex()
    columns = ("a", "b", "c")

    def write(path: Path, part: list[tuple[str, ...]]) -> None:
        content = rendered(part, delimiter, enclosure, end).encode()
        path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)

    if kind == "slices":
        source.mkdir()
        write(source / "1", records[:5])
        write(source / "2", records[5:])
    else:
        write(source, records if kind == "headless" else [columns if kind == "header" else ("x", "y", "z"), *records])
    load = TableLoad(
        ID,
        source,
        columns=() if kind == "header" else columns,
        has_header=kind == "skipped header",
        delimiter=delimiter,
        enclosure=enclosure,
    )
    lake.commit(Commit(os.urandom(8).hex(), (load,)))
    lake.export_table(ID, tmp_path / "out.csv")
    header, *exported = read_csv(tmp_path / "out.csv")
    assert tuple(header) == columns
    assert sorted(exported) == sorted(map(list, records))


@pytest.mark.rules("OM-77")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r;\ufeff"), max_size=8)] * 2
        ),
        min_size=1,
    )
)
def test_without_enclosure_every_character_but_delimiter_and_line_ends_is_text(
    lake: Storage, tmp_path: Path, records: list[tuple[str, ...]]
) -> None:
    (tmp_path / "a.csv").write_text(rendered(records, ";", "", "\n"), encoding="utf-8", newline="")
    load = TableLoad(ID, tmp_path / "a.csv", columns=("a", "b"), delimiter=";", enclosure="")
    lake.commit(Commit(os.urandom(8).hex(), (load,)))
    lake.export_table(ID, tmp_path / "out.csv")
    assert sorted(read_csv(tmp_path / "out.csv")[1:]) == sorted(map(list, records))


@pytest.mark.thorough
@pytest.mark.rules("OM-77", "IM-36")
def test_a_text_of_many_megabytes_survives_load_export_load(lake: Storage, tmp_path: Path) -> None:
    long = 'x"é\n' * 9_000_000  # more than DuckDB's buffer
    (tmp_path / "a.csv").write_text(rendered([("1", long), ("2", "")], ",", '"', "\n"), encoding="utf-8", newline="")
    types = {"id": INTEGER, "v": ColumnType(BaseType.STRING)}
    lake.commit(Commit("1", (TableLoad(ID, tmp_path / "a.csv", columns=("id", "v"), types=types),)))
    lake.export_table(ID, tmp_path / "b.csv")
    lake.commit(Commit("2", (TableLoad(ID, tmp_path / "b.csv", primary_key=("id",), incremental=False),)))
    lake.export_table(ID, tmp_path / "c.csv")
    csv.field_size_limit(10**9)
    assert dict(read_csv(tmp_path / "c.csv")[1:]) == {"1": long, "2": ""}


RECORDS = st.lists(
    st.tuples(st.sampled_from("123"), st.sampled_from("12"), st.sampled_from(["", "1", "2"])), max_size=6
)


@pytest.mark.rules("OM-54", "D4", "IM-30", "OM-18")
@pytest.mark.parametrize("typed", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), RECORDS), min_size=1, max_size=4))
def test_any_sequence_of_loads_changes_what_a_dictionary_would_change(
    lake: Storage, load: Load, rows: Rows, typed: bool, loads: list[tuple[bool, list[tuple[str, str, str]]]]
) -> None:
    columns = ("k1", "k2", "v")
    types = dict.fromkeys(columns, INTEGER) if typed else {}
    load("", columns=columns, primary_key=("k1", "k2"), types=types)
    expected: dict[tuple[str, str], str] = {}
    for incremental, records in loads:
        since = lake.table(ID).last_import_date
        before = expected if incremental else {}
        expected = before | {(k1, k2): v for k1, k2, v in records}
        loaded = load(rendered(records, ",", '"', "\n"), columns=columns, incremental=incremental)
        assert loaded.rows == len({record[:2] for record in records})
        assert loaded.table_rows == len(expected)
        assert rows() == sorted([*key, value] for key, value in expected.items())
        changed = expected.items() - before.items()
        assert rows(changed_since=since) == sorted([*key, value] for key, value in changed)
