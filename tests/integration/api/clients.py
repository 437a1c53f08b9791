"""The HTTP API in this process, without an Airflow around it: for all that needs no Airflow users."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from httpx import Response
from tests.installation import Installation

from docker_runner.storage import open_ledger
from docker_runner.storage.base import NewToken
from docker_runner.storage.tokens import Access, Permissions
from docker_runner_airflow.api.application import create_application

with warnings.catch_warnings():
    # Starlette would rather have another package than Airflow's.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

HEADER = "X-StorageApi-Token"


@dataclass
class Api:
    """The application of an installation, with callers.

    Args:
        installation: what it serves.
        client: calls it.
        token: the secret of a Storage token that may change one bucket.
        reader: that of one that may only read.
    """

    installation: Installation
    client: TestClient
    token: str
    reader: str

    def call(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> Response:
        """Call as the holder of a token; an empty one is nobody."""
        secret = self.token if token is None else token
        headers = {**({HEADER: secret} if secret else {}), **arguments.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> Response:
        """Post a JSON document."""
        return self.call("POST", path, json=body, **arguments)


def new_token(installation: Installation, name: str, permissions: Permissions, **options: Any) -> NewToken:
    """Make a Storage token."""
    ledger = open_ledger(installation.settings.storage)
    return ledger.create_token(name, permissions, creator="test", **options)


@contextmanager
def serving(installation: Installation) -> Iterator[Api]:
    """Serve an installation, with settings as they are now."""
    token = new_token(installation, "all", Permissions({"in.c-one": Access.WRITE})).secret
    reader = new_token(installation, "reader", Permissions({"*": Access.READ}, read_only=True)).secret
    application = create_application(installation.settings)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield Api(installation, client, token, reader)


def error_of(answer: Response, status: int) -> str:
    """The message of an answer that tells of an error, which has the documented shape (API-3)."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert set(document) == {"status", "error", "code", "message", "exceptionId", "runId"}
    kind = "Application error" if status >= 500 else "User error"
    assert (document["status"], document["error"], document["code"]) == ("error", kind, status)
    assert document["exceptionId"].startswith("exception-")
    return str(document["message"])
