"""Texts of others on a terminal: what they say is shown, what they would do to the terminal is not done."""

from __future__ import annotations

import logging
import re

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_LINE_ENDS = re.compile(r"\r\n?")
# Controls other than tab and newline, and those that turn the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""A text without colours, and with every other control character as its escape, e.g. ``\x1b``."""
    plain = _LINE_ENDS.sub("\n", _COLOURS.sub("", text))
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), plain)


class PrintableFormatter(logging.Formatter):
    """Formats messages for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The message as :func:`printable` gives it."""
        return printable(super().format(record))
