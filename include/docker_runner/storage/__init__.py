"""Storage: tables, files and state that jobs read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker_runner.storage.base import Ledger, Storage, Turns
    from docker_runner.storage.rights import StateOwner
    from docker_runner.storage.tokens import PresentedToken


def open_storage(uri: str, *, token: PresentedToken | None = None) -> Storage:
    """Open a Storage, and create it when it does not exist yet.

    Args:
        uri: ``ducklake:sqlite:/folder/catalog.sqlite``, for one machine, or ``ducklake:postgres:host=… dbname=…``, for
            many; with ``?data_path=…``, a folder or a URL of object storage, where tables and files are (default with
            SQLite: beside the catalogue).
        token: what it allows is allowed, nothing else; without one everything is.

    Raises:
        UserError: the URI is not one of a supported Storage, or the token is not good.
        StorageError: it cannot be opened.
    """
    # The lake's modules are loaded only when a Storage is really opened: DuckDB costs every process 0.1 s.
    from docker_runner.storage.lake.lake import Lake
    from docker_runner.storage.lake.location import parse_location

    lake = Lake(parse_location(uri))
    try:
        return permitted(lake, token)
    except BaseException:
        lake.close()
        raise


def permitted(storage: Storage, token: PresentedToken | None, *, own: StateOwner | None = None) -> Storage:
    """A Storage as the holder of a token sees it.

    Args:
        storage: the whole Storage.
        token: the token; None is full rights.
        own: whose states may be read and written.

    Raises:
        TokenError: the token is unknown, has expired or was revoked.
    """
    from docker_runner.storage.rights import Permitted

    return storage if token is None else Permitted(storage, token, own=own)


def permitted_ledger(ledger: Ledger, token: PresentedToken | None) -> Ledger:
    """Tokens and events as the holder of a token sees them; None is full rights.

    Raises:
        TokenError: the token is unknown, has expired or was revoked.
    """
    from docker_runner.storage.rights import PermittedLedger

    return ledger if token is None else PermittedLedger(ledger, token)


def open_ledger(uri: str) -> Ledger:
    """The tokens and events of a Storage, without opening the rest of it, which costs more.

    Raises:
        UserError: the URI is not one of a supported Storage.
    """
    from docker_runner.storage.lake.ledger import LakeLedger
    from docker_runner.storage.lake.location import parse_location

    return LakeLedger(parse_location(uri))


def open_turns(uri: str) -> Turns:
    """Who works with what at the moment, as a Storage keeps it.

    Raises:
        UserError: the URI is not one of a supported Storage.
    """
    from docker_runner.storage.lake.location import parse_location
    from docker_runner.storage.lake.turns import LakeTurns

    return LakeTurns(parse_location(uri))
