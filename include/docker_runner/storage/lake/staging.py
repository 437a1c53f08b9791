"""CSV -> Parquet: the heavy part of a load, done before the writers' lock is taken."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.conversion import Conversion
from docker_runner.storage.lake.csv_check import find_record, rewrite
from docker_runner.storage.lake.csv_pieces import cut
from docker_runner.storage.lake.csv_source import CsvFile, CsvSource
from docker_runner.storage.lake.csv_structure import Outline, outlines

if TYPE_CHECKING:
    from docker_runner.storage.lake.connection import Connection

# A record must fit into DuckDB's buffer. Longer ones are found by the slow way, which measures them first.
_LINE_BYTES = 16_000_000
_BUFFER_BYTES = 32_000_000

# Row groups are bounded in bytes where DuckDB can: rows may hold megabytes each. Files are as large as DuckLake's own.
_BOUNDED_ROW_GROUPS = "ROW_GROUP_SIZE_BYTES 33554432"
_BOUNDED_FILES = f"{_BOUNDED_ROW_GROUPS}, FILE_SIZE_BYTES 536870912"

# Names with a blank, which no column of a table can have.
_ROW = '"row number"'
_HASH = '"hash of key"'
_NUMBERED = '"numbered rows"'


def has_duplicates(connection: Connection, relation: str, key: tuple[str, ...]) -> bool:
    """Whether rows have the same values in ``key``; compares hashes first to keep memory bounded."""
    hash_of_key = f"hash({sql.names(key, 'a.')})"
    repeated = f"SELECT {hash_of_key} AS {_HASH} FROM {relation} AS a GROUP BY ALL HAVING count(*) > 1"
    return bool(
        connection.run(
            f"SELECT 1 FROM {relation} AS a SEMI JOIN ({repeated}) AS r ON {hash_of_key} = r.{_HASH} "
            f"GROUP BY {sql.names(key)} HAVING count(*) > 1 LIMIT 1"
        )
    )


@dataclass(frozen=True)
class _Way:
    """A way to read a source, and what tells whether it gave all rows; ``headers`` of its records are none."""

    expected: Outline
    headers: int
    parallel: bool


class StagedTable:
    """The rows of one load as Parquet, in columns named like the table's: texts, until they are converted."""

    def __init__(self, connection: Connection, source: CsvSource) -> None:
        """Read a source.

        Raises:
            UserError: a record is wrong; names the file and the line.
        """
        self._connection = connection
        self._original = source
        self._source = source
        self._line_bytes = _LINE_BYTES
        self.columns = source.columns
        self.warnings = source.warnings
        connection.limit_threads(len(source.columns))
        self._ways = self._examine()
        self._texts, self._all_rows = self._read()
        self._converted = self._texts
        self._conversion = Conversion()
        self._key: tuple[str, ...] = ()
        self.rows = self._all_rows
        self.relation = _parquet(self._texts)

    @property
    def files(self) -> list[Path]:
        """The files that hold exactly the rows of the load; none if rows were left out of them."""
        return sorted(self._converted.iterdir()) if self.relation == _parquet(self._converted) else []

    def file_bytes(self) -> int:
        """Bytes of all converted rows before compression."""
        return self._connection.count(
            "SELECT coalesce(sum(total_uncompressed_size), 0)::BIGINT "
            f"FROM parquet_metadata({sql.text(f'{self._converted}/*.parquet')})"
        )

    def convert(self, conversion: Conversion) -> None:
        """Turn the texts into what the table holds. All rows are there again: duplicates have to be removed anew.

        Raises:
            UserError: a text cannot be converted; names the file and the line.
        """
        import duckdb

        if conversion == self._conversion:
            return
        self._converted = self._texts
        if conversion.changes_texts:
            folder = self._new_parquet()
            rows = conversion.rows(self.columns, _parquet(self._texts), checked=True)
            try:
                self._connection.run(f"COPY ({rows}) TO {sql.text(str(folder))} (FORMAT parquet, {_BOUNDED_FILES})")
            except duckdb.InvalidInputException:
                self._refuse_wrong_record(conversion)
                raise
            self._converted = folder
        self._conversion = conversion
        self._key, self.rows, self.relation = (), self._all_rows, _parquet(self._converted)

    def _refuse_wrong_record(self, conversion: Conversion) -> None:
        """Find the first record with a text that cannot be converted."""
        wrong = conversion.wrong_rows(self.columns, _NUMBERED, give=_ROW)
        first = f"SELECT min({_ROW}) AS {_ROW} FROM ({wrong})"
        path, _ = self._read_in_order(first)
        number = self._connection.count(f"SELECT {_ROW} FROM read_parquet({sql.text(str(path))})")
        place, record = find_record(self._original, number)
        raise UserError(f"{place}: {conversion.problem(self._connection.run, self.columns, record)}.")

    def make_unique(self, key: tuple[str, ...]) -> None:
        """Keep only the last row of each key, last as in the source's order (D4).

        Rows are compared by hashes first, so that memory stays bounded; only rows whose hash is there several times are
        read again, in order.
        """
        if key == self._key:
            return
        converted = _parquet(self._converted)
        self._key, self.rows, self.relation = key, self._all_rows, converted
        if not key:
            return
        hash_of_key = f"hash({sql.names(key, 'a.')})"
        repeated = self._new_parquet()
        if not self._connection.count(
            f"COPY (SELECT {hash_of_key} AS {_HASH} FROM {converted} AS a GROUP BY ALL HAVING count(*) > 1) "
            f"TO {sql.text(str(repeated))} (FORMAT parquet)"
        ):
            return
        is_repeated = f"JOIN read_parquet({sql.text(str(repeated))}) AS r ON {hash_of_key} = r.{_HASH}"
        numbered = self._conversion.rows(self.columns, _NUMBERED, also=_ROW)
        path, in_doubt = self._read_in_order(f"SELECT a.* FROM ({numbered}) AS a SEMI {is_repeated}")
        candidates = f"read_parquet({sql.text(str(path))})"
        last = f"SELECT max({_ROW}) AS {_ROW} FROM {candidates} GROUP BY {sql.names(key)}"
        last_rows = self._new_parquet()
        columns = sql.names(self.columns)
        kept = self._connection.count(
            f"COPY (SELECT {columns} FROM {candidates} SEMI JOIN ({last}) USING ({_ROW})) "
            f"TO {sql.text(str(last_rows))} (FORMAT parquet)"
        )
        self.rows = self._all_rows - in_doubt + kept
        self.relation = (
            f"(SELECT {columns} FROM {converted} AS a ANTI {is_repeated} "
            f"UNION ALL SELECT {columns} FROM read_parquet({sql.text(str(last_rows))}))"
        )

    def _read_in_order(self, numbered_rows: str) -> tuple[Path, int]:
        """Read the source once more, in the way that gave all rows.

        Args:
            numbered_rows: which rows; a query of ``_NUMBERED``, the rows in order with their numbers.

        Returns:
            A Parquet file with these rows, and their number.
        """
        self._connection.run("SET preserve_insertion_order = true")
        try:
            return self._copy(numbered_rows, parallel=bool(self._ways) and self._ways[0].parallel)
        finally:
            self._connection.run("SET preserve_insertion_order = false")

    def _examine(self) -> list[_Way]:
        """Look through the source, and see how it may be read; from the fastest way to that which takes most."""
        found = outlines(self._source.files, self._source.dialect, longest_bytes=_LINE_BYTES)
        if found is None:
            return []
        expected = sum(found, Outline())
        headers = len(self._source.files) if self._source.header else 0
        if not expected.lines_in_fields:
            return [_Way(expected, headers, parallel=True), _Way(expected, headers, parallel=False)]
        if self._connection.count("SELECT current_setting('threads')") > 1:
            self._source = cut(self._source, found, self._new_files())
        return [_Way(expected, headers, parallel=False)]

    def _read(self) -> tuple[Path, int]:
        """Write the source's rows to a new folder of Parquet files.

        Tries the fast way, then with one thread, then record by record; each takes more than the one before.

        Returns:
            The folder, and the number of its rows.
        """
        import duckdb

        while self._ways:
            way = self._ways[0]
            try:
                path, rows = self._copy(parallel=way.parallel)
            except (duckdb.InvalidInputException, duckdb.NotImplementedException):
                # The latter is how threads tell that they find no begin of a record in their part of a file.
                rows = -1
            if way.expected.fits(rows + way.headers, columns=len(self.columns)):
                return path, rows
            del self._ways[0]
        rewritten = rewrite(self._original, self._new_files())
        self._source = rewritten.source
        self._line_bytes = max(rewritten.longest_bytes + 1, _LINE_BYTES)
        path, rows = self._copy(parallel=False)
        if rows != rewritten.records:
            raise StorageError(f"Of {rewritten.records} records of a CSV only {rows} could be read.")
        return path, rows

    def _new_parquet(self) -> Path:
        return self._connection.scratch.new_file(".parquet")

    def _new_files(self) -> Iterator[Path]:
        while True:
            yield self._connection.scratch.new_file(".csv")

    def _without_wildcards(self, path: Path) -> Path:
        """The path, or a link to it when DuckDB would take it for a pattern."""
        if not set("*?[") & set(str(path)):
            return path
        link = self._connection.scratch.new_file(".csv")
        link.symlink_to(path.absolute())
        return link

    def _copy(self, numbered_rows: str = "", *, parallel: bool) -> tuple[Path, int]:
        """Write all rows to a folder of Parquet files, or a selection of the numbered ones to one file."""
        rows, bound = self._select(parallel=parallel), _BOUNDED_FILES
        if numbered_rows:
            numbered = f"SELECT *, row_number() OVER () AS {_ROW} FROM ({rows})"
            rows = f"WITH {_NUMBERED} AS NOT MATERIALIZED ({numbered}) {numbered_rows}"
            bound = "ROW_GROUP_SIZE 20480"
        path = self._new_parquet()
        return path, self._connection.count(f"COPY ({rows}) TO {sql.text(str(path))} (FORMAT parquet, {bound})")

    def _select(self, *, parallel: bool) -> str:
        source = self._source
        if not source.files:
            empty = ", ".join(f"'' AS {sql.name(column)}" for column in source.columns)
            return f"SELECT {empty} LIMIT 0"
        columns = ", ".join(f"{sql.text(column)}: 'VARCHAR'" for column in source.columns)
        # Any text but NULL: an empty field is an empty text, quoted or not.
        common = (
            f"auto_detect = false, columns = {{{columns}}}, force_not_null = [{sql.texts(source.columns)}], "
            f"delim = {sql.text(source.dialect.delimiter)}, quote = {sql.text(source.dialect.enclosure)}, "
            f"escape = {sql.text(source.dialect.enclosure)}, header = {source.header}, parallel = {parallel}, "
            f"max_line_size = {self._line_bytes}, buffer_size = {max(2 * self._line_bytes, _BUFFER_BYTES)}"
        )

        def alike(file: CsvFile) -> tuple[bool, str]:
            return file.gzipped, file.newline

        reads = []
        for (gzipped, newline), files in groupby(source.files, alike):
            paths = sql.texts(str(self._without_wildcards(file.path)) for file in files)
            end = newline.replace("\r", "\\r").replace("\n", "\\n")
            compression = "gzip" if gzipped else "none"
            reads.append(
                f"SELECT * FROM read_csv([{paths}], {common}, new_line = '{end}', compression = '{compression}')"
            )
        return " UNION ALL ".join(reads)


def _parquet(folder: Path) -> str:
    """SQL of the rows in a folder of Parquet files."""
    return f"read_parquet({sql.text(f'{folder}/*.parquet')})"
