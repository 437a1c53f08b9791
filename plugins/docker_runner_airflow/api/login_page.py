"""What people see who open the documentation in a browser and are not known yet."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from starlette.requests import Request

DOCS = "/docs"
_LOGIN = "/api/v2/auth/login"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Docker Runner: log in</title></head>
<body style="font-family: sans-serif; margin: 4em auto; max-width: 40em; padding: 0 1em">
<h1>Docker Runner</h1>
<p>Whoever reads this page has to be known: <a href="{login}" target="_top">log in to Airflow</a>, and you come back
here.</p>
<p>Programs send a token of an Airflow user (<code>Authorization: Bearer …</code>) or a Storage token
(<code>{header}</code>).</p>
</body>
</html>
"""


def is_for_people(request: Request) -> bool:
    """Whether somebody opens the documentation in a browser."""
    path = request.url.path.removeprefix(str(request.scope.get("root_path", "")))
    return request.method == "GET" and path == DOCS and "text/html" in request.headers.get("Accept", "")


def login_page(request: Request, *, token_header: str) -> HTMLResponse:
    """The way to Airflow's login, and back.

    Args:
        request: what was asked for without credentials.
        token_header: header of Storage tokens.
    """
    from docker_runner_airflow.plugin import URL_PREFIX

    # Airflow itself may be served below a path.
    airflow = str(request.scope.get("root_path", "")).rstrip("/").removesuffix(URL_PREFIX)
    login = f"{airflow}{_LOGIN}?{urlencode({'next': request.url.path})}"
    page = _PAGE.format(login=escape(login, quote=True), header=token_header)
    return HTMLResponse(page, status_code=401, headers={"Cache-Control": "no-store"})
