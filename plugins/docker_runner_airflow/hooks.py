"""Connections and variables: logins, the Storage token and encryption keys, as Airflow's users have configured them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docker_runner.engine.registries import Login, server_host
from docker_runner.errors import UserError
from docker_runner.storage.tokens import PresentedToken

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from docker_runner.settings import Settings


def registry_login(settings: Settings, host: str) -> Login | None:
    """The login for a registry from the Airflow connections that ``DOCKER_RUNNER_DOCKER_CONN_ID`` lists.

    They are of the type Docker: host, port, login and password. One is used only for its own registry; a connection is
    looked up only when an image is pulled.

    Args:
        settings: names the connections.
        host: host of the registry, with its port, e.g. ``docker.io``.

    Raises:
        UserError: a connection does not exist or is incomplete.
    """
    for conn_id in re.split(r"[\s,]+", settings.docker_conn_id):
        if conn_id:
            connection = _connection(conn_id)
            if _registry(connection) == host:
                return Login(str(connection.login), str(connection.password))
    return None


def storage_token(settings: Settings) -> PresentedToken | None:
    """The Storage token of this installation: the variable's, else the password of the connection that is named.

    The connection is looked up when a task uses Storage, in Airflow's secrets backends too, and never while DAGs are
    parsed.

    Args:
        settings: have the variable's token, and name the connection.

    Raises:
        UserError: the connection does not exist.
    """
    conn_id = settings.storage_token_conn_id
    if settings.storage_token is not None or not conn_id:
        return settings.storage_token
    connection = _found(conn_id, variable="DOCKER_RUNNER_STORAGE_TOKEN_CONN_ID", wanted="a Storage token as password")
    # Without a password it is an empty token, which is refused: it must not become full rights.
    return PresentedToken(str(connection.password or ""), origin=f"the Airflow connection {conn_id!r}")


def encryption_keys(settings: Settings) -> str:
    """The keys in the Airflow variable that ``DOCKER_RUNNER_KEYS_VARIABLE`` names; empty when it names none (D18).

    Airflow asks its secrets backends first, so the keys need not be in its database.

    Raises:
        UserError: there is no such variable.
    """
    if not settings.keys_variable:
        return ""
    from airflow.sdk import Variable

    try:
        keys = Variable.get(settings.keys_variable)
    except Exception as error:
        # Airflow's own error for an unknown variable depends on where it was looked for.
        raise UserError(
            f"The Airflow variable {settings.keys_variable!r} of DOCKER_RUNNER_KEYS_VARIABLE cannot be read: "
            f"{type(error).__name__}. It must hold the encryption keys, separated by commas."
        ) from None
    return str(keys)


def _found(conn_id: str, *, variable: str, wanted: str) -> Connection:
    from airflow.sdk import BaseHook

    try:
        return BaseHook.get_connection(conn_id)
    except Exception as error:
        # Airflow's own error for an unknown connection depends on where it was looked for.
        raise UserError(
            f"The Airflow connection {conn_id!r} of {variable} cannot be used: "
            f"{type(error).__name__}. Add a connection with this id and {wanted}."
        ) from None


def _connection(conn_id: str) -> Connection:
    connection = _found(conn_id, variable="DOCKER_RUNNER_DOCKER_CONN_ID", wanted="of the type Docker")
    missing = [name for name in ("host", "login", "password") if not getattr(connection, name)]
    if missing:
        raise UserError(f"The Airflow connection {conn_id!r} has no {' and no '.join(missing)}: a registry needs both.")
    return connection


def _registry(connection: Connection) -> str:
    host = server_host(str(connection.host))
    return f"{host}:{connection.port}" if connection.port and ":" not in host else host
