"""The catalogue in a PostgreSQL database, for many machines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.catalog import LOCK_TIMEOUT_SECONDS, Confirm

if TYPE_CHECKING:
    from psycopg import Connection

PASSWORD_VARIABLE = "DOCKER_RUNNER_STORAGE_PASSWORD"  # noqa: S105 - the name of a variable

# Of every lake, whatever it is: names of what is written follow them in the order in which locks are taken.
_LAKE, _COMMIT = "lake", "commit"

# Seconds after which the server finds that a machine is gone and gives its locks to others: about 60. And a lock must
# not be lost because its holder has nothing to say while it writes.
_SESSION = (
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET idle_session_timeout = 0",
    "SET statement_timeout = 0",
    f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'",
)


@dataclass(frozen=True)
class PostgresCatalog:
    """A catalogue in a database.

    Attributes:
        parameters: libpq's keywords and values, without a password.
        password: empty to leave it to libpq, which looks into ``PGPASSWORD`` and the password file.
    """

    parameters: str
    password: str = field(default="", repr=False)

    extension = "postgres_scanner"

    @classmethod
    def parse(cls, parameters: str) -> PostgresCatalog:
        """Read libpq's keywords and values, e.g. ``host=db.local dbname=lake user=runner``.

        Raises:
            UserError: they cannot be understood, or contain a password.
        """
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        # What cannot be understood is not shown: it may contain a password.
        wrong = "The URI of the Storage is wrong behind ducklake:postgres:"
        try:
            values = conninfo_to_dict(parameters)
        except ProgrammingError:
            raise UserError(
                f"{wrong} expected are libpq's keywords and values, e.g. host=db.local dbname=lake user=runner."
            ) from None
        if {"password", "sslpassword"} & values.keys():
            raise UserError(
                f"{wrong} a password does not belong there, where logs and process lists show it. Set "
                f"{PASSWORD_VARIABLE} or PGPASSWORD, or use a password file."
            )
        values = {"connect_timeout": 10, "application_name": "docker-runner", **values}
        return cls(make_conninfo("", **values), os.environ.get(PASSWORD_VARIABLE, ""))

    def __str__(self) -> str:
        return f"postgres:{self.parameters}"

    @property
    def settings(self) -> tuple[str, ...]:
        """The password as a secret of DuckDB, so that it stands in no statement that an error could show."""
        retries = (
            # One writer commits at a time, so the first retry succeeds; others than ours may write, too.
            "SET ducklake_max_retry_count = 100",
            "SET ducklake_retry_wait_ms = 10",
            "SET ducklake_retry_backoff = 1.05",
        )
        if not self.password:
            return retries
        return (*retries, f"CREATE SECRET catalog_password (TYPE postgres, PASSWORD {sql.text(self.password)})")

    @property
    def address(self) -> str:
        """What DuckDB attaches."""
        return str(self)

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the statement that attaches it."""
        return ("META_SECRET 'catalog_password'",) if self.password else ()

    def exists(self) -> bool:
        """Whether there is a lake."""
        with self._session() as session:
            return _has_lake(session)

    @contextmanager
    def creating(self) -> Iterator[str | None]:
        """Make a new lake alone: two that make one at the same time would fail."""
        with self._session() as session:
            _lock(session, "pg_advisory_lock", _LAKE)
            yield None if _has_lake(session) else self.address

    def wait_for_commits(self) -> None:
        """Wait for commits that the server is making, although their connection may be gone already."""
        with self._session() as session:
            _wait_for_commits(session)

    @contextmanager
    def locked(self, names: Collection[str] | None) -> Iterator[Confirm]:
        """Keep other writers of the same names out, and everybody when there are none.

        Locks belong to a connection of their own: the server takes them away when that ends, in whatever way. All
        take them in the same order, so nobody waits for another in a circle.
        """
        with self._session() as session:
            _lock(session, "pg_advisory_lock" if names is None else "pg_advisory_lock_shared", _LAKE)
            for name in sorted(set(names or ())):
                _lock(session, "pg_advisory_lock", f"name {name}")
            # A writer who lost its connections has lost its locks too, while its commit may still be under way.
            _wait_for_commits(session)
            # Fails when the connection is gone, and with it the locks.
            yield lambda: _lock(session, "pg_advisory_lock", _COMMIT)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        import psycopg

        password: Any = {"password": self.password} if self.password else {}
        try:
            with psycopg.connect(self.parameters, autocommit=True, **password) as session:
                for statement in _SESSION:
                    session.execute(statement.encode())
                yield session
        except psycopg.errors.LockNotAvailable as error:
            raise StorageError(
                f"Other processes have been writing to the Storage for {LOCK_TIMEOUT_SECONDS} s."
            ) from error
        except psycopg.Error as error:
            raise StorageError(f"The Storage's catalogue at {self} cannot be used: {error}") from error


def _lock(session: Connection, function: str, name: str) -> None:
    digest = hashlib.blake2b(f"docker-runner {name}".encode(), digest_size=8).digest()
    session.execute(f"SELECT {function}(%s)".encode(), [int.from_bytes(digest, "big", signed=True)])


def _wait_for_commits(session: Connection) -> None:
    """Every commit of DuckLake has written to this table before it ends."""
    with session.transaction():
        session.execute("LOCK TABLE ducklake_snapshot IN SHARE MODE")


def _has_lake(session: Connection) -> bool:
    row = session.execute("SELECT to_regclass('ducklake_metadata') IS NOT NULL").fetchone()
    return bool(row and row[0])
