"""What a task can find out about its Airflow, over the address that tasks themselves use."""

from __future__ import annotations

import json
import logging
from typing import Any

LOG = logging.getLogger("docker_runner")

_SECONDS = 3.0
# Airflow leaves a task that is stopped five seconds, most of which belong to its container.
_SECONDS_WHEN_STOPPED = 1.0
# What proxies answer for a server that is not there.
_GATEWAY_ERRORS = (502, 503, 504)


def triggerer_runs() -> bool:
    """Whether a triggerer is alive that would wait in place of a task; without an answer there is none."""
    try:
        state = _asked("monitor/health", _SECONDS)["triggerer"]["status"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.info("This task waits itself: whether a triggerer runs cannot be found out (%s).", error)
        return False
    if state != "healthy":
        LOG.info("This task waits itself: no triggerer runs that could.")
    return bool(state == "healthy")


def answers() -> bool:
    """Whether the API server is there.

    Airflow stops a task for two reasons: somebody has cancelled it, which takes a server that says so, or the server
    could not be reached for some time.
    """
    from urllib.error import HTTPError

    try:
        _asked("version", _SECONDS_WHEN_STOPPED)
    except HTTPError as error:
        return error.code not in _GATEWAY_ERRORS
    except OSError:
        return False
    except ValueError:
        pass  # not what was asked for, but an answer
    return True


def _asked(what: str, seconds: float) -> Any:
    from urllib.request import ProxyHandler, build_opener

    url = f"{_address()}/api/v2/{what}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"[core] execution_api_server_url begins with neither http:// nor https://: {url}")
    # Inside the installation; a proxy leads out of it.
    with build_opener(ProxyHandler({})).open(url, timeout=seconds) as answer:
        return json.load(answer)


def _address() -> str:
    """Where tasks reach the API server; as Airflow's executors find it, which take the users' address by default."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="/") or "/"
    base = f"http://localhost:8080{base}" if base.startswith("/") else base
    server = conf.get("core", "execution_api_server_url", fallback="") or base
    return str(server).rstrip("/").removesuffix("/execution").rstrip("/")
