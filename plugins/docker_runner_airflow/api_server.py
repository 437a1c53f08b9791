"""Whether somebody would wait for a container if its task left it."""

from __future__ import annotations

import json
import logging

LOG = logging.getLogger("docker_runner")

_SECONDS = 3.0


def triggerer_runs() -> bool:
    """Ask the API server, as a task can, whether a triggerer is alive; without an answer there is none."""
    from urllib.request import ProxyHandler, build_opener

    from airflow.sdk.configuration import conf

    server = str(conf.get("core", "execution_api_server_url", fallback="")).rstrip("/")
    url = f"{server.removesuffix('/execution')}/api/v2/monitor/health"
    try:
        if not server.startswith(("http://", "https://")):
            raise ValueError("[core] execution_api_server_url is not set")
        # Inside the installation; a proxy leads out of it.
        with build_opener(ProxyHandler({})).open(url, timeout=_SECONDS) as answer:
            state = json.load(answer)["triggerer"]["status"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        LOG.debug("Whether a triggerer runs cannot be found out: %s", error)
        return False
    if state != "healthy":
        LOG.info("The container runs on in this task: no triggerer runs that could wait for it.")
    return bool(state == "healthy")
