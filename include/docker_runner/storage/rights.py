"""A Storage as the holder of a token sees it: the one place where permissions are checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from docker_runner.errors import ForbiddenError, NotFoundError
from docker_runner.storage.base import (
    Bucket,
    Commit,
    Committed,
    Exported,
    FileQuery,
    Ledger,
    StateKey,
    Storage,
    StoredFile,
    Table,
    Where,
)
from docker_runner.storage.events import Event, EventQuery
from docker_runner.storage.names import split_table_id
from docker_runner.storage.tokens import Access, FileAccess, NewToken, Permissions, PresentedToken, Token


@dataclass(frozen=True)
class StateOwner:
    """The configuration whose states, and those of its rows, a job may read and write."""

    component_id: str
    config_id: str


def refuse_bucket(token: Token, bucket: str, wanted: Access, *, what: str) -> None:
    """Refuse what a token does not allow with a bucket.

    Args:
        token: whose permissions count.
        bucket: the bucket.
        wanted: what is to be done with it.
        what: the table or bucket, as errors name it.

    Raises:
        ForbiddenError: names the token, the table and the permission that is missing.
    """
    allowed = token.permissions.reads(bucket) if wanted is Access.READ else token.permissions.writes(bucket)
    if allowed:
        return
    if wanted is Access.WRITE and token.permissions.read_only:
        raise ForbiddenError(f"The Storage {token.title} may only read: {what} cannot be written.")
    raise ForbiddenError(
        f"The Storage {token.title} may not {wanted.value} {what}: it needs the permission {bucket}:{wanted.value}."
    )


class PermittedLedger:
    """Tokens and events, as far as a token allows.

    The token is verified when the object is made.

    Args:
        ledger: all of them.
        presented: the token.

    Raises:
        TokenError: the token is unknown, has expired or was revoked.
    """

    def __init__(self, ledger: Ledger, presented: PresentedToken) -> None:
        self._ledger = ledger
        self._presented = presented
        self._token = ledger.verify_token(presented)

    @property
    def _allows(self) -> Permissions:
        return self._token.permissions

    def create_token(
        self, description: str, permissions: Permissions, *, creator: str, expires: datetime | None = None
    ) -> NewToken:
        """Make a token, if the present one may manage tokens."""
        self._token.refuse_unless_manager("make tokens", writing=True)
        creator = f"{creator} with {self._token.title}"
        return self._ledger.create_token(description, permissions, creator=creator, expires=expires)

    def tokens(self) -> Sequence[Token]:
        """All tokens, if the present one may manage tokens."""
        self._token.refuse_unless_manager("list tokens")
        return self._ledger.tokens()

    def revoke_token(self, token_id: int) -> Token:
        """Revoke a token, if the present one may manage tokens."""
        self._token.refuse_unless_manager("revoke tokens", writing=True)
        return self._ledger.revoke_token(token_id)

    def verify_token(self, presented: PresentedToken) -> Token:
        """The token that somebody presents, who knows it already."""
        return self._ledger.verify_token(presented)

    def add_events(self, events: Sequence[Event]) -> None:
        """Every job may tell what it does."""
        self._ledger.add_events(events)

    def events(self, query: EventQuery) -> Sequence[Event]:
        """Events of all jobs for a token that may manage, else of those that work with this token."""
        own = query if self._allows.can_manage else replace(query, token_id=self._token.id)
        return self._ledger.events(own)

    def remove_events(self, before: datetime) -> int:
        """Forget events, if the token may manage."""
        self._token.refuse_unless_manager("remove events", writing=True)
        return self._ledger.remove_events(before)


class Permitted(PermittedLedger):
    """A Storage that lets through what a token allows, and refuses everything else.

    The token is verified when the object is made, and again at each commit.

    Args:
        storage: the whole Storage.
        presented: the token.
        own: whose states may be read and written; None is nobody's.

    Raises:
        TokenError: the token is unknown, has expired or was revoked.
    """

    def __init__(self, storage: Storage, presented: PresentedToken, *, own: StateOwner | None = None) -> None:
        super().__init__(storage, presented)
        self._storage = storage
        self._own = own

    def buckets(self) -> Sequence[Bucket]:
        """The buckets that may be read."""
        return [bucket for bucket in self._storage.buckets() if self._allows.reads(bucket.id)]

    def bucket(self, bucket_id: str) -> Bucket | None:
        """One bucket; None when there is none."""
        found = self._storage.bucket(bucket_id)
        if found is not None:
            refuse_bucket(self._token, bucket_id, Access.READ, what=f"the bucket {bucket_id}")
        return found

    def tables(self, bucket: str | None = None) -> Sequence[Table]:
        """The tables that may be read."""
        if bucket is not None and self.bucket(bucket) is None:
            return []
        return [table for table in self._storage.tables(bucket) if self._allows.reads(table.bucket)]

    def table(self, table_id: str) -> Table:
        """One table; a bucket that does not exist has none, whatever the token allows."""
        bucket, _ = split_table_id(table_id)
        try:
            table = self._storage.table(table_id)
            self._refuse(table_id, Access.READ)
            return table
        except NotFoundError:
            if self._storage.bucket(bucket) is not None:
                self._refuse(table_id, Access.READ)
            # Similar names are told only of what may be read.
            similar = difflib.get_close_matches(table_id, [table.id for table in self.tables()], n=3)
            hint = f" Similar: {', '.join(similar)}." if similar else ""
            raise NotFoundError(f"There is no table {table_id} in Storage.{hint}") from None

    def export_table(
        self,
        table_id: str,
        target: Path,
        *,
        columns: Sequence[str] = (),
        where: Where | None = None,
        changed_since: datetime | None = None,
        limit: int | None = None,
        file_type: str = "csv",
    ) -> Exported:
        """Write a table that may be read."""
        self.table(table_id)
        return self._storage.export_table(
            table_id,
            target,
            columns=columns,
            where=where,
            changed_since=changed_since,
            limit=limit,
            file_type=file_type,
        )

    def files(self, query: FileQuery) -> Sequence[StoredFile]:
        """Files that match and may be read."""
        return self._storage.files(self._readable(query))

    def download_file(self, file_id: int, target: Path) -> StoredFile:
        """Write the content of a file that may be read."""
        if not self.files(FileQuery(ids=(file_id,), limit=1)):
            raise NotFoundError(f"There is no file {file_id} in Storage that the {self._token.title} may read.")
        return self._storage.download_file(file_id, target)

    def state(self, key: StateKey) -> dict[str, Any]:
        """The state of the job's own configuration."""
        if not self._owns(key):
            raise ForbiddenError(
                f"The Storage {self._token.title} may not read the state of {key.component_id}/{key.config_id}: a job "
                "reads and writes only the state of its own configuration."
            )
        return self._storage.state(key)

    def commit(self, commit: Commit) -> Committed:
        """Store everything, if all of it is allowed.

        Raises:
            ForbiddenError: names everything that is not; nothing is stored.
        """
        self._token = self._storage.verify_token(self._presented)
        problems = list(self._problems(commit))
        if problems:
            raise ForbiddenError("\n".join(problems))
        files = tuple(replace(upload, owner=self._token.id) for upload in commit.files)
        return self._storage.commit(replace(commit, files=files))

    def drop_table(self, table_id: str) -> None:
        """Remove a table that may be written."""
        self._refuse(table_id, Access.WRITE)
        self._storage.drop_table(table_id)

    def close(self) -> None:
        """Give back what the Storage holds open."""
        self._storage.close()

    def _refuse(self, table_id: str, wanted: Access) -> None:
        bucket, _ = split_table_id(table_id)
        refuse_bucket(self._token, bucket, wanted, what=f"the table {table_id}")

    def _owns(self, key: StateKey) -> bool:
        return self._allows.can_manage or (
            self._own is not None and self._own == StateOwner(key.component_id, key.config_id)
        )

    def _readable(self, query: FileQuery) -> FileQuery:
        access = self._allows.file_access
        if access is FileAccess.NONE:
            raise ForbiddenError(
                f"The Storage {self._token.title} may not read files: it needs the permission files:own or files:all."
            )
        return query if access is FileAccess.ALL else replace(query, owner=self._token.id)

    def _problems(self, commit: Commit) -> Iterator[str]:
        """What of a commit is not allowed."""
        if self._allows.read_only:
            yield f"The Storage {self._token.title} may only read: nothing can be written with it."
            return
        for table_id in dict.fromkeys(load.table_id for load in commit.tables):
            try:
                self._refuse(table_id, Access.WRITE)
            except ForbiddenError as error:
                yield str(error)
        if (commit.files or commit.add_file_tags) and not self._allows.stores_files:
            yield f"The Storage {self._token.title} may not store or tag files: it needs the permission files:own."
        elif commit.add_file_tags:
            yield from self._untaggable(commit.add_file_tags)
        for key in commit.state:
            if not self._owns(key):
                yield (
                    f"The Storage {self._token.title} may not write the state of {key.component_id}/{key.config_id}: "
                    "a job reads and writes only the state of its own configuration."
                )

    def _untaggable(self, tags: Mapping[int, Sequence[str]]) -> Iterator[str]:
        readable = {file.id for file in self.files(FileQuery(ids=tuple(tags), limit=len(tags)))}
        known = {file.id for file in self._storage.files(FileQuery(ids=tuple(tags), limit=len(tags)))}
        for file_id in sorted(known - readable):
            yield (
                f"The Storage {self._token.title} may not tag the file {file_id}: it needs the permission files:all."
            )
