"""What the steps work with: Storage, the engine, the keys, a log. Each is opened when it is first used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from docker_runner.encryption import Encryptor
from docker_runner.engine.client import Engine
from docker_runner.engine.registries import Login
from docker_runner.settings import Settings
from docker_runner.storage import open_storage

if TYPE_CHECKING:
    from docker_runner.storage.base import Storage


class Tools:
    """Tools of one process.

    Args:
        settings: where this installation keeps things.
        log: where messages for people go.
        connect: makes a connection to the engine; a thread needs one of its own.
        registry_login: gives the login for the host of a registry, or None; Airflow knows those of its connections.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: logging.Logger | None = None,
        connect: Callable[[], Engine] = Engine.from_environment,
        registry_login: Callable[[str], Login | None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.log = log or logging.getLogger("docker_runner")
        self.connect = connect
        self.registry_login = registry_login

    @cached_property
    def storage(self) -> Storage:
        """The Storage of this installation."""
        return open_storage(self.settings.storage)

    @cached_property
    def engine(self) -> Engine:
        """The Docker engine; raises EngineError when it does not answer."""
        return self.connect()

    @cached_property
    def encryptor(self) -> Encryptor:
        """The keys of this installation."""
        return Encryptor.from_environment(self.settings.home)
