"""Texts of components on a terminal."""

from __future__ import annotations

import logging

import pytest

from docker_runner.terminal_text import PrintableFormatter, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("title\x1b]0;mine\x07", r"title\x1b]0;mine\x07"),
        ("a\0b\x7f\x9b2J", r"a\x00b\x7f\x9b2J"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\nthree\n\tfour"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("Größe 5 € 🙂 [b]", "Größe 5 € 🙂 [b]"),
    ],
)
def test_a_text_is_shown_and_does_nothing_to_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert PrintableFormatter("  %(message)s").format(record) == f"  {shown}"
