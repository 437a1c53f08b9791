"""Catalogues: the SQL databases that hold what a lake knows, and how writers of a lake keep out of each other's way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Protocol

LOCK_TIMEOUT_SECONDS = 1800

Confirm = Callable[[], None]
"""Says that the lock is still held, and lets no other writer commit until it is given back; to call before a commit."""


class Catalog(Protocol):
    """Where the lake's catalogue is. Its text is fit to be shown: it has no passwords."""

    @property
    def extension(self) -> str:
        """Name of the DuckDB extension that reads the catalogue."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Statements to run before the catalogue is attached."""

    @property
    def address(self) -> str:
        """What DuckDB attaches."""

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the statement that attaches it."""

    def exists(self) -> bool:
        """Whether there is a lake.

        Raises:
            StorageError: the catalogue cannot be reached.
        """

    def creating(self) -> AbstractContextManager[str | None]:
        """Make a new lake inside the block, alone; gives the address to make it at, None when there is one by now."""

    def wait_for_commits(self) -> None:
        """Wait until every commit that has reached the catalogue is made or undone.

        Raises:
            StorageError: the catalogue cannot be reached.
        """

    def locked(self, names: Collection[str] | None) -> AbstractContextManager[Confirm]:
        """Keep other writers out.

        Args:
            names: of what is written; writers of the same names wait for each other. None is the whole lake.

        Raises:
            StorageError: others have held the lock for half an hour, or the catalogue cannot be reached.
        """
