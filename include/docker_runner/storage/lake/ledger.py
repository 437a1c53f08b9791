"""Tokens and events: plain tables beside the lake, which no snapshot of it holds and no commit waits for.

A job tells events many times, and each must cost little: DuckDB is not even loaded for it. With a SQLite catalogue they
are in a SQLite file of their own beside it, so that they never meet a lake's writer at its lock.
"""

# ruff: noqa: S608 - the names of the two tables are constants; values are parameters
from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from docker_runner.errors import NotFoundError, TokenError, UserError
from docker_runner.storage.events import Event, EventQuery
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.ledger_database import EVENTS, TOKENS, ledger_database, time_text
from docker_runner.storage.lake.location import Location
from docker_runner.storage.tokens import (
    LONGEST_DESCRIPTION,
    NewToken,
    Permissions,
    PresentedToken,
    Token,
    hash_of,
    new_secret,
)

_TOKEN_COLUMNS = "id, description, created, creator, permissions, expires, revoked"  # noqa: S105 - names of columns
_EVENT_COLUMNS = (
    "id, created, job_id, run_id, component_id, config_id, row_id, token_id, type, message, seconds, details"
)


class LakeLedger:
    """The tokens and events of a lake; see :class:`docker_runner.storage.base.Ledger` for what the methods do."""

    def __init__(self, location: Location) -> None:
        """Nothing is opened or made before it is used."""
        self._database = ledger_database(location)

    def create_token(
        self, description: str, permissions: Permissions, *, creator: str, expires: datetime | None = None
    ) -> NewToken:
        """Make a token; its secret is in the answer and nowhere else."""
        description = description.strip()
        if not description or len(description) > LONGEST_DESCRIPTION or not description.isprintable():
            raise UserError(f"A token needs a description of one line, at most {LONGEST_DESCRIPTION} characters long.")
        now = datetime.now(UTC)
        if expires and expires <= now:
            raise UserError("A token must not have expired before it is made.")
        with self._database.session(durable=True) as session:
            ((token_id,),) = session.run(f"SELECT coalesce(max(id), 0) + 1 FROM {TOKENS}")
            secret = new_secret(token_id)
            session.run(
                f"INSERT INTO {TOKENS} (hash, {_TOKEN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                [
                    hash_of(secret),
                    token_id,
                    description,
                    time_text(now),
                    creator,
                    json.dumps(permissions.document()),
                    time_text(expires) if expires else None,
                ],
            )
        return NewToken(Token(token_id, description, now, creator, permissions, expires), secret)

    def tokens(self) -> Sequence[Token]:
        """All tokens by id, also those that are not good any more."""
        with self._database.session() as session:
            return [_token(row) for row in session.run(f"SELECT {_TOKEN_COLUMNS} FROM {TOKENS} ORDER BY id")]

    def revoke_token(self, token_id: int) -> Token:
        """Make a token useless for good."""
        if abs(token_id) > sql.LARGEST_INTEGER:
            raise NotFoundError(f"There is no token {token_id} in Storage.")
        with self._database.session(durable=True) as session:
            session.run(
                f"UPDATE {TOKENS} SET revoked = ? WHERE id = ? AND revoked IS NULL",
                [time_text(datetime.now(UTC)), token_id],
            )
            rows = session.run(f"SELECT {_TOKEN_COLUMNS} FROM {TOKENS} WHERE id = ?", [token_id])
        if not rows:
            raise NotFoundError(f"There is no token {token_id} in Storage.")
        return _token(rows[0])

    def verify_token(self, presented: PresentedToken) -> Token:
        """The token that somebody presents."""
        with self._database.session() as session:
            rows = session.run(f"SELECT hash, {_TOKEN_COLUMNS} FROM {TOKENS} WHERE id = ?", [presented.id])
        if not rows or not hmac.compare_digest(rows[0][0], hash_of(presented.secret)):
            raise TokenError(
                f"The Storage token in {presented.origin} is unknown here: make one with "
                "`docker-runner storage token create`."
            )
        token = _token(rows[0][1:])
        token.refuse_unusable(datetime.now(UTC))
        return token

    def add_events(self, events: Sequence[Event]) -> None:
        """Store events; those that are there already stay as they are."""
        if not events:
            return
        marks = ", ".join("?" * len(_EVENT_COLUMNS.split(",")))
        with self._database.session() as session:
            session.run_many(
                f"INSERT INTO {EVENTS} ({_EVENT_COLUMNS}) VALUES ({marks}) ON CONFLICT DO NOTHING",
                [_event_row(event) for event in events],
            )

    def events(self, query: EventQuery) -> Sequence[Event]:
        """The newest events that match, oldest first."""
        conditions: list[str] = []
        parameters: list[Any] = []

        def add(condition: str, *values: Any) -> None:
            conditions.append(condition)
            parameters.extend(values)

        if query.run:
            add("(job_id = ? OR run_id = ?)", query.run, query.run)
        if query.job:
            add("job_id = ?", query.job)
        if query.component_id:
            add("component_id = ?", query.component_id)
        if query.config_id:
            add("config_id = ?", query.config_id)
        if query.types:
            add(f"type IN ({', '.join('?' * len(query.types))})", *(kind.value for kind in query.types))
        if query.since:
            add("created >= ?", time_text(query.since))
        if query.token_id is not None:
            add("token_id = ?", query.token_id)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._database.session() as session:
            rows = session.run(
                f"SELECT {_EVENT_COLUMNS} FROM {EVENTS}{where} ORDER BY id DESC {sql.limit(query.limit)}", parameters
            )
        return [_event(row) for row in reversed(rows)]

    def remove_events(self, before: datetime) -> int:
        """Forget events from before a time; gives their number."""
        with self._database.session() as session:
            ((number,),) = session.run(f"SELECT count(*) FROM {EVENTS} WHERE created < ?", [time_text(before)])
            session.run(f"DELETE FROM {EVENTS} WHERE created < ?", [time_text(before)])
        return int(number)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _token(row: tuple[Any, ...]) -> Token:
    token_id, description, created, creator, permissions, expires, revoked = row
    return Token(
        id=token_id,
        description=description,
        created=datetime.fromisoformat(created),
        creator=creator,
        permissions=Permissions.from_document(json.loads(permissions)),
        expires=_time(expires),
        revoked=_time(revoked),
    )


def _event_row(event: Event) -> list[Any]:
    source = event.source
    details = json.dumps({"params": event.params, "results": event.results}, default=str)
    values = [
        event.id, time_text(event.created), source.job_id, source.run_id, source.component_id, source.config_id,
        source.row_id, source.token_id, event.type.value, event.message, event.seconds, details,
    ]  # fmt: skip
    # PostgreSQL has no texts with a zero in them, and no database takes half of a surrogate pair.
    return [_storable(value) if isinstance(value, str) else value for value in values]


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _event(row: tuple[Any, ...]) -> Event:
    names = [name.strip() for name in _EVENT_COLUMNS.split(",")]
    columns = dict(zip(names, row, strict=True))
    return Event.from_document({**columns, **json.loads(columns.pop("details"))})
