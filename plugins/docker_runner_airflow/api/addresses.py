"""Under which addresses Airflow and this API are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request


def airflow_url(request: Request) -> str:
    """The address of Airflow's UI: the one that it is configured with, else the one that was called."""
    from airflow.configuration import conf

    configured: str = conf.get("api", "base_url", fallback="") or ""
    # It may be only the path below which Airflow is served.
    return (configured if "://" in configured else str(request.base_url)).rstrip("/")


def api_url(request: Request) -> str:
    """The address of this API."""
    from docker_runner_airflow.plugin import URL_PREFIX

    return f"{airflow_url(request)}{URL_PREFIX}"
