"""What becomes of a container that a task has left to the triggerer when somebody cancels the task."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.rules("LC-10")
def test_a_cancelled_run_is_cleaned_up_also_when_it_is_cancelled_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from docker_runner.job.waiting import LeftContainer
    from docker_runner_airflow import triggers

    done: list[str] = []

    async def stop(_: LeftContainer, __: Any) -> None:
        await asyncio.sleep(0.1)
        done.append("stopped")

    async def clean_up(_: LeftContainer, __: Any) -> None:
        await asyncio.sleep(0.05)
        done.append("cleaned up")

    monkeypatch.setattr(triggers, "_tools", lambda: None)
    monkeypatch.setattr(LeftContainer, "stop", stop)
    monkeypatch.setattr(LeftContainer, "clean_up", clean_up)
    trigger = triggers.ContainerTrigger(
        whole_run=True, job_id="dag/run", row_id="", position=0, container_id="container"
    )

    async def cancelled_again() -> None:
        task = asyncio.ensure_future(trigger.on_kill())
        for _ in range(3):
            await asyncio.sleep(0.03)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled_again())
    assert done == ["stopped", "cleaned up"]
