"""Ciphers: how secrets stand in configurations and state, and who may read them (EN-1..EN-12, D18).

A cipher is ``KBC::<Scope>Secure::<token>``. The token is Fernet of the package ``cryptography`` (AES-CBC with HMAC)
over the value together with the ids that it is bound to, so a cipher copied into another component, project or
configuration is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.secret_keys import replace_secrets, walk_secrets, walk_unsealed

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_SCOPES: Mapping[str, tuple[str, ...]] = {
    "ComponentSecure": ("component",),
    "ProjectSecure": ("component", "project"),
    "ConfigSecure": ("component", "project", "configuration"),
    "ProjectWideSecure": ("project",),
    "BranchTypeSecure": ("component", "project", "branch_type"),
    "BranchTypeConfigSecure": ("component", "project", "configuration", "branch_type"),
    "ProjectWideBranchTypeSecure": ("project", "branch_type"),
}
_CIPHER = re.compile(rf"KBC::({'|'.join(_SCOPES)})(?:KV|GKMS)?::(.+)", re.DOTALL)
CIPHER_IN_TEXT = re.compile(rf"KBC::(?:{'|'.join(_SCOPES)})(?:KV|GKMS)?::[A-Za-z0-9_=-]+")
"""A cipher somewhere in a text, e.g. in a JSON file."""
# Ciphers of older Keboola installations: never encrypted again, never readable here (EN-7, OS-7).
_LEGACY_CIPHER = re.compile(r"KBC::(?:Secure(?:KV|GKMS)?::|(?:Component(?:Project)?)?Encrypted==).+", re.DOTALL)
_PLACEHOLDER = re.compile(r"{{\s*[A-Za-z0-9_.-]+\s*}}")


KINDS: Mapping[str, str] = {
    "component": "ComponentSecure",
    "project": "ProjectSecure",
    "configuration": "ConfigSecure",
    "project-wide": "ProjectWideSecure",
    "branch-type": "BranchTypeSecure",
    "branch-type-configuration": "BranchTypeConfigSecure",
    "project-wide-branch-type": "ProjectWideBranchTypeSecure",
}
"""Kinds of ciphers by what people call their scope (EN-4)."""


def kind_of(ids: Iterable[str]) -> str:
    """The kind of cipher whose readers are told by these ids of a scope, e.g. ``component`` and ``project`` (EN-4).

    Raises:
        KeyError: no kind is told by them.
    """
    return {frozenset(names): kind for kind, names in _SCOPES.items()}[frozenset(ids)]


@dataclass(frozen=True)
class Scope:
    """Whose secrets may be read: the ids that ciphers are compared with."""

    component: str
    project: str = ""
    configuration: str = ""
    branch_type: str = "default"


def bound_ids(scope: Scope, kind: str) -> dict[str, str]:
    """The ids that a cipher of a kind is bound to (EN-4)."""
    return {name: getattr(scope, name) for name in _SCOPES[kind]}


def is_cipher(value: Any) -> bool:
    """Whether a value has the form of a cipher."""
    return isinstance(value, str) and _CIPHER.fullmatch(value) is not None


class Encryptor:
    """Encrypts and decrypts the ``#`` values of documents.

    Args:
        keys: keys of Fernet, the first one encrypts, all decrypt (rotation). Without keys nothing can be encrypted, and
            a document with ciphers cannot be decrypted.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys

    @property
    def has_keys(self) -> bool:
        """Whether anything can be encrypted and decrypted at all."""
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"Encryptor(<{len(self._keys)} keys>)"

    def encrypt(self, document: Any, scope: Scope, *, kind: str = "ProjectSecure") -> Any:
        """Copy a document with its ``#`` values encrypted; ciphers and placeholders stay (EN-1, EN-7, EN-8)."""

        def replace(_path: str, value: Any) -> Any:
            if is_cipher(value) or (isinstance(value, str) and _kept(value)):
                return value
            return self.encrypt_value(_as_text(value), scope, kind=kind)

        return replace_secrets(document, replace)

    def encrypt_value(self, value: str, scope: Scope, *, kind: str = "ProjectSecure") -> str:
        """Encrypt one value for a scope."""
        token = self._fernet().encrypt(json.dumps([value, bound_ids(scope, kind)]).encode()).decode()
        return f"KBC::{kind}::{token}"

    def decrypt(self, document: Any, scope: Scope, *, file: Path | str | None = None, plain: bool = False) -> Any:
        """Copy a document with its ``#`` values decrypted.

        Args:
            document: parsed JSON.
            scope: whose secrets may be read.
            file: what an error names as the file.
            plain: values that are no ciphers stay as they are, as texts (LC-71), instead of being refused.

        Raises:
            ConfigurationError: a value is plain text, was encrypted with another key or for another scope
                (EN-9, EN-10); names the key, never the value.
        """

        def replace(path: str, value: Any) -> str:
            if value is None or value == "":
                return ""
            if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
                return value
            if plain and not is_cipher(value):
                return _as_text(value)
            return self._decrypt_value(value, scope, path=path, file=file)

        return replace_secrets(document, replace)

    def _decrypt_value(self, value: Any, scope: Scope, *, path: str, file: Path | str | None) -> str:
        from cryptography.fernet import InvalidToken

        match = _CIPHER.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise _not_encrypted(path, file)
        kind, token = match.groups()
        try:
            plain, bound = json.loads(self._fernet().decrypt(token.encode()))
        except (InvalidToken, ValueError):
            raise ConfigurationError(
                "The cipher was not made with one of this installation's keys: encrypt the value anew with "
                "`docker-runner encrypt`, or add the key it was made with to DOCKER_RUNNER_KEYS.",
                file=file,
                key=path,
            ) from None
        wrong = [name for name in _SCOPES[kind] if bound.get(name) != getattr(scope, name)]
        if wrong:
            raise ConfigurationError(
                f"The cipher was made for another {' and '.join(wrong).replace('_', ' ')}: encrypt the value anew.",
                file=file,
                key=path,
            )
        return str(plain)

    def rotated(self, cipher: str) -> str | None:
        """The same secret for the same readers under the first key; None when it stands under it already (D18).

        Raises:
            UserError: the cipher was made with none of the keys.
        """
        from cryptography.fernet import InvalidToken

        kind = cipher.rpartition("::")[0]
        token = cipher.rpartition("::")[2].encode()
        try:
            Encryptor(self._keys[:1])._fernet().decrypt(token)
        except InvalidToken:
            try:
                return f"{kind}::{self._fernet().rotate(token).decode()}"
            except InvalidToken:
                raise UserError("The cipher was made with none of this installation's keys.") from None
        return None

    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        if not self._keys:
            raise UserError(
                "There is no encryption key: set DOCKER_RUNNER_KEYS, or let `docker-runner encrypt` make one."
            )
        fernets = []
        for number, key in enumerate(self._keys, start=1):
            try:
                fernets.append(Fernet(key + "=" * (-len(key) % 4)))
            except ValueError:
                raise UserError(
                    f"Encryption key {number} of {len(self._keys)} is none: a key is what "
                    "`docker-runner encrypt --new-key` prints, 32 random bytes in URL-safe base64."
                ) from None
        return MultiFernet(fernets)


