"""Texts of a CSV -> what their columns hold: values of types, and NULL (OM-53, OM-90, OM-95)."""

# ruff: noqa: S608 - names and texts are quoted by sql.py; SQL has no parameters for most of these places
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from docker_runner.storage.base import BaseType, ColumnType
from docker_runner.storage.lake import sql, types
from docker_runner.storage.lake.records import Run

_SHOWN_CHARACTERS = 60
_TEXT = ColumnType(BaseType.STRING)


@dataclass(frozen=True)
class Conversion:
    """What becomes of the texts of a load.

    Attributes:
        types: type of each column; empty when all are texts.
        key: columns of the primary key, which are never NULL.
        null_values: texts that become NULL in the other columns.
    """

    types: Mapping[str, ColumnType] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()

    @property
    def changes_texts(self) -> bool:
        """Whether anything becomes something else than the text that it is."""
        return bool(self.types or self.null_values)

    def rows(self, columns: Sequence[str], relation: str, *, also: str = "", checked: bool = False) -> str:
        """SQL of a query that gives rows converted.

        Args:
            columns: names of the columns, in which the texts stand.
            relation: where the rows are.
            also: name of a further column to give, quoted.
            checked: fail at a text that cannot be converted; otherwise it becomes NULL.
        """
        fields = [sql.name(column) for column in columns]
        if checked:
            fields = [
                f"CASE WHEN {wrong} THEN error('a text cannot be converted') ELSE {field} END AS {field}"
                if wrong
                else field
                for field, wrong in zip(fields, map(self._wrong, columns), strict=True)
            ]
        return f"SELECT {', '.join([*fields, *filter(None, [also])])} FROM ({self._values(columns, relation, also)})"

    def wrong_rows(self, columns: Sequence[str], relation: str, *, give: str) -> str:
        """SQL of a query that gives ``give`` of the rows with a text that cannot be converted."""
        wrong = " OR ".join(filter(None, map(self._wrong, columns))) or "false"
        return f"SELECT {give} FROM ({self._values(columns, relation, give)}) WHERE {wrong}"

    def problem(self, run: Run, columns: Sequence[str], record: Sequence[str]) -> str:
        """What is wrong with a record.

        Args:
            run: runs one statement.
            columns: names of the record's fields.
            record: texts of which one cannot be converted.

        Returns:
            A sentence without an end, or an empty text when nothing is wrong.
        """
        fields = f"(SELECT {', '.join(f'? AS {sql.name(column)}' for column in columns)})"
        tests = ", ".join(self._wrong(column) or "false" for column in columns)
        (found,) = run(f"SELECT {tests} FROM ({self._values(columns, fields)})", list(record))
        for column, text, is_wrong in zip(columns, record, found, strict=True):
            if is_wrong:
                return self._problem(column, text)
        return ""

    def _problem(self, column: str, text: str) -> str:
        shown = repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
        kind = self.types.get(column, _TEXT)
        if text in self._nulls(column):
            reason = "is part of the primary key" if column in self.key else "is not nullable"
            return f"the value {shown} of the column {column} would be NULL, but the column {reason}"
        return f"the value {shown} of the column {column} is no {types.expectation(kind)}"

    def _nulls(self, column: str) -> tuple[str, ...]:
        """Texts that are NULL in a column."""
        nulls = () if column in self.key else self.null_values
        return nulls if self.types.get(column, _TEXT).base is BaseType.STRING else ("", *nulls)

    def _values(self, columns: Sequence[str], relation: str, also: str = "") -> str:
        """SQL of a query that gives texts and values; each is made once, in a step of its own, because that is slow."""
        texts, values = [], []
        for column in columns:
            name, text, nulls = sql.name(column), _text_of(column), self._nulls(column)
            texts.append(
                f"CASE WHEN {name} IN ({sql.texts(nulls)}) THEN NULL ELSE {name} END AS {text}"
                if nulls
                else f"{name} AS {text}"
            )
            values += [text, f"{types.parsed(text, self.types.get(column, _TEXT))} AS {name}"]
        more = f", {also}" if also else ""
        return f"SELECT {', '.join(values)}{more} FROM (SELECT {', '.join(texts)}{more} FROM {relation})"

    def _wrong(self, column: str) -> str:
        """SQL of the condition that a column's text cannot be converted; empty when every text can."""
        kind, nulls = self.types.get(column, _TEXT), self._nulls(column)
        text, value = _text_of(column), sql.name(column)
        may_be_null = kind.nullable and column not in self.key
        if kind.base is BaseType.STRING and types.max_characters(kind) is None:
            return "" if may_be_null or not nulls else f"{text} IS NULL"
        return f"({text} IS NOT NULL AND {value} IS NULL)" if may_be_null else f"{value} IS NULL"


def _text_of(column: str) -> str:
    """Name of a column's text, quoted; no column of a table has a name with blanks."""
    return sql.name(f"text of {column}")
