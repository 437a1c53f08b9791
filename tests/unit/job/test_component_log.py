"""What people see of what a component says."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.builders import component

from docker_runner.engine.frames import Stream
from docker_runner.engine.gelf_messages import GelfMessage
from docker_runner.job.component_log import ComponentLog

LEVELS = {100: "debug", 200: "info", 250: "notice", 300: "warning", 400: "error", 500: "critical", 550: "alert"}
CAMOUFLAGE = "Application error: ask whoever maintains the component vendor.ex-foo for help."


class Shown(logging.Handler):
    def __init__(self, **definition: Any) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        log = logging.Logger("test", logging.INFO)
        log.addHandler(self)
        self.log = ComponentLog(log, component(logging=definition))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.mark.rules("CD-21", "LG-12", "LG-13", "LG-15")
def test_by_default_debug_is_not_shown_and_what_is_worse_than_an_error_is_camouflaged() -> None:
    shown = Shown()
    for level, name in LEVELS.items():
        shown.log.message(GelfMessage(level, name, {"_x": 1}))
    shown.log.message(GelfMessage(600, "emergency"))
    assert shown.lines == [
        ("INFO", "info"),
        ("WARNING", "notice"),
        ("WARNING", "warning"),
        ("ERROR", "error"),
        *[("CRITICAL", CAMOUFLAGE)] * 3,
    ]


@pytest.mark.rules("CD-21", "LG-12", "LG-13")
def test_verbosity_of_levels_is_the_components_and_levels_that_it_leaves_out_keep_theirs() -> None:
    shown = Shown(verbosity={"100": "verbose", "200": "none", "400": "camouflage", "500": "verbose"})
    for level, name in LEVELS.items():
        shown.log.message(GelfMessage(level, name, {"_x": {"y": 1}}))
    assert shown.lines == [
        ("INFO", 'debug {"_x": {"y": 1}}'),
        ("WARNING", "notice"),
        ("WARNING", "warning"),
        ("ERROR", CAMOUFLAGE),
        ("CRITICAL", 'critical {"_x": {"y": 1}}'),
        ("CRITICAL", CAMOUFLAGE),
    ]


@pytest.mark.rules("CD-21", "LG-12", "LG-1")
def test_verbosity_counts_for_the_outputs_too() -> None:
    shown = Shown(verbosity={"200": "none", "400": "normal"})
    shown.log.lines(Stream.STDOUT, ["100 % chatter"])
    shown.log.lines(Stream.STDERR, ["100 % wrong", "%s"])
    assert shown.lines == [("ERROR", "100 % wrong"), ("ERROR", "%s")]
    shown = Shown(verbosity={"200": "camouflage"})
    shown.log.lines(Stream.STDOUT, ["one", "two"])
    assert shown.lines == [("INFO", CAMOUFLAGE)] * 2


@pytest.mark.rules("LG-1")
def test_only_floods_share_entries_and_lose_no_line() -> None:
    shown = Shown()
    few = [f"line {n}" for n in range(250)]
    shown.log.lines(Stream.STDOUT, few)
    assert [text for _, text in shown.lines] == few
    shown.lines.clear()
    flood = [f"line {n}" for n in range(2_050)] + ["x" * 50_000] * 3
    shown.log.lines(Stream.STDERR, flood)
    assert "\n".join(text for _, text in shown.lines).splitlines() == flood
    assert len(shown.lines) == 20 + 1 + 2
    assert max(len(text) for _, text in shown.lines) <= 60_000
    assert {level for level, _ in shown.lines} == {"ERROR"}


@pytest.mark.rules("LG-14")
def test_a_message_without_a_text_is_none() -> None:
    shown = Shown(verbosity={"300": "verbose"})
    shown.log.message(GelfMessage(300, " \n", {"_x": 1}))
    assert shown.lines == []
    assert shown.log.last_warning == ""


@pytest.mark.rules("CT-35")
def test_the_last_message_of_a_warning_or_worse_is_kept_shown_or_not() -> None:
    shown = Shown(verbosity={"300": "none"})
    for level, text in ((400, "first"), (300, "second"), (250, "a notice"), (200, "fine")):
        shown.log.message(GelfMessage(level, text))
    assert shown.log.last_warning == "second"


@pytest.mark.rules("LG-3")
def test_a_very_long_message_is_trimmed() -> None:
    shown = Shown(verbosity={"200": "verbose"})
    shown.log.message(GelfMessage(200, "x" * 70_000, {"_y": "y" * 70_000}))
    ((_, text),) = shown.lines
    assert len(text) < 60_100
    assert text.endswith(" [trimmed]")


@pytest.mark.rules("LG-7")
def test_notices_of_dropped_messages_end_some_time() -> None:
    shown = Shown()
    for number in range(1000):
        shown.log.notice(f"dropped {number}")
    assert shown.lines[0] == ("WARNING", "dropped 0")
    assert shown.lines[-1] == ("WARNING", "More messages like that are dropped without a word.")
    assert len(shown.lines) == 51
