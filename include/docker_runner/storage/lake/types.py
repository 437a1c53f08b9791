"""Types of columns (OM-92): what they are in the lake, which texts they take, and as which text a value is exported.

====================  ==========================  ===================================  =================================
type                  in the lake                 texts that are taken                 text of an export
====================  ==========================  ===================================  =================================
``STRING``            VARCHAR                     all; with a length up to so many     the text
                                                  characters
``INTEGER``           BIGINT; DECIMAL(length, 0)  whole numbers, also ``1.0``, ``1e3``  ``1``
                      for a length above 18
``NUMERIC``           DECIMAL(length); without    numbers; digits beyond the scale     all digits of the scale, ``1.50``
                      a length DECIMAL(38, 9)     are rounded
``FLOAT``             DOUBLE                      numbers, ``inf``, ``nan``            shortest that reads as the same
                                                                                       number: ``0.1``, ``1e+20``
``BOOLEAN``           BOOLEAN                     true/false, t/f, yes/no, y/n,        ``true``, ``false``
                                                  on/off, 1/0, in any case
``DATE``              DATE                        ``2026-01-31``, also with a time     ``2026-01-31``
                                                  that is midnight in UTC
``TIMESTAMP``         TIMESTAMP, in UTC, to the   ``2026-01-31``, with ``10:00``,      ``2026-01-31 10:00:00``, with a
                      microsecond                 ``10:00:00`` or ``10:00:00.5``       fraction when there is one
                                                  behind a blank or ``T``, with an
                                                  offset when it is not UTC
====================  ==========================  ===================================  =================================

Blanks around values that are no texts do not matter. Lengths of the other types are kept and have no effect.
"""

from __future__ import annotations

import re

from docker_runner.errors import UserError
from docker_runner.storage.base import BaseType, ColumnType, Table
from docker_runner.storage.lake import sql

_MAX_DIGITS = 38
_DIGITS_OF_BIGINT = 18
_DEFAULT_NUMERIC = (_MAX_DIGITS, 9)

_TRUE = ("true", "t", "yes", "y", "on", "1")
_FALSE = ("false", "f", "no", "n", "off", "0")
_PATTERNS = {
    BaseType.INTEGER: r"\s*[+-]?\d+(\.0*)?([eE]\+?\d+)?\s*",
    BaseType.NUMERIC: r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*",
    BaseType.FLOAT: r"(?i)\s*([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|nan)\s*",
}
_MIDNIGHT = r"^\s*(\d{4}-\d{2}-\d{2})(?:[ T]00:00(?::00(?:\.0+)?)?(?: ?(?:Z|UTC|[+-]00(?::?00)?))?)?\s*$"
_TIME = r"^\s*(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?(?: ?(Z|UTC|[+-]\d{2}(?::?\d{2})?))?)?\s*$"


def column_type(table: Table, column: str) -> ColumnType:
    """Type of a table's column; tables without types have texts."""
    return table.types.get(column) or ColumnType(BaseType.STRING)


def sql_type(kind: ColumnType) -> str:
    """The column's type in the lake.

    Raises:
        UserError: the length is none of the type.
    """
    if kind.base is BaseType.INTEGER:
        digits, scale = _digits(kind, (_DIGITS_OF_BIGINT, 0))
        if scale:
            raise UserError(f"{kind.length!r} is no length of an INTEGER: it has no digits behind the point.")
        return "BIGINT" if digits <= _DIGITS_OF_BIGINT else f"DECIMAL({digits}, 0)"
    if kind.base is BaseType.NUMERIC:
        digits, scale = _digits(kind, _DEFAULT_NUMERIC)
        return f"DECIMAL({digits}, {scale})"
    max_characters(kind)
    return {BaseType.STRING: "VARCHAR", BaseType.FLOAT: "DOUBLE"}.get(kind.base) or kind.base.value


def max_characters(kind: ColumnType) -> int | None:
    """Longest text of a STRING column; None for no limit.

    Raises:
        UserError: the length is no number.
    """
    if kind.base is not BaseType.STRING or not kind.length.strip():
        return None
    if not re.fullmatch(r"[1-9]\d{0,9}", kind.length.strip()):
        raise UserError(f"{kind.length!r} is no length of a STRING: write a number of characters, e.g. 255.")
    return int(kind.length)


