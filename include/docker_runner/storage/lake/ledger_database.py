"""Where a lake's ledger lies: a SQLite file beside the catalogue, or plain tables in the catalogue's PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from docker_runner.errors import StorageError
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.object_storage import hide_secrets
from docker_runner.storage.lake.postgres_catalog import PostgresCatalog
from docker_runner.storage.lake.sqlite_catalog import SqliteCatalog
from docker_runner.storage.lake.unwritable import copied_if_unwritable

if TYPE_CHECKING:
    import sqlite3
    from contextlib import AbstractContextManager

    import psycopg

_VERSION = 2
_LOCK_TIMEOUT_SECONDS = 60

# The advisory lock of sessions that must not meet; it is only this module's.
_ONE_AT_A_TIME = 0x646F636B6C656467

TOKENS = "docker_runner_tokens"
EVENTS = "docker_runner_events"
TURNS = "docker_runner_turns"

_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {TOKENS} (id BIGINT PRIMARY KEY, hash TEXT NOT NULL, description TEXT NOT NULL, "
    "created TEXT NOT NULL, creator TEXT NOT NULL, permissions TEXT NOT NULL, expires TEXT, revoked TEXT)",
    f"CREATE TABLE IF NOT EXISTS {EVENTS} (id TEXT PRIMARY KEY, created TEXT NOT NULL, job_id TEXT NOT NULL, "
    "run_id TEXT NOT NULL, component_id TEXT NOT NULL, config_id TEXT NOT NULL, row_id TEXT NOT NULL, token_id BIGINT, "
    "type TEXT NOT NULL, message TEXT NOT NULL, seconds DOUBLE PRECISION, details TEXT NOT NULL)",
    f"CREATE INDEX IF NOT EXISTS {EVENTS}_by_job ON {EVENTS} (job_id)",
    f"CREATE INDEX IF NOT EXISTS {EVENTS}_by_time ON {EVENTS} (created)",
    f"CREATE TABLE IF NOT EXISTS {TURNS} (what TEXT PRIMARY KEY, holder TEXT NOT NULL, taken TEXT NOT NULL)",
)


class Session(Protocol):
    """An open transaction; parameters stand as ``?`` in statements."""

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; gives its rows."""

    def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each list of parameters."""


class Database(Protocol):
    """Where tokens, events and turns are kept."""

    def session(self, *, durable: bool = False) -> AbstractContextManager[Session]:
        """A transaction: committed at the end of the block, undone when it raises.

        Args:
            durable: what is committed must outlive a loss of power too; such transactions run one after the other.

        Raises:
            StorageError: the database cannot be used.
        """


def time_text(time: datetime) -> str:
    """A time as the ledger keeps it: a text in UTC with microseconds, which sorts as it should in every database."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def ledger_database(location: Location) -> Database:
    """The database of a lake's ledger."""
    catalog = location.catalog
    if isinstance(catalog, PostgresCatalog):
        return PostgresDatabase(catalog)
    if isinstance(catalog, SqliteCatalog):
        return SqliteDatabase(catalog.path.with_name(f"{catalog.path.name}.ledger"))
    raise TypeError(f"There is no place for the ledger of {catalog}.")


class SqliteDatabase:
    """A SQLite file. It is opened for each transaction, which takes less than a millisecond, and never held open."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def session(self, *, durable: bool = False) -> Iterator[Session]:
        """As of :class:`Database`."""
        import sqlite3

        with ExitStack() as stack:
            try:
                connection, reason = self._open(stack, durable=durable)
            except (sqlite3.Error, OSError) as error:
                raise StorageError(f"{self._file} cannot be opened: {error}") from error
            try:
                connection.execute("BEGIN" if reason else "BEGIN IMMEDIATE")
                yield _SqliteSession(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                problem = f"can only be read at the moment: {reason}." if reason else f"cannot be used: {error}"
                raise StorageError(f"{self._file} {problem}") from error

    def _open(self, stack: ExitStack, *, durable: bool) -> tuple[sqlite3.Connection, str]:
        """The database; where nothing can be written, a copy to read from, and the reason. The stack ends its use."""
        import sqlite3

        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return self._prepared(self._file, stack, durable=durable), ""
        except (sqlite3.Error, OSError):
            copy = copied_if_unwritable(self._file)
            if copy is None:
                raise
            stack.enter_context(copy.folder)
            connection = self._prepared(copy.file, stack, durable=False)
            connection.execute("PRAGMA query_only = ON")
            return connection, copy.reason

    def _prepared(self, file: Path, stack: ExitStack, *, durable: bool) -> sqlite3.Connection:
        import sqlite3

        connection = sqlite3.connect(file, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None)

        def end() -> None:
            with suppress(sqlite3.Error):
                # Ends what has not been committed.
                connection.close()

        stack.callback(end)
        self._prepare(connection, durable=durable)
        return connection

    def _prepare(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if version == _VERSION:
            return
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


class _SqliteSession:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()

    def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(statement, parameters)


class PostgresDatabase:
    """Tables beside those of the catalogue, in the same schema."""

    def __init__(self, catalog: PostgresCatalog) -> None:
        self._catalog = catalog

    @contextmanager
    def session(self, *, durable: bool = False) -> Iterator[Session]:
        """As of :class:`Database`."""
        import psycopg

        password: Any = {"password": self._catalog.password} if self._catalog.password else {}
        try:
            with psycopg.connect(self._catalog.parameters, **password) as connection:
                self._prepare(connection)
                if durable:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
                else:
                    connection.execute("SET LOCAL synchronous_commit = off")
                yield _PostgresSession(connection)
        except psycopg.Error as error:
            raise StorageError(hide_secrets(f"The ledger at {self._catalog} cannot be used: {error}")) from None

    def _prepare(self, connection: psycopg.Connection) -> None:
        ((present,),) = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [TURNS]).fetchall()
        if present:
            return
        # Two that make the same table at the same time would fail.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        for statement in _SCHEMA:
            connection.execute(statement.encode())
        connection.commit()


class _PostgresSession:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(_with_marks(statement), parameters)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_with_marks(statement), parameters)


def _with_marks(statement: str) -> bytes:
    """The statement with PostgreSQL's parameters; the ledger's statements have no other question marks."""
    return statement.replace("?", "%s").encode()
