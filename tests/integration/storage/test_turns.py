"""Turns: of all that want to work with one thing, one at a time may."""

from __future__ import annotations

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docker_runner.storage import open_ledger, open_storage, open_turns
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.turns import LakeTurns


@pytest.mark.locations
@pytest.mark.rules("LC-11")
def test_of_many_that_want_a_turn_one_has_it_and_of_many_that_take_it_over_one_does(uri: str) -> None:
    turns = open_turns(uri)
    assert turns.take("other", "somebody") == "somebody"

    def take(number: int, over: str = "") -> str:
        return open_turns(uri).take("what", f"run {number}", over=over)

    with ThreadPoolExecutor(16) as pool:
        (first,) = Counter(pool.map(take, range(16)))
        assert turns.take("what", "late") == first
        assert turns.take("what", "late", over="somebody else who has ended") == first
        (second,) = Counter(pool.map(lambda number: take(number, over=first), range(100, 116)))
    assert second.startswith("run 1")
    assert second != first
    assert turns.take("what", second, over=first) == second, "a second attempt"
    assert turns.take("other", "late") == "somebody"


@pytest.mark.locations
def test_turns_that_were_taken_long_ago_are_forgotten(uri: str) -> None:
    turns = LakeTurns(parse_location(uri))
    turns.take("old", "somebody")
    turns.take("taken over", "somebody")
    now = datetime.now(UTC)
    turns.take("taken over", "me", over="somebody")
    turns.forget(now)
    assert turns.take("old", "late") == "late"
    assert turns.take("taken over", "late") == "me"


def test_maintenance_forgets_turns_that_nobody_has_taken_for_months(uri: str, tmp_path: Path) -> None:
    turns = open_turns(uri)
    turns.take("old", "somebody")
    turns.take("new", "somebody")
    with closing(sqlite3.connect(tmp_path / "lake" / "catalog.sqlite.ledger")) as ledger:
        ledger.execute("UPDATE docker_runner_turns SET taken = '2020-01-01T00:00:00.000000+00:00' WHERE what = 'old'")
        ledger.commit()
    with open_storage(uri) as storage:
        storage.maintain(timedelta(days=7))
    assert [turns.take(what, "late") for what in ("old", "new")] == ["late", "somebody"]


def test_a_ledger_from_before_there_were_turns_has_them_now(uri: str, tmp_path: Path) -> None:
    open_ledger(uri).tokens()
    with closing(sqlite3.connect(tmp_path / "lake" / "catalog.sqlite.ledger")) as old:
        old.executescript("DROP TABLE docker_runner_turns; PRAGMA user_version = 1")
    assert open_turns(uri).take("what", "me") == "me"
