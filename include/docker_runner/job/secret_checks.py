"""What ``docker-runner validate`` finds in secrets: ciphers that no run could read, and what no encryption touches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docker_runner.documents import Files, located
from docker_runner.encryption import Encryptor, Scope, is_cipher
from docker_runner.encryption_keys import encryptor_of
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.secret_keys import walk_secrets, walk_unsealed
from docker_runner.settings import Settings

UNSEALED = (
    "This is not encrypted, as it stands in a map or list under a key that starts with #, and whoever sees the file "
    "can read it: give a secret a # key of its own."
)


def known_keys(settings: Settings) -> Encryptor | None:
    """The installation's keys; None where there are none, as on machines that only check projects."""
    try:
        encryptor = encryptor_of(settings)
    except UserError:
        return None
    return encryptor if encryptor.has_keys else None


def cipher_problems(
    document: Any, scope: Scope, encryptor: Encryptor | None, *, files: Files
) -> Iterator[ConfigurationError]:
    """Ciphers that a run could not read (EN-9, EN-11).

    Args:
        document: parsed JSON; what in it is plain is not looked at.
        scope: whose secrets a run would read.
        encryptor: the installation's keys; without them nothing can be said.
        files: the files that the document comes from, the most special one first.

    Raises:
        UserError: the keys are none.
    """
    for path, value in walk_secrets(document) if encryptor else ():
        if encryptor and is_cipher(value):
            try:
                encryptor.decrypt({"#": value}, scope)
            except ConfigurationError as error:
                yield located(ConfigurationError(error.problem, key=path), files)


def unsealed_notes(document: Any, *, files: Files, place: str = "") -> Iterator[ConfigurationError]:
    """Texts and numbers in maps and lists under ``#`` keys, which are no secrets by contract (EN-1).

    Args:
        document: parsed JSON.
        files: the files that it comes from, the most special one first.
        place: dotted path of the document in them.
    """
    for path, _ in walk_unsealed(document, place):
        yield located(ConfigurationError(UNSEALED, key=path), files)
