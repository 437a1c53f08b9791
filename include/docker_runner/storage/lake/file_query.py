r"""Full-text queries of stored files, in the syntax of Elasticsearch's query strings (IF-3).

====================================  =================================================================================
``tags:a``, ``tags:"a b"``            files with exactly this tag
``name:report``, ``name:"my file"``   files whose name is this, or has these words one after the other, in any case
``report``                            either of the two
``name:*.zip``, ``tags:in-?``         ``*`` is any text, ``?`` any character; ``tags:*`` is every file with a tag
``isPublic:true``                     also ``isPermanent``, ``isEncrypted``, ``isSliced``
``sizeBytes:>=1000``                  also ``id`` and ``maxAgeDays``; ``<``, ``<=``, ``>``; ``[1 TO 5]`` with and
                                      ``{1 TO 5}`` without its ends; ``[1 TO *]``
``created:[2026-01-01 TO now-1d]``    the same for times, see :func:`docker_runner.storage.lake.file_fields.time_span`
``a AND b``, ``a OR b``, ``NOT a``    ``AND`` binds more tightly than ``OR``; parentheses, also ``tags:(a OR b)``
``a b``                               one of them, like ``a OR b``
``+a -b c``                           ``a`` must hold, ``b`` must not, ``c`` need not
``\:``                                 a character without its meaning; in quotes only ``"`` and the backslash need it
====================================  =================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from docker_runner.errors import UserError
from docker_runner.storage.lake.file_fields import Field, file_fields

_SYMBOLS = {"&&": "AND", "||": "OR", "!": "NOT"}
_WILDCARD = re.compile(r"\\.|([*?])", re.DOTALL)


def query_condition(query: str, *, now: datetime) -> str:
    """SQL of the condition that the record of a stored file matches a query.

    Args:
        query: the query.
        now: what ``now`` in it means.

    Raises:
        UserError: it cannot be understood, or uses what is not offered; says where.
    """
    return _Translation(query, now=now).condition


class _Translation:
    """One query. Its conditions are true or false, never NULL, so that they can be negated."""

    def __init__(self, query: str, *, now: datetime) -> None:
        from luqum import tree
        from luqum.exceptions import ParseError
        from luqum.thread import parse

        self._query = query
        self._fields = file_fields(now)
        self._tree = tree
        self._kinds: dict[type, Callable[[Any, str], str]] = {
            tree.AndOperation: self._all_of,
            tree.OrOperation: self._one_of,
            tree.UnknownOperation: self._clauses,
            tree.Group: lambda node, field: self._part(node.expr, field),
            tree.FieldGroup: lambda node, field: self._part(node.expr, field),
            tree.Not: lambda node, field: f"(NOT {self._part(node.a, field)})",
            tree.Prohibit: lambda node, field: f"(NOT {self._part(node.a, field)})",
            tree.Plus: lambda node, field: self._part(node.a, field),
            tree.SearchField: self._in_field,
            tree.Word: self._word,
            tree.Phrase: lambda node, field: self._asked(node, field, lambda asked: asked.equals(_plain(node))),
            tree.Range: self._range,
            tree.From: lambda node, field: self._between(node, field, low=(node.a, node.include)),
            tree.To: lambda node, field: self._between(node, field, high=(node.a, node.include)),
        }
        try:
            self.condition = self._part(parse(query), "")
        except ParseError as error:
            raise self._unreadable(str(error)) from None

    def _unreadable(self, message: str) -> UserError:
        found = re.search(r"at position (\d+)", message)
        if found:
            position = int(found[1])
            return self._error(f"{self._query[position]!r} cannot stand here", position)
        return self._error("something is missing: a closing parenthesis, or what belongs to AND, OR or NOT", None)

    def _error(self, problem: str, position: int | None) -> UserError:
        place = "at its end" if position is None else f"at character {position + 1}"
        return UserError(f"The query of files {self._query!r} cannot be understood {place}: {problem}.")

    def _part(self, node: Any, field: str) -> str:
        """SQL of a part of the query inside of a field, "" outside of all."""
        translate = self._kinds.get(type(node))
        if translate is None:
            raise self._error(f"{str(node).strip()!r} is not offered ({type(node).__name__.lower()})", node.pos)
        return translate(node, field)

    def _all_of(self, node: Any, field: str) -> str:
        return f"({' AND '.join(self._part(child, field) for child in node.children)})"

    def _one_of(self, node: Any, field: str) -> str:
        for child in node.children:
            if isinstance(child, self._tree.Plus):
                raise self._error("'+' has no meaning beside OR", child.pos)
        return f"({' OR '.join(self._part(child, field) for child in node.children)})"

    def _clauses(self, node: Any, field: str) -> str:
        """Parts without an operator between them. Nothing marked with + there, one of the others must hold."""
        negative = (self._tree.Prohibit, self._tree.Not)
        marked = [child for child in node.children if isinstance(child, (self._tree.Plus, *negative))]
        others = [self._part(child, field) for child in node.children if child not in marked]
        conditions = [self._part(child, field) for child in marked]
        if others and all(isinstance(child, negative) for child in marked):
            conditions.append(f"({' OR '.join(others)})")
        return f"({' AND '.join(conditions)})"

    def _in_field(self, node: Any, field: str) -> str:
        name = re.sub(r"\\(.)", r"\1", node.name)
        if field:
            raise self._error("a colon inside a field: put the text into quotes", node.pos)
        if name == "_exists_" and isinstance(node.expr, self._tree.Word):
            return self._asked(node.expr, node.expr.value, lambda asked: asked.exists)
        if name == "*" and str(node.expr).strip() == "*":
            return "true"
        if isinstance(node.expr, (self._tree.Not, self._tree.Prohibit, self._tree.Plus)):
            raise self._error("an operator behind a colon: put the text into quotes", node.expr.pos)
        self._asked(node, name, lambda asked: asked.exists)
        return self._part(node.expr, name)

    def _word(self, node: Any, field: str) -> str:
        for symbol, word in _SYMBOLS.items():
            if node.value == symbol or (symbol == "!" and node.value.startswith(symbol)):
                raise self._error(f"write {word} instead of {symbol}", node.pos)
        if node.value == "*":
            return self._asked(node, field, lambda asked: asked.exists)
        if any(found[1] for found in _WILDCARD.finditer(node.value)):
            return self._asked(node, field, lambda asked: asked.like(_pattern(node.value)))
        return self._asked(node, field, lambda asked: asked.equals(_plain(node)))

    def _range(self, node: Any, field: str) -> str:
        return self._between(node, field, low=(node.low, node.include_low), high=(node.high, node.include_high))

    def _between(
        self, node: Any, field: str, *, low: tuple[Any, bool] | None = None, high: tuple[Any, bool] | None = None
    ) -> str:
        def end(bound: tuple[Any, bool] | None) -> tuple[str, bool] | None:
            # A number may be negative here: - is no operator between brackets.
            return (_plain(bound[0]), bound[1]) if bound and str(bound[0]).strip() != "*" else None

        return self._asked(node, field, lambda asked: asked.between(end(low), end(high)))

    def _asked(self, node: Any, name: str, ask: Callable[[Field], str]) -> str:
        """SQL that a field gives; what it refuses is an error at the part's place."""
        field = self._fields.get(name)
        if field is None:
            there_are = ", ".join(filter(None, self._fields))
            raise self._error(f"there is no field {name}, there are {there_are}", node.pos)
        try:
            return ask(field)
        except ValueError as error:
            raise self._error(f"{name or 'a word without a field'} {error}", node.pos) from None


def _plain(node: Any) -> str:
    """The text of a term: without its quotes and the backslashes that took meanings away."""
    text = str(node).strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1] if text.startswith('"') else text, flags=re.DOTALL)


def _pattern(text: str) -> str:
    """A text with wildcards as a pattern of SQL's LIKE, whose escape character is the backslash."""
    wildcards = {"*": "%", "?": "_"}

    def piece(found: re.Match[str]) -> str:
        character = found[0]
        if character in wildcards:
            return wildcards[character]
        character = character[-1] if len(character) == 2 else character
        return f"\\{character}" if character in "%_\\" else character

    return re.sub(r"\\.|.", piece, text, flags=re.DOTALL)
