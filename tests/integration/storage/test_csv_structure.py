"""A CSV is read as a strict reader reads it, or refused: no row and no field is ever left out without a word."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import write
from tests.integration.storage.lake_files import write_csv

from docker_runner.errors import UserError
from docker_runner.storage.base import TableLoad
from docker_runner.storage.lake import csv_pieces, csv_structure, csv_vectors
from docker_runner.storage.lake.connection import Connection
from docker_runner.storage.lake.csv_source import CsvFile, Dialect, open_source
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.staging import StagedTable

Rows = list[tuple[str, ...]]


def read(connection: Connection, file: Path) -> Rows | None:
    try:
        staged = StagedTable(connection, open_source(TableLoad("in.c-main.t", file)))
        return sorted(tuple(map(str, row)) for row in connection.run(f"SELECT * FROM {staged.relation}"))
    except UserError:
        return None
    finally:
        connection.scratch.clear()


def expected(text: str, columns: int) -> Rows | None:
    """What Python's strict reader makes of the rows; None when it refuses the file."""
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    except csv.Error:
        return None
    full = [tuple(record) if record else ("",) for record in records if record or columns == 1]
    return sorted(full) if all(len(record) == columns for record in full) else None


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Connection:
    return Connection(parse_location(f"ducklake:sqlite:{tmp_path_factory.mktemp('lake')}/catalog.sqlite"))


UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FIELD = st.text('ab",\n é', max_size=4)
MARKS = st.sampled_from(["", " ", '"', ",", "\n", "\r", "\r\n", '""', ' "', '" ', '",', ',"'])


@st.composite
def almost_csv(draw: st.DrawFn) -> tuple[int, str]:
    """A CSV with one to three columns, and with something that does not belong there."""
    columns = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(FIELD, min_size=columns, max_size=columns), max_size=4))
    written = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    csv.writer(written, quoting=quoting, lineterminator="\n").writerows(rows)
    text = written.getvalue()
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(MARKS) + text[place:]
    return columns, ",".join("abc"[:columns]) + "\n" + text


@pytest.mark.rules("OM-74", "OM-77")
@given(almost_csv(), st.sampled_from([1, 2, 3, 1 << 20]))
@settings(max_examples=120, deadline=None, suppress_health_check=UNHURRIED)
def test_no_row_and_no_field_is_left_out_or_changed(
    connection: Connection, tmp_path: Path, made: tuple[int, str], chunk: int
) -> None:
    columns, text = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_structure, "_CHUNK_BYTES", chunk)
        assert read(connection, write(tmp_path / "t.csv", text.encode())) == expected(text, columns)


@pytest.mark.rules("OM-74", "OM-77")
@given(almost_csv(), st.integers(1, 9), st.integers(1, 12))
@settings(max_examples=60, deadline=None, suppress_health_check=UNHURRIED)
def test_nor_in_large_files_that_are_looked_at_and_read_in_parts(
    connection: Connection, tmp_path: Path, made: tuple[int, str], part: int, piece: int
) -> None:
    """Parts begin and end anywhere: in fields, between the bytes of a line end, an enclosure or a letter."""
    columns, text = made
    with pytest.MonkeyPatch.context() as patch:
        in_small_parts(patch, part=part, piece=piece)
        assert read(connection, write(tmp_path / "t.csv", text.encode())) == expected(text, columns)


def in_small_parts(patch: pytest.MonkeyPatch, *, part: int, piece: int, block: int = 64) -> None:
    """Treat small files as large ones."""
    patch.setattr(csv_structure, "_MANY_BYTES", 0)
    patch.setattr(csv_vectors, "PART_BYTES", part)
    patch.setattr(csv_vectors, "_BLOCK_BYTES", block)
    patch.setattr(csv_pieces, "_PIECE_BYTES", piece)


