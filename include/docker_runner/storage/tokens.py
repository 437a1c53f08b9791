"""Tokens: who may do what with a Storage.

A token is a secret that its holder presents and that Storage knows only as a hash. It carries permissions: per bucket,
for files, or for everything. Without a token everything is allowed, as on a machine of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from docker_runner.errors import ForbiddenError, TokenError, UserError

_SECRET = re.compile(r"dr-(\d{1,18})-[A-Za-z0-9_-]{20,200}")
_BUCKET = re.compile(r"(in|out)\.[A-Za-z0-9_-]{1,96}")
_RANDOM_BYTES = 32
EVERY_BUCKET = "*"
LONGEST_DESCRIPTION = 200


class Access(StrEnum):
    """What may be done with a bucket and its tables; ``write`` includes ``read`` and making the bucket."""

    READ = "read"
    WRITE = "write"


class FileAccess(StrEnum):
    """Which stored files may be read and tagged; with ``own``, those that were stored with the same token."""

    NONE = "none"
    OWN = "own"
    ALL = "all"


@dataclass(frozen=True)
class Permissions:
    """What a token allows.

    Attributes:
        buckets: access by bucket id; ``*`` is every bucket.
        files: which files may be read and tagged. New ones may be stored unless it is ``none``.
        can_manage: everything is allowed, also making and revoking tokens.
        read_only: nothing may be changed, whatever else is allowed; no job can run with it.
    """

    buckets: Mapping[str, Access] = field(default_factory=dict)
    files: FileAccess = FileAccess.OWN
    can_manage: bool = False
    read_only: bool = False

    def reads(self, bucket: str) -> bool:
        """Whether tables of a bucket may be read."""
        return self.can_manage or bucket in self.buckets or EVERY_BUCKET in self.buckets

    def writes(self, bucket: str) -> bool:
        """Whether tables of a bucket may be changed, and the bucket be made."""
        given = (self.buckets.get(bucket), self.buckets.get(EVERY_BUCKET))
        return not self.read_only and (self.can_manage or Access.WRITE in given)

    @property
    def file_access(self) -> FileAccess:
        """Which files may be read."""
        return FileAccess.ALL if self.can_manage else self.files

    @property
    def stores_files(self) -> bool:
        """Whether files may be stored and tagged."""
        return not self.read_only and self.file_access is not FileAccess.NONE

    def document(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "buckets": {bucket: access.value for bucket, access in sorted(self.buckets.items())},
            "files": self.files.value,
            "can_manage": self.can_manage,
            "read_only": self.read_only,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Permissions:
        """Read back what :meth:`document` wrote."""
        return cls(
            buckets={bucket: Access(access) for bucket, access in document["buckets"].items()},
            files=FileAccess(document["files"]),
            can_manage=bool(document["can_manage"]),
            read_only=bool(document["read_only"]),
        )


def bucket_permissions(texts: Iterable[str]) -> dict[str, Access]:
    """Read permissions as people write them: ``in.c-main:read``, ``out.c-main:write``, ``*:read``.

    Raises:
        UserError: one of them is none; says what would be right.
    """
    found: dict[str, Access] = {}
    for text in texts:
        bucket, _, access = text.rpartition(":")
        if access not in list(Access) or not (bucket == EVERY_BUCKET or _BUCKET.fullmatch(bucket)):
            raise UserError(
                f"{text!r} is not a permission. Write a bucket and read or write, e.g. in.c-main:read, "
                "out.c-main:write, or *:read for every bucket."
            )
        if found.setdefault(bucket, Access(access)) != access:
            raise UserError(f"The bucket {bucket} is named twice: write includes read.")
    return found


@dataclass(frozen=True)
class Token:
    """A token as Storage knows it, without its secret, which nobody can find out any more.

    Attributes:
        id: number; only grows.
        expires: from then on it is refused; None is never.
        creator: who made it, for people.
        revoked: since then it is refused; None for a token that was not revoked.
    """

    id: int
    description: str
    created: datetime
    creator: str
    permissions: Permissions
    expires: datetime | None = None
    revoked: datetime | None = None

    @property
    def title(self) -> str:
        """What errors and events call it."""
        return f"token {self.id} ({self.description})"

    def refuse_unusable(self, now: datetime) -> None:
        """Refuse a token that does not count any more.

        Raises:
            TokenError: it has expired or was revoked.
        """
        if self.revoked:
            raise TokenError(f"The Storage {self.title} was revoked on {_day(self.revoked)}: use another one.")
        if self.expires and self.expires <= now:
            raise TokenError(f"The Storage {self.title} expired on {_day(self.expires)}: use another one.")

    def refuse_unless_manager(self, what: str, *, writing: bool = False) -> None:
        """Refuse what only a token with ``can_manage`` may do.

        Args:
            what: what is to be done, e.g. ``make tokens``.
            writing: it changes something.

        Raises:
            ForbiddenError: the token may not.
        """
        if not self.permissions.can_manage:
            raise ForbiddenError(f"The Storage {self.title} may not {what}: it needs the permission manage.")
        if writing and self.permissions.read_only:
            raise ForbiddenError(f"The Storage {self.title} may only read: it may not {what}.")

    def document(self) -> dict[str, Any]:
        """As a JSON document for people and programs."""
        return {
            "id": self.id,
            "description": self.description,
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat() if self.expires else None,
            "creator": self.creator,
            "revoked": self.revoked.isoformat() if self.revoked else None,
            "permissions": self.permissions.document(),
        }


@dataclass(frozen=True)
class NewToken:
    """A token that was just made, with its secret: the only time that anybody sees it."""

    token: Token
    secret: str = field(repr=False)


@dataclass(frozen=True)
class PresentedToken:
    """A secret that somebody presents as a token.

    Attributes:
        origin: where it was found, for errors, e.g. the name of a variable.
    """

    secret: str = field(repr=False)
    origin: str

    @property
    def id(self) -> int:
        """The id of the token that it claims to be.

        Raises:
            TokenError: it has not the form of a token.
        """
        if not self.secret:
            raise TokenError(
                f"The Storage token in {self.origin} is empty: give a token, or take the setting away to work with "
                "full rights."
            )
        match = _SECRET.fullmatch(self.secret)
        if match is None:
            raise TokenError(f"What is given as Storage token in {self.origin} has not the form of one (dr-<id>-…).")
        return int(match[1])


def new_secret(token_id: int) -> str:
    """A secret for a token; 256 bits by chance."""
    import secrets

    return f"dr-{token_id}-{secrets.token_urlsafe(_RANDOM_BYTES)}"


def hash_of(secret: str) -> str:
    """What is kept of a secret. It is random and long, so nothing slower than one hash is needed to hide it."""
    return sha256(secret.encode()).hexdigest()


def _day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
