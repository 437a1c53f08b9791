"""Keeps Airflow's API server from freezing over a SQLite database.

SQLite has one writer at a time. Airflow answers most calls in threads, and a call that has begun to write needs the
server's event loop to come to its end. The line in Airflow's audit log, however, is written *on* the event loop: when
that has to wait for the other call, each waits for the other until SQLite gives up. All that time no call is answered,
those of running tasks and ``GET /health`` neither, and in the end one of them fails with "database is locked".

So the calls that may write take turns before they begin. They would have to wait for each other anyway.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class OneWriterAtATime:
    """ASGI middleware: of the calls that may write to Airflow's database, one after the other is let in.

    Args:
        app: what answers the calls.
        apart: path of an application whose calls never hold a transaction while they wait, so that it needs no turns.
    """

    def __init__(self, app: ASGIApp, apart: str) -> None:
        self._app = app
        self._apart = apart
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, when it is its turn."""
        if scope["type"] != "http" or scope["method"] in _READING or self._is_apart(scope):
            await self._app(scope, receive, send)
            return
        # A caller that is slow to send, or to read, must not make the others wait: the turn begins when everything has
        # arrived, and ends with the beginning of the answer, before which Airflow has committed.
        request = await _whole_request(receive)

        async def replay() -> Message:
            return request.popleft() if request else await receive()

        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self._turn)

            async def answer(message: Message) -> None:
                await turn.aclose()
                await send(message)

            await self._app(scope, replay, answer)

    def _is_apart(self, scope: Scope) -> bool:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        return path.startswith(f"{self._apart}/")


async def _whole_request(receive: Receive) -> deque[Message]:
    messages = deque([await receive()])
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def middlewares(apart: str) -> list[dict[str, Any]]:
    """What Airflow is to put before its API server: the turns when its database is a SQLite file, else nothing.

    Args:
        apart: path of the application that needs no turns.
    """
    from airflow.configuration import conf

    if not conf.get_mandatory_value("database", "sql_alchemy_conn").startswith("sqlite"):
        return []
    return [{"middleware": OneWriterAtATime, "kwargs": {"apart": apart}, "name": "Docker Runner: one writer at a time"}]
