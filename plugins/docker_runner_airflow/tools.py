"""What the steps work with, as Airflow's users have configured it: the same for tasks and for the HTTP API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from docker_runner.encryption import Encryptor
    from docker_runner.job.tools import Tools
    from docker_runner.settings import Settings


def airflow_tools(settings: Settings, *, log: logging.Logger) -> Tools:
    """Storage, engine and keys of this process; each is opened when it is first used.

    Args:
        settings: where this installation keeps things.
        log: where messages for people go.
    """
    from docker_runner.job.tools import Tools
    from docker_runner_airflow.hooks import encryption_keys, registry_login, storage_token

    return Tools(
        settings,
        log=log,
        registry_login=partial(registry_login, settings),
        installation_token=partial(storage_token, settings),
        keys=partial(encryption_keys, settings),
    )


def airflow_encryptor(settings: Settings) -> Encryptor:
    """The keys of this installation, for encrypting; a key file is made when there are none at all yet.

    Args:
        settings: where this installation keeps things.

    Raises:
        UserError: the keys cannot be had.
    """
    from docker_runner.encryption_keys import encryptor_of
    from docker_runner_airflow.hooks import encryption_keys

    return encryptor_of(settings, given=encryption_keys(settings), create=True)