def refuse_plain_secrets(document: Any, *, file: Path | str | None = None) -> None:
    """Refuse a document with a ``#`` value that is not a cipher; needs no key (EN-9, EN-10).

    Raises:
        ConfigurationError: names the key, never the value.
    """
    for path, value in walk_secrets(document):
        if value in (None, "") or is_cipher(value):
            continue
        if not (isinstance(value, str) and _PLACEHOLDER.fullmatch(value)):
            raise _not_encrypted(path, file)


def _not_encrypted(path: str, file: Path | str | None) -> ConfigurationError:
    return ConfigurationError(
        "The value is not encrypted. Values of keys that start with # must be ciphers: "
        "encrypt the configuration with `docker-runner encrypt`.",
        file=file,
        key=path,
    )


def _kept(value: str) -> bool:
    """Whether encryption leaves a text as it is although it is no cipher of ours (EN-7, EN-8)."""
    return bool(_PLACEHOLDER.fullmatch(value) or _LEGACY_CIPHER.fullmatch(value))


def secret_values(document: Any) -> Iterator[str]:
    """The texts that must be hidden: every non-empty scalar under a ``#`` key (LG-20).

    What stands inside maps and lists under such a key is never encrypted (EN-1); whoever wrote it there took it for a
    secret, so that texts and numbers of it are hidden too.
    """
    for _, value in walk_secrets(document):
        if text := _as_text(value):
            yield text
    for _, value in walk_unsealed(document):
        yield str(value)


def _as_text(value: Any) -> str:
    """Scalars become text before encryption: true is 1, false and null are empty (EN-2)."""
    if value is None or value is False:
        return ""
    return "1" if value is True else str(value)
