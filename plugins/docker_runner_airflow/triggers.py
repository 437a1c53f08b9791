"""Waits for containers without holding a worker: one triggerer follows hundreds of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from docker_runner.job.waiting import LeftContainer
from docker_runner.settings import Settings

if TYPE_CHECKING:
    from docker_runner.job.tools import Tools

LOG = logging.getLogger("docker_runner")


class ContainerTrigger(BaseTrigger):
    """Follows a container until it ends; its lines appear in the task's log.

    What Airflow stores of it are names only: secrets to hide are read from the run's workspace.

    Args:
        whole_run: its task is the whole run: whoever cancels it leaves nothing behind.
        left: the fields of a :class:`LeftContainer`.
    """

    def __init__(self, *, whole_run: bool = False, **left: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = LeftContainer(**left)
        self.whole_run = whole_run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where this class is, and what makes the same trigger again."""
        whole = {"whole_run": True} if self.whole_run else {}
        return f"{type(self).__module__}.{type(self).__qualname__}", {**asdict(self.left), **whole}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; whatever goes wrong here, the task goes on and looks for itself."""
        try:
            await self.left.wait(await asyncio.to_thread(_tools))
        except Exception as error:
            LOG.warning("The container cannot be followed any more: %s", error)
            told = {"watched": False, "problem": str(error)}
        else:
            told = {"watched": True, "problem": ""}
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Somebody has cancelled the task: stop its container."""
        LOG.info("The task was cancelled; stopping its container.")
        stopping = asyncio.ensure_future(self._stop())
        while not stopping.done():
            # A triggerer cancels again each second, and that would leave off halfway. Stopping takes a few seconds.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(stopping)
        stopping.result()

    async def _stop(self) -> None:
        tools = await asyncio.to_thread(_tools)
        await self.left.stop(tools)
        if self.whole_run:
            await self.left.clean_up(tools)


@lru_cache(maxsize=1)
def _tools() -> Tools:
    """Engine and keys of this triggerer; logs go to the log of the task that is waited for."""
    from docker_runner.job.tools import Tools
    from docker_runner_airflow.hooks import encryption_keys, storage_token

    settings = Settings.from_environment()
    # Looked up now: in the triggerer's own thread Airflow cannot be asked.
    keys, token = encryption_keys(settings), storage_token(settings)
    return Tools(settings, log=LOG, keys=lambda: keys, installation_token=lambda: token)
