"""Names in Storage: table ids and columns (pure functions)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from docker_runner.errors import UserError

MAX_COLUMN_LENGTH = 64
"""Longest column name that Storage takes (OM-44)."""

TIMESTAMP_COLUMN = "_timestamp"
"""Internal column of every table: when the row was last changed (IM-37)."""

RESERVED_COLUMNS = frozenset({"oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

_MAX_PART_LENGTH = 96
_PART = re.compile(r"[A-Za-z0-9_-]+")

# Letters that Unicode does not decompose into a base letter and an accent.
_LETTERS = str.maketrans(
    {
        "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ħ": "h", "Ħ": "H",
        "ŧ": "t", "Ŧ": "T", "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)  # fmt: skip


def transliterate(text: str) -> str:
    """Text in ASCII: accents removed, letters of other scripts dropped, foreign punctuation turned into blanks."""
    ascii_text = []
    for character in unicodedata.normalize("NFKD", text.translate(_LETTERS)):
        if character.isascii():
            ascii_text.append(character)
        elif unicodedata.category(character)[0] not in "LMN":
            ascii_text.append(" ")
    return "".join(ascii_text)


def sanitize_column(name: str) -> str:
    """Return the name under which Storage keeps a column (OM-41..OM-43).

    ``_timestamp`` is returned as it is, for the caller to refuse; a name without any usable character gives "".
    """
    if name.lower() == TIMESTAMP_COLUMN:
        return name
    clean = re.sub(r"[^A-Za-z0-9_]+", "_", transliterate(name)).strip("_")
    return f"{clean}_" if clean in RESERVED_COLUMNS else clean


def sanitize_header(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sanitise the columns of one CSV (OM-44, D5).

    Args:
        names: the columns as written, in file order.

    Returns:
        The columns' names in Storage, and one warning for each name that was changed.

    Raises:
        UserError: a name is empty, too long, reserved for Storage, or there twice.
    """
    clean = tuple(sanitize_column(name) for name in names)
    problems = []
    seen: dict[str, str] = {}
    for position, (written, name) in enumerate(zip(names, clean, strict=True), start=1):
        if not name:
            problems.append(f"column {position} ({written!r}) has nothing that a name could keep")
        elif len(name) > MAX_COLUMN_LENGTH:
            problems.append(f"column {name!r} is longer than {MAX_COLUMN_LENGTH} characters")
        elif name.lower() == TIMESTAMP_COLUMN:
            problems.append(f"column {written!r} is Storage's own and must not be in the data")
        elif name.lower() in seen:
            problems.append(f"column {written!r} is there twice (as {seen[name.lower()]!r} before)")
        seen.setdefault(name.lower(), written)
    if problems:
        raise UserError("The columns cannot be used: " + "; ".join(problems) + ".")
    changed = zip(names, clean, strict=True)
    return clean, tuple(f"Column {old!r} is stored as {new!r}." for old, new in changed if old != new)


def split_table_id(table_id: str) -> tuple[str, str]:
    """Split a table id into its bucket's id and the table's name (OM-24, OM-28).

    Raises:
        UserError: it is not ``stage.bucket.table`` with stage ``in`` or ``out``.
    """
    parts = table_id.split(".")
    if len(parts) != 3 or parts[0] not in ("in", "out"):
        raise UserError(f"{table_id!r} is not a table id. It must be stage.bucket.table, e.g. in.c-main.orders.")
    for part in parts[1:]:
        if not _PART.fullmatch(part) or len(part) > _MAX_PART_LENGTH:
            raise UserError(
                f"{table_id!r} is not a table id: {part!r} must be 1 to {_MAX_PART_LENGTH} letters (a-z), digits, "
                "'-' and '_'."
            )
    return f"{parts[0]}.{parts[1]}", parts[2]
