"""Which pages may call with the session of whoever is logged in to Airflow: its own ones (API-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from docker_runner_airflow.api.errors import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

_ONLY_LOOK = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")


def refuse_other_pages(request: Request, *, own_address: str) -> None:
    """Refuse what a page of somebody else makes a browser send, which adds the session to it by itself.

    Looking is allowed: no other page is shown the answer. Programs are no pages, and send neither header.

    Args:
        request: it has no credentials but the session.
        own_address: under which Airflow is called, beside what the request says.

    Raises:
        ApiError: 403.
    """
    if request.method in _ONLY_LOOK:
        return
    # Browsers send the first one over HTTPS and to this machine only; the second one always.
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own = {urlsplit(own_address).netloc, request.headers.get("Host", "")}
    if site in _OWN_SITES if site is not None else origin is None or urlsplit(origin).netloc in own:
        return
    raise ApiError(
        403,
        "Another page than those of this Airflow has sent this with the browser's session: send a token in the "
        "request itself. If it is Airflow's own page, [api] base_url must be the address in the browser.",
    )
