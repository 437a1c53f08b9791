"""Long calls to the engine that tell their progress: pulls and builds, with a limit of time that really ends them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from docker_runner.engine.client import Engine


class OutOfTime(Exception):  # noqa: N818 - not an error of its own: callers say what took too long
    """The call did not end in time and was ended."""


@contextmanager
def progress(
    engine: Engine,
    path: str,
    *,
    seconds: float,
    params: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Iterator[Iterator[dict[str, Any]]]:
    """Make a call whose answer is a stream of JSON messages.

    Docker-py has no limit for such a call: a build that is silent, or a registry that is, would be waited for without
    end. Whoever leaves the block early hangs up, upon which the engine gives up what it was doing.

    Args:
        engine: whom to call.
        path: what to call, e.g. ``/build``.
        seconds: how long all of it may take.
        params: its parameters.
        headers: its headers.
        body: what is sent.

    Yields:
        The messages, as they arrive.

    Raises:
        OutOfTime: it took too long; also out of the iterator.
        docker.errors.APIError: the engine refuses.
        requests.exceptions.RequestException: the connection is lost.
    """
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError, ReadTimeout

    deadline = time.monotonic() + seconds
    client = engine.client
    try:
        response = client.post(
            f"{client.base_url}/v{client.api_version}{path}",
            params=dict(params), headers=dict(headers or {}), data=body, stream=True, timeout=seconds,
        )  # fmt: skip
    except ReadTimeout as error:
        raise OutOfTime from error
    ended = threading.Event()
    timer = threading.Timer(max(deadline - time.monotonic(), 0), _hang_up, args=(response, ended))
    timer.daemon = True
    timer.start()
    try:
        try:
            response.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        yield _messages(response, ended)
    finally:
        timer.cancel()
        response.close()


def _messages(response: Any, ended: threading.Event) -> Iterator[dict[str, Any]]:
    from requests.exceptions import RequestException

    try:
        for line in response.iter_lines():
            if line:
                yield json.loads(line)
    except (RequestException, OSError, ValueError):
        if not ended.is_set():
            raise
    if ended.is_set():
        raise OutOfTime


def _hang_up(response: Any, ended: threading.Event) -> None:
    """End the connection under a reader that waits; closing the response would wait for the reader."""
    ended.set()
    connection = getattr(response.raw, "connection", None) or getattr(response.raw, "_connection", None)
    if connection is not None and connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
