"""The application that Airflow's API server mounts: its calls, and what stands before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from docker_runner_airflow.api import (
    action_calls,
    documentation,
    encrypt_calls,
    health,
    job_creation,
    jobs_calls,
    resolve_calls,
    run_calls,
    stats_calls,
)
from docker_runner_airflow.api.action_places import ActionPlaces
from docker_runner_airflow.api.callers import Authentication
from docker_runner_airflow.api.errors import EveryErrorAnswered, add_error_handlers
from docker_runner_airflow.api.limits import BodyLimit, RateLimit
from docker_runner_airflow.api.loading import load_what_calls_need
from docker_runner_airflow.api.projects import ReadOnce

if TYPE_CHECKING:
    from docker_runner.settings import Settings

# In each of them the calls of a branch come first: ``/branch/…`` must not be taken for a component of that name.
ROUTERS = (
    health.router,
    run_calls.router,
    job_creation.router,
    jobs_calls.router,
    stats_calls.router,
    action_calls.router,
    encrypt_calls.router,
    resolve_calls.router,
)


def create_application(settings: Settings) -> FastAPI:
    """Make the application.

    Args:
        settings: of this installation.
    """
    app = FastAPI(
        title=documentation.TITLE,
        version=documentation.version(),
        description=documentation.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        # Behind a proxy a redirect could lead credentials to an address without HTTPS.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.action_places = ActionPlaces(settings.api_actions)
    load_what_calls_need()
    for router in ROUTERS:
        app.include_router(router)
    documentation.add(app)
    add_error_handlers(app)
    # The last one added is the first that a request meets.
    app.add_middleware(ReadOnce)
    app.add_middleware(BodyLimit, most_bytes=settings.api_max_body_bytes)
    app.add_middleware(Authentication, settings=settings, rate=RateLimit(settings.api_rate))
    app.add_middleware(EveryErrorAnswered)
    # Without credentials of the browser: pages of others can call only with a token of their own (API-4).
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"], max_age=3600
    )
    return app
