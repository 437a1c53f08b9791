"""What waits for a slow reader: all of it, in its order, in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docker_runner.engine.live_output import _Waiting


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.binary(min_size=1, max_size=30), st.none()), max_size=40))
def test_bytes_come_in_their_order_wherever_they_waited(tmp_path: Path, steps: list[bytes | None]) -> None:
    waiting = _Waiting(tmp_path, memory_bytes=100, file_bytes=10**6)
    taken, given_in = b"", b""
    for step in steps:
        if step is None:
            taken += waiting.take()
        else:
            assert waiting.add(step)
            given_in += step
    while waiting:
        taken += waiting.take()
    assert waiting.take() == b""
    assert taken == given_in
    waiting.close()


@pytest.mark.rules("LG-1")
def test_what_waits_takes_no_memory_and_leaves_nothing_behind(tmp_path: Path) -> None:
    waiting = _Waiting(tmp_path, memory_bytes=100_000, file_bytes=30_000_000)
    tracemalloc.start()
    number = 0
    while waiting.add(bytes([number % 256]) * 10_000):
        number += 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert 30_000_000 <= number * 10_000 < 30_200_000
    assert list(tmp_path.iterdir()) == [], "the file has no name: it is gone with the process"
    size = 0
    while waiting:
        size += len(waiting.take())
    assert size == number * 10_000
    waiting.close()
