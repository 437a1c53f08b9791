"""The description of the API (OpenAPI), and the page that shows it in a browser."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse
from starlette.requests import Request

from docker_runner_airflow.api.callers import OPEN_PATHS, TOKEN_HEADER
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.login_page import DOCS

if TYPE_CHECKING:
    from fastapi import FastAPI

TITLE = "Docker Runner"
DESCRIPTION = """Runs components: stored configurations as their DAGs, and configurations that come with the request.

Send a token of an Airflow user (`Authorization: Bearer …`) or a Storage token (`X-StorageApi-Token`). A job that is
started with a Storage token can read and write what that token allows, and nothing else. On this page whoever is logged
in to Airflow can try calls out as they are; what is entered under *Authorize* counts before that.
"""
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
# Nobody elsewhere is told of the description, not even to check it.
_PAGE_OPTIONS = {"validatorUrl": None, "defaultModelsExpandDepth": 0}
_SCHEMES: dict[str, Any] = {
    "AirflowUser": {"type": "http", "scheme": "bearer", "description": "A token of an Airflow user (`/auth/token`)."},
    "StorageToken": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER, "description": "A Storage token."},
}


def version() -> str:
    """The version of this package."""
    return version_of("docker-runner-airflow")


def add(app: FastAPI) -> None:
    """Add the description and its page to an application."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]

    @app.get(DOCS, include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        root = str(request.scope.get("root_path", "")).rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=TITLE,
            swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/favicon.png",
            swagger_ui_parameters=_PAGE_OPTIONS,
        )

    @app.get(f"{DOCS}/{{name}}", include_in_schema=False)
    def asset(name: str) -> FileResponse:
        """The page works without the internet: its parts come from a Python package."""
        import fastapi_offline

        if name not in _ASSETS:
            raise ApiError(404, "The documentation has no such part.")
        folder = Path(fastapi_offline.__file__).parent / "static"
        return FileResponse(folder / name, media_type=_ASSETS[name])


def _description(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    # Relative, so that it is right wherever Airflow is mounted.
    document["servers"] = [{"url": "."}]
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    document["security"] = [{name: []} for name in _SCHEMES]
    for path, calls in document["paths"].items():
        for call in calls.values():
            # Wrong requests are answered with 400 and the document of all errors.
            call["responses"].pop("422", None)
            if path in OPEN_PATHS:
                call["security"] = []
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"].get("schemas", {}).pop(name, None)
    return document