def parsed(text: str, kind: ColumnType) -> str:
    """SQL that turns a text into a value of a type, NULL when it is none.

    Args:
        text: SQL of the text.
        kind: the type.
    """
    if kind.base is BaseType.STRING:
        longest = max_characters(kind)
        return text if longest is None else f"CASE WHEN length({text}) <= {longest} THEN {text} END"
    if kind.base is BaseType.BOOLEAN:
        word = f"lower(trim({text}))"
        return f"CASE WHEN {word} IN ({sql.texts(_TRUE)}) THEN true WHEN {word} IN ({sql.texts(_FALSE)}) THEN false END"
    if kind.base is BaseType.DATE:
        return f"TRY_CAST(regexp_extract({text}, {sql.text(_MIDNIGHT)}, 1) AS DATE)"
    if kind.base is BaseType.TIMESTAMP:
        return _parsed_time(text)
    value = _parsed_number(text, sql_type(kind))
    if kind.base is BaseType.FLOAT:  # too large a number would become infinite
        value = f"CASE WHEN NOT isinf({value}) OR contains(lower({text}), 'inf') THEN {value} END"
    return f"CASE WHEN regexp_full_match({text}, {sql.text(_PATTERNS[kind.base])}) THEN {value} END"


def _parsed_number(text: str, number: str) -> str:
    """A cast; that to decimals of more than 64 bits takes 50 times as long and is tried last."""
    value = f"TRY_CAST({text} AS {number})"
    digits, _, scale = number.removeprefix("DECIMAL(").removesuffix(")").partition(", ")
    if not scale or int(digits) <= _DIGITS_OF_BIGINT or int(scale) >= _DIGITS_OF_BIGINT:
        return value
    return f"coalesce(CAST(TRY_CAST({text} AS DECIMAL({_DIGITS_OF_BIGINT}, {scale})) AS {number}), {value})"


def _parsed_time(text: str) -> str:
    """A cast would leave out offsets: times are taken apart, and offsets subtracted."""
    parts = f"regexp_extract({text}, {sql.text(_TIME)}, ['day', 'minute', 'second', 'offset'])"
    wall = (
        f"TRY_CAST(({parts}).day || ' ' || coalesce(nullif(({parts}).minute, ''), '00:00') || "
        f"coalesce(nullif(({parts}).second, ''), ':00') AS TIMESTAMP)"
    )
    offset = f"replace(({parts}).offset, ':', '')"
    minutes = f"(TRY_CAST({offset}[2:3] AS BIGINT) * 60 + coalesce(TRY_CAST({offset}[4:5] AS BIGINT), 0))"
    shift = f"CASE {offset}[1] WHEN '+' THEN -{minutes} WHEN '-' THEN {minutes} ELSE 0 END"
    return f"({wall} + to_minutes({shift}))"


def exported(value: str) -> str:
    """SQL of the text that stands for a value; NULL for NULL."""
    return f"CAST({value} AS VARCHAR)"


def literal(text: str, kind: ColumnType) -> str:
    """SQL of a value, given as :func:`exported` gives it."""
    return f"CAST({sql.text(text)} AS {sql_type(kind)})"


def expectation(kind: ColumnType) -> str:
    """What texts of a type look like, for people."""
    name = f"{kind.base.value}({kind.length})" if kind.length else kind.base.value
    if kind.base is BaseType.INTEGER:
        fits = "64 bits" if sql_type(kind) == "BIGINT" else f"{_digits(kind, _DEFAULT_NUMERIC)[0]} digits"
        return f"{name}: a whole number that fits into {fits}"
    if kind.base is BaseType.NUMERIC:
        digits, scale = _digits(kind, _DEFAULT_NUMERIC)
        return f"{name}: a number with up to {digits - scale} digits before the point"
    looks = {
        BaseType.STRING: f"a text of up to {kind.length} characters",
        BaseType.FLOAT: "a number such as 0.5 or 1e20",
        BaseType.BOOLEAN: "true or false",
        BaseType.DATE: "a date such as 2026-01-31",
        BaseType.TIMESTAMP: "a time such as 2026-01-31 10:00:00, with an offset such as +02:00 when it is not UTC",
    }
    return f"{name}: {looks[kind.base]}"


def _digits(kind: ColumnType, default: tuple[int, int]) -> tuple[int, int]:
    """Digits in all and behind the point."""
    if not kind.length.strip():
        return default
    found = re.fullmatch(r"(\d{1,3})(?:,(\d{1,3}))?", kind.length.replace(" ", ""))
    digits, scale = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
    if not 1 <= digits <= _MAX_DIGITS or scale > digits:
        raise UserError(
            f"{kind.length!r} is no length of {kind.base.value}: write the number of digits, 1 to {_MAX_DIGITS}, and "
            "after a comma how many of them are behind the point, e.g. 10,2."
        )
    return digits, scale
