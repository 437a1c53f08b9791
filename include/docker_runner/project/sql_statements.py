"""SQL code in a file and its statements: components get a list of them, ``kbc`` writes them into one file."""

from __future__ import annotations

import re

# What may hold a semicolon that ends nothing: texts, names, dollar quoted texts and the comments of all dialects.
_PIECE = re.compile(
    r"""
      '(?:[^'\\]|\\.)*'
    | "(?:[^"\\]|\\.)*"
    | \$\$.*?\$\$
    | /\*.*?\*/
    | (?:--|//|\#)[^\n]*
    | (?P<end>;)
    | [^'"$/#;-]+
    | .
    """,
    re.DOTALL | re.VERBOSE,
)


def statements(code: str) -> list[str]:
    """Split SQL code after each semicolon that ends a statement; comments stay with the statement that they precede.

    Args:
        code: one or more statements; the last may lack its semicolon.
    """
    ends = [match.end() for match in _PIECE.finditer(code) if match["end"]]
    pieces = (code[begin:end].strip() for begin, end in zip([0, *ends], [*ends, len(code)], strict=True))
    return [piece for piece in pieces if piece.strip("; \t\r\n")]
