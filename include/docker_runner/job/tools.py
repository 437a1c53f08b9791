"""What the steps work with: Storage, the engine, the keys, a log. Each is opened when it is first used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING

from docker_runner.encryption import Encryptor
from docker_runner.encryption_keys import encryptor_of
from docker_runner.engine.client import Engine
from docker_runner.engine.registries import Login
from docker_runner.job.event_log import NO_EVENTS, EventLog
from docker_runner.settings import Settings
from docker_runner.storage import open_ledger, open_storage, permitted

if TYPE_CHECKING:
    from docker_runner.storage.base import Ledger, Storage
    from docker_runner.storage.rights import StateOwner
    from docker_runner.storage.tokens import PresentedToken


class Tools:
    """Tools of one process.

    Args:
        settings: where this installation keeps things.
        log: where messages for people go.
        connect: makes a connection to the engine; a thread needs one of its own.
        registry_login: gives the login for the host of a registry, or None; Airflow knows those of its connections.
        installation_token: gives the Storage token of jobs that have none of their own, None for full rights; by
            default the one in the settings. Airflow knows that of a connection.
        keys: gives encryption keys that only Airflow knows, or an empty text.

    Attributes:
        events: what is told of the work at hand.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: logging.Logger | None = None,
        connect: Callable[[], Engine] = Engine.from_environment,
        registry_login: Callable[[str], Login | None] = lambda _: None,
        installation_token: Callable[[], PresentedToken | None] | None = None,
        keys: Callable[[], str] = str,
    ) -> None:
        self.settings = settings
        self.log = log or logging.getLogger("docker_runner")
        self.connect = connect
        self.registry_login = registry_login
        # Airflow asks its API server for a connection, or a secrets backend.
        self.installation_token = cache(installation_token or (lambda: settings.storage_token))
        self.events: EventLog = NO_EVENTS
        self._keys = keys
        self._token: Callable[[], PresentedToken | None] = self.installation_token
        self._own: StateOwner | None = None
        self._permitted: Storage | None = None

    @property
    def storage(self) -> Storage:
        """The Storage of this installation, as the token of the work at hand shows it.

        Raises:
            TokenError: the token is not good.
        """
        if self._permitted is None:
            self._permitted = permitted(self._whole_storage, self._token(), own=self._own)
        return self._permitted

    @contextmanager
    def acting(self, token: Callable[[], PresentedToken | None], own: StateOwner | None) -> Iterator[None]:
        """Use Storage with another token for the time of a block.

        Args:
            token: gives the token, when Storage is used.
            own: the configuration at work, whose state is its own.
        """
        before = self._token, self._own, self._permitted
        self._token, self._own, self._permitted = token, own, None
        try:
            yield
        finally:
            self._token, self._own, self._permitted = before

    @cached_property
    def _whole_storage(self) -> Storage:
        return open_storage(self.settings.storage)

    @cached_property
    def ledger(self) -> Ledger:
        """Tokens and events of the Storage; costs little, whether or not the Storage is open."""
        return open_ledger(self.settings.storage)

    @cached_property
    def engine(self) -> Engine:
        """The Docker engine; raises EngineError when it does not answer."""
        return self.connect()

    def close(self) -> None:
        """Give back what is open, engine and Storage; for processes that live longer than their work."""
        self._permitted = None
        for name in ("engine", "_whole_storage"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()

    @cached_property
    def encryptor(self) -> Encryptor:
        """The keys of this installation."""
        return self.present_encryptor()

    def present_encryptor(self) -> Encryptor:
        """The keys of this installation, with those that have come since this process began."""
        return encryptor_of(self.settings, given=self._keys())
