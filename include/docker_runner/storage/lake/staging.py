"""CSV -> Parquet: the heavy part of a load, done before the writers' lock is taken."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from docker_runner.errors import StorageError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.csv_check import ends_safely, rewrite
from docker_runner.storage.lake.csv_source import CsvFile, CsvSource

if TYPE_CHECKING:
    from docker_runner.storage.lake.connection import Connection

# A record must fit into DuckDB's buffer. Longer ones are found by the slow way, which measures them first.
_LINE_BYTES = 16_000_000
_BUFFER_BYTES = 32_000_000

# Names with a blank, which no column of a table can have.
_ROW = '"row number"'
_LAST = '"last row"'


class StagedTable:
    """The rows of one load as a Parquet file, in text columns named like the table's."""

    def __init__(self, connection: Connection, source: CsvSource) -> None:
        """Read a source.

        Raises:
            UserError: a record is wrong; names the file and the line.
        """
        self._connection = connection
        self._source = source
        self._line_bytes = _LINE_BYTES
        self.columns = source.columns
        self.warnings = source.warnings
        self.path = connection.scratch.new_file(".parquet")
        connection.limit_threads(len(source.columns))
        self.rows = self._read()
        self._unique: tuple[str, ...] = ()

    def make_unique(self, key: tuple[str, ...]) -> None:
        """Keep only the last row of each key, last as in the source's order (D4).

        Memory stays bounded: rows of keys that are there once are never sorted.
        """
        if not key or key == self._unique:
            return
        run = self._connection.run
        keys = sql.names(key)
        if run(f"SELECT 1 FROM {self.relation()} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"):
            # Only now the order matters: read again in order, with row numbers.
            run("SET preserve_insertion_order = true")
            try:
                self._read(ordered=True)
            finally:
                run("SET preserve_insertion_order = false")
            rows = self.relation()
            unique = self._connection.scratch.new_file(".parquet")
            last = f"SELECT {keys}, max({_ROW}) AS {_LAST} FROM {rows} GROUP BY {keys} HAVING count(*) > 1"
            earlier = f"SELECT {_ROW} FROM {rows} JOIN ({last}) USING ({keys}) WHERE {_ROW} < {_LAST}"
            kept = f"SELECT {sql.names(self.columns)} FROM {rows} ANTI JOIN ({earlier}) USING ({_ROW})"
            self.rows = self._connection.count(f"COPY ({kept}) TO {sql.text(str(unique))} (FORMAT parquet)")
            self.path.unlink()
            self.path = unique
        self._unique = key

    def relation(self) -> str:
        """SQL to select the rows from."""
        return f"read_parquet({sql.text(str(self.path))})"

    def _read(self, *, ordered: bool = False) -> int:
        """Try the fast way, then with one thread, then record by record; each takes more than the one before."""
        import duckdb

        source = self._source
        if all(ends_safely(file, source.dialect, longest_bytes=_LINE_BYTES) for file in source.files):
            for parallel in (False,) if ordered else (True, False):
                try:
                    return self._copy(parallel=parallel, ordered=ordered)
                except duckdb.InvalidInputException:
                    self.path.unlink(missing_ok=True)
        rewritten = rewrite(source, self._new_files())
        self._source = rewritten.source
        self._line_bytes = max(rewritten.longest_bytes + 1, _LINE_BYTES)
        rows = self._copy(parallel=False, ordered=ordered)
        if rows != rewritten.records:
            raise StorageError(f"Of {rewritten.records} records of a CSV only {rows} could be read.")
        return rows

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

    def _copy(self, *, parallel: bool, ordered: bool) -> int:
        # Row groups are bounded in bytes where DuckDB can: rows may hold megabytes each.
        bound = "ROW_GROUP_SIZE 20480" if ordered else "ROW_GROUP_SIZE_BYTES 33554432"
        rows = self._select(parallel=parallel)
        if ordered:
            rows = f"SELECT *, row_number() OVER () AS {_ROW} FROM ({rows})"
        return self._connection.count(f"COPY ({rows}) TO {sql.text(str(self.path))} (FORMAT parquet, {bound})")

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
