"""A real Airflow API server with the HTTP API, over an installation of its own; what is started there stays queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from airflow_api import AirflowApi
from airflow_follow import known_dag
from airflow_home import LocalAirflow
from tests.installation import SCRIPT, Installation
from tests.tokens import expired_token

from docker_runner.project.dag_ids import dag_id
from docker_runner.storage import open_ledger
from docker_runner.storage.tokens import Access, FileAccess, NewToken, Permissions

USERS = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer"}
"""Airflow users by name, each named after their role: ``user`` and above may trigger DAGs, ``viewer`` may only look."""
PERMISSIONS = {
    "manage": Permissions(can_manage=True),
    "all": Permissions({"*": Access.WRITE}, files=FileAccess.ALL),
    "bucket": Permissions({"in.c-one": Access.READ}),
    "read_only": Permissions({"*": Access.READ}, read_only=True),
    "revoked": Permissions(can_manage=True),
    "expired": Permissions(can_manage=True),
}
"""What the Storage tokens may do, by the name that tests call them."""
PREFIX = "/docker-runner"


class Client(requests.Session):
    """Calls the HTTP API from outside as one caller.

    Args:
        url: of Airflow.
        headers: with what the caller authenticates.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        # A proxy of the company cannot reach this machine.
        self.trust_env = False
        self.headers.update(headers)
        self._root = f"{url}{PREFIX}"

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Call a path below where the API is mounted, e.g. ``POST /run``."""
        return self.request(method, f"{self._root}{path}", timeout=60, allow_redirects=False, **arguments)


@dataclass
class ApiServer:
    """The server, and everybody who may call it.

    Args:
        airflow: with an API server and a DAG processor, but no scheduler unless it was started with one.
        installation: what it serves; more configurations may be written at any time.
    """

    airflow: LocalAirflow
    installation: Installation
    tokens: dict[str, NewToken] = field(default_factory=dict)
    _clients: dict[str, Client] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ledger = open_ledger(self.installation.settings.storage)
        for name, permissions in PERMISSIONS.items():
            if name == "expired":
                self.tokens[name] = expired_token(ledger, name, permissions)
            else:
                self.tokens[name] = ledger.create_token(name, permissions, creator="test")
        ledger.revoke_token(self.tokens["revoked"].token.id)
        self.url = self.airflow.status().url

    def as_(self, caller: str = "") -> Client:
        """A client of a caller: an Airflow user or a Storage token by its name, or nobody."""
        if caller not in self._clients:
            self._clients[caller] = Client(self.url, self.credentials(caller))
        return self._clients[caller]

    def credentials(self, caller: str) -> dict[str, str]:
        """The headers that a caller sends."""
        if caller in self.tokens:
            return {"X-StorageApi-Token": self.tokens[caller].secret}
        if caller in USERS:
            credentials = {"username": caller, "password": self.airflow.password(caller)}
            with requests.Session() as session:
                session.trust_env = False
                answer = session.post(f"{self.url}/auth/token", json=credentials, timeout=60)
            return {"Authorization": f"Bearer {answer.json()['access_token']}"}
        return {}

    def airflow_api(self) -> AirflowApi:
        """Airflow's own REST API, as administrator."""
        return self.airflow.api()

    def known(self, *names: str, component: str = SCRIPT) -> None:
        """Wait until Airflow knows the DAGs of configurations as they are now."""
        with self.airflow_api() as api:
            for name in names:
                known_dag(self.airflow, api, dag_id(component, name))

    def close(self) -> None:
        """Close what the clients keep open."""
        for client in self._clients.values():
            client.close()
