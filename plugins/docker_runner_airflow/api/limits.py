"""How large a request may be, and how often somebody may call."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request

from docker_runner_airflow.api.errors import ApiError, answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RateLimit:
    """How often somebody may call; counted in each process of the API server by itself.

    Args:
        rate: e.g. ``1200/minute``.
    """

    def __init__(self, rate: str) -> None:
        self._limit = parse(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, who: str) -> None:
        """Count a call.

        Raises:
            ApiError: 429, there were too many; says when to come again.
        """
        if not self._limiter.hit(self._limit, who):
            raise self._too_many(who)

    def refuse_used_up(self, who: str) -> None:
        """Refuse somebody who has called too often, without counting this call.

        Raises:
            ApiError: 429.
        """
        if not self._limiter.test(self._limit, who):
            raise self._too_many(who)

    def _too_many(self, who: str) -> ApiError:
        seconds = max(1, math.ceil(self._limiter.get_window_stats(self._limit, who).reset_time - time.time()))
        return ApiError(
            429, f"Too many requests: the limit is {self._limit}. Come again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )  # fmt: skip


class BodyLimit:
    """Refuses requests with a larger body, before it has been read whole (ASGI).

    Args:
        app: what is behind it.
        most_bytes: the largest body.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > self._most_bytes:
            await answer(request, 413, self._problem)(scope, receive, send)
            return
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most_bytes:
                raise ApiError(413, self._problem)
            return message

        await self._app(scope, limited, send)

    @property
    def _problem(self) -> str:
        return (
            f"The request has more than {self._most_bytes} bytes: store large data in Storage and map it, or raise "
            "DOCKER_RUNNER_API_MAX_BODY_BYTES."
        )