@pytest.mark.rules("OM-74", "OM-77")
@pytest.mark.parametrize("gzipped", [True, False])
@given(
    st.text(st.sampled_from('aé",\n\r'), max_size=300),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.sampled_from(['"', "'", ""]),
    st.sampled_from([1, 5, 64, 100, 1000]),
    st.sampled_from([64, 128]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=UNHURRIED)
def test_large_files_are_judged_as_small_ones_are(
    tmp_path: Path, gzipped: bool, text: str, newline: str, enclosure: str, part: int, block: int, mark: bool
) -> None:
    content = ("\ufeff" * mark + text).encode()
    path = write(tmp_path / "t.csv", gzip.compress(content, mtime=0) if gzipped else content)
    file, dialect = CsvFile(path, gzipped, newline), Dialect(",", enclosure)
    # Without large files there are no begins of records to compare.
    small = csv_structure.outlines([file], dialect, longest_bytes=70)
    with pytest.MonkeyPatch.context() as patch:
        in_small_parts(patch, part=part, piece=1, block=block)
        large = csv_structure.outlines([file], dialect, longest_bytes=70)
    assert (large and [replace(one, begins=()) for one in large]) == small


@pytest.mark.rules("OM-74", "OM-77")
@pytest.mark.parametrize(
    ("text", "newline", "clean"),
    [
        ('k,v\na"b",c\n', "\n", False),
        ('k,v\n"a"b,c\n', "\n", False),
        ('k,v\n"a""b",c\n', "\n", True),
        ('k,v\n"""a""","",\n', "\n", True),
        ('k,v\n"a,\n\r",c\n', "\n", True),
        ('k,v\n"a,c\n', "\n", False),
        ('k,v\r\n"a\r\n",c\r\n', "\r\n", True),
        ("k,v\r\na,c\n", "\r\n", False),
        ("k,v\na,c\rd", "\n", False),
        ("k,v\ra,c\r", "\r", True),
        ('\ufeff"k",v\na,"é"', "\n", True),
        ("k,v\n" + "a,b\n" * 40 + 'a"b"\n', "\n", False),
    ],
)
def test_nothing_is_overlooked_where_two_parts_meet(tmp_path: Path, text: str, newline: str, clean: bool) -> None:
    file = CsvFile(write(tmp_path / "t.csv", text.encode()), False, newline)
    small = csv_structure.outlines([file], Dialect(",", '"'), longest_bytes=1000)
    assert (small is not None) is clean
    for part in range(1, 20):
        with pytest.MonkeyPatch.context() as patch:
            in_small_parts(patch, part=part, piece=1)
            large = csv_structure.outlines([file], Dialect(",", '"'), longest_bytes=1000)
        assert (large and [replace(one, begins=()) for one in large]) == small
    for length in range(30, 64):  # blocks of a part meet, too
        before = "x" * length + ',"y"' + newline
        file = CsvFile(write(tmp_path / "t.csv", (before + text).encode()), False, newline)
        small = csv_structure.outlines([file], Dialect(",", '"'), longest_bytes=1000)
        with pytest.MonkeyPatch.context() as patch:
            in_small_parts(patch, part=1000, piece=1)
            large = csv_structure.outlines([file], Dialect(",", '"'), longest_bytes=1000)
        assert (large and [replace(one, begins=()) for one in large]) == small


@pytest.mark.rules("OM-77")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", [True, False])
def test_a_file_is_cut_between_records_only(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newline: str, header: bool
) -> None:
    """Wherever a part begins, in whatever field: the pieces hold the file's records as they stand there."""
    some = random.Random(newline)
    rows = [["".join(some.choices(f'a,"{newline}', k=some.randrange(9))) for _ in range(2)] for _ in range(60)]
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=newline, quoting=csv.QUOTE_ALL).writerows([["k", "v"], *rows])
    file = write(tmp_path / "t.csv", ("\ufeff" + written.getvalue()).encode())
    for part in (1, 2, 5, 64, 100):
        in_small_parts(monkeypatch, part=part, piece=part)
        source = open_source(TableLoad("in.c-main.t", file, columns=() if header else ("k", "v")))
        outlines = csv_structure.outlines(source.files, source.dialect, longest_bytes=10_000)
        assert outlines is not None
        names = iter(tmp_path / f"{header}-{part}-{number}" for number in itertools.count())
        pieces = csv_pieces.cut(source, outlines, names)
        assert not pieces.header
        assert len(pieces.files) > min(50, 300 // part)
        records = []
        for piece in pieces.files:
            text = io.StringIO(piece.path.read_bytes().decode("utf-8-sig"), newline="")
            records += list(csv.reader(text, strict=True))
        assert records == (rows if header else [["k", "v"], *rows])


@pytest.mark.rules("OM-74")
@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize(
    ("text", "columns", "records"),
    [('k\n"a\nb"\n\n', 1, 3), ("k\na", 1, 2), ('k,v\n"a,\n",b\n\n', 2, 2), ("k,v\n,", 2, 2), ("", 1, 0)],
)
def test_the_number_of_records_is_known_without_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, columns: int, records: int, large: bool
) -> None:
    file = CsvFile(write(tmp_path / "t.csv", text), gzipped=False, newline="\n")
    if large:
        in_small_parts(monkeypatch, part=3, piece=1)
    (found,) = csv_structure.outlines([file], Dialect(",", '"'), longest_bytes=1000) or []
    assert [number for number in range(5) if found.fits(number, columns=columns)] == [records]


@pytest.mark.rules("OM-74", "OM-77")
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("lines_in_fields", [True, False])
def test_files_that_several_threads_read_in_parts_are_read_as_they_are(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, lines_in_fields: bool
) -> None:
    """With line ends in fields a part of a file may begin at what only looks like a record."""
    monkeypatch.setattr("docker_runner.storage.lake.staging._LINE_BYTES", 2000)
    monkeypatch.setattr("docker_runner.storage.lake.staging._BUFFER_BYTES", 4096)
    some = random.Random(f"{columns} {lines_in_fields}")
    letters = "a,\n" if lines_in_fields else 'a,1"'
    for number, longest in enumerate([3] * 60 + [600]):
        count = 20_000 // longest if longest > 3 else 750
        rows = [
            ["".join(some.choices(letters, k=some.randrange(longest))) for _ in range(columns)] for _ in range(count)
        ]
        written = write_csv(tmp_path / f"{number}.csv", [["k", "v"][:columns], *rows])
        assert read(connection, written) == sorted(map(tuple, rows))


@pytest.mark.rules("OM-74")
@pytest.mark.parametrize(
    "rows",
    ['a",",\nx,y\n', ' a",",\nx,y\n', '""a","a\nx,y\n', "a,b,\n", "a,b,,,\nx,y\n", 'a,"b" \nx,y\n', ',"b" ,\n'],
)
def test_what_duckdb_takes_without_a_word_is_refused(connection: Connection, tmp_path: Path, rows: str) -> None:
    assert read(connection, write(tmp_path / "t.csv", f"k,v\n{rows}")) is None


@pytest.mark.rules("OM-77")
def test_blanks_around_enclosures_are_part_of_the_text(connection: Connection, tmp_path: Path) -> None:
    assert read(connection, write(tmp_path / "t.csv", 'k,v\na, "b"\n')) == [("a", ' "b"')]


@pytest.mark.rules("OM-77")
def test_a_byte_order_mark_before_an_enclosed_header_is_no_trouble(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr("docker_runner.storage.lake.staging.rewrite", refuse)
    assert read(connection, write(tmp_path / "t.csv", '\ufeff"k","v"\n"a","b ""c"""\n')) == [("a", 'b "c"')]
