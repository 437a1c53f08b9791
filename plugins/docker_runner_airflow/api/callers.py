"""Who calls: an Airflow user, or the holder of a Storage token; nobody else (API-2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends
from starlette.requests import Request

from docker_runner.errors import ApplicationError, TokenError
from docker_runner.storage import open_ledger
from docker_runner.storage.tokens import PresentedToken
from docker_runner_airflow.api.addresses import airflow_url
from docker_runner_airflow.api.errors import ApiError, answer, answer_to_runner
from docker_runner_airflow.api.login_page import is_for_people, login_page
from docker_runner_airflow.api.origins import refuse_other_pages
from docker_runner_airflow.api.starters import name_of_token, name_of_user

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from starlette.types import ASGIApp, Receive, Scope, Send

    from docker_runner.settings import Settings
    from docker_runner.storage.tokens import Token
    from docker_runner_airflow.api.limits import RateLimit

TOKEN_HEADER = "X-StorageApi-Token"  # noqa: S105 - the name of a header
OPEN_PATHS = frozenset({"/health"})
_MOST_VERIFIERS = 10
_WHO = (
    f"Send a Storage token in the header {TOKEN_HEADER}, or a token of an Airflow user in the header Authorization: "
    "Bearer …"
)


@dataclass(frozen=True)
class Caller:
    """Who calls; one of user and token.

    Attributes:
        user: an Airflow user, who may do what Airflow lets them do with the DAG of the job.
        token: a Storage token, whose permissions count for the data of the jobs that are started with it.
        presented: the token with its secret.
    """

    user: BaseUser | None = None
    token: Token | None = None
    presented: PresentedToken | None = None

    @property
    def name(self) -> str:
        """What Airflow shows as the one who started a run."""
        if self.token:
            return name_of_token(self.token.id)
        return name_of_user(str(self.user.get_name())) if self.user else ""

    @property
    def sees_all_jobs(self) -> bool:
        """Whether a token sees jobs that were not started with it."""
        return self.token is not None and self.token.permissions.can_manage

    def refuse_unless_may_run(self, dag_id: str) -> None:
        """Refuse a caller who may not start runs of a DAG.

        Raises:
            ApiError: 403 for a user; 400 for a token that may only read (API-32).
        """
        self.refuse_if_read_only()
        if self.token is None and not self.may(dag_id, "POST", of_run=True):
            raise ApiError(403, f"You may not trigger the DAG {dag_id}: ask for this permission in Airflow.")

    def refuse_if_read_only(self) -> None:
        """Refuse a token that may only read.

        Raises:
            ApiError: 400 (API-32).
        """
        if self.token and self.token.permissions.read_only:
            raise ApiError(400, f"The Storage {self.token.title} may only read: it cannot start jobs.")

    def may(self, dag_id: str, method: str, *, of_run: bool) -> bool:
        """Whether a user may do something with a DAG or its runs; always False for a token.

        Args:
            dag_id: the DAG.
            method: ``GET``, ``POST`` or ``PUT``.
            of_run: it concerns the DAG's runs.
        """
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
        from airflow.models import DagModel

        if self.user is None:
            return False
        manager: Any = get_auth_manager()
        return bool(
            manager.is_authorized_dag(
                method=method,
                access_entity=DagAccessEntity.RUN if of_run else None,
                details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
                user=self.user,
            )
        )


def caller_of(request: Request) -> Caller:
    """The caller of a request that was let in."""
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(caller_of)]


class Authentication:
    """Lets nobody in who is not known, before anything else is looked at (ASGI).

    Args:
        app: what is behind it.
        settings: have the Storage whose tokens count.
        rate: how often somebody may call, or present a credential that is not good.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, rate: RateLimit) -> None:
        self._app = app
        self._settings = settings
        self._rate = rate
        self._verifiers = CapacityLimiter(_MOST_VERIFIERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or _path(scope) in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            request.state.caller = await self._known(request)
        except (ApiError, TokenError) as error:
            status, message = (error.status_code, error.detail) if isinstance(error, ApiError) else (401, str(error))
            headers = {**(getattr(error, "headers", None) or {})}
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            if status == 401 and is_for_people(request):
                await login_page(request, token_header=TOKEN_HEADER)(scope, receive, send)
                return
            await answer(request, status, message, headers)(scope, receive, send)
            return
        except ApplicationError as error:
            await (await answer_to_runner(request, error))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _known(self, request: Request) -> Caller:
        host = request.client.host if request.client else ""
        self._rate.refuse_used_up(f"refused {host}")
        try:
            caller = await self._caller(request)
        except (ApiError, TokenError):
            self._rate.count(f"refused {host}")
            raise
        self._rate.count(f"caller {caller.name}")
        return caller

    async def _caller(self, request: Request) -> Caller:
        secret = request.headers.get(TOKEN_HEADER)
        if secret is not None:
            presented = PresentedToken(secret, origin=f"the header {TOKEN_HEADER}")
            # The catalogue may be another machine's; while that is silent, Airflow's own calls need their threads.
            verify = open_ledger(self._settings.storage).verify_token
            token = await to_thread.run_sync(verify, presented, limiter=self._verifiers)
            return Caller(token=token, presented=presented)
        return Caller(user=await _airflow_user(request))


async def _airflow_user(request: Request) -> BaseUser:
    """The user of the bearer token, or of the session of Airflow's UI.

    Raises:
        ApiError: 401, there is none, or the token is not good; 403, a page of somebody else uses the session.
    """
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import HTTPException
    from fastapi.security import HTTPAuthorizationCredentials
    from fastapi.security.utils import get_authorization_scheme_param

    scheme, value = get_authorization_scheme_param(request.headers.get("Authorization"))
    bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=value) if scheme.lower() == "bearer" else None
    try:
        user = await get_user(request, None, bearer)
    except HTTPException as error:
        problem = "Nobody is named who calls" if bearer is None else f"The bearer token is not good ({error.detail})"
        raise ApiError(401, f"{problem}. {_WHO}") from None
    if bearer is None:
        refuse_other_pages(request, own_address=airflow_url(request))
    return user


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
