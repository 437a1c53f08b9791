"""Encryption keys: where an installation has them from, and how one is made (D18)."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docker_runner.encryption import Encryptor
from docker_runner.errors import UserError
from docker_runner.regular_files import read_regular
from docker_runner.settings import Settings


def encryptor_of(settings: Settings, *, given: str = "", create: bool = False) -> Encryptor:
    """The keys of ``DOCKER_RUNNER_KEYS``, else those of Airflow's variable, else those of the file in the home folder.

    Args:
        settings: where the installation keeps things.
        given: what the variable that ``DOCKER_RUNNER_KEYS_VARIABLE`` names holds; only Airflow's processes know.
        create: make the key file when there are no keys yet (0600).

    Raises:
        UserError: the key file cannot be read, or is empty where a key is needed, or the keys are in a variable that
            was not given.
    """
    text = os.environ.get("DOCKER_RUNNER_KEYS", "") or given
    if not text and settings.keys_variable:
        raise UserError(
            f"The encryption keys are in Airflow's variable {settings.keys_variable} (DOCKER_RUNNER_KEYS_VARIABLE), "
            "which was not found; outside of Airflow's tasks give them in DOCKER_RUNNER_KEYS."
        )
    file = key_file(settings)
    if not text and not file.exists() and create:
        add_key(file)
    if not text and file.exists():
        text = _read(file)
        if create:
            _refuse_empty(text, file)
    return Encryptor(tuple(key for key in re.split(r"[\s,]+", text) if key))


def key_file(settings: Settings) -> Path:
    """The file with the installation's own keys, one a line, the first one encrypts."""
    return settings.home / "keys"


def keys_are_in_file(settings: Settings) -> bool:
    """Whether the keys are the file's, and not given by the environment or by Airflow."""
    return not os.environ.get("DOCKER_RUNNER_KEYS") and not settings.keys_variable


def new_key() -> str:
    """A new key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def add_key(file: Path) -> None:
    """Put a new key before those of a file; the file is made when there is none (0600).

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    is_there = file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(file.parent):
        before = _read(file) if file.exists() else ""
        if before and not is_there:
            # Of two that make the file at the same time the first wins.
            return
        if is_there:
            _refuse_empty(before, file)
        temporary = file.with_name(f"{file.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{new_key()}\n{before}")
            stream.flush()
            # Ciphers are made with the new key at once: it must outlive a machine that stops now.
            os.fsync(stream.fileno())
        temporary.replace(file)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two that add a key at the same time would lose one of them, and with it what was encrypted meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_empty(text: str, file: Path) -> None:
    """Refuse to make a key in place of those that were lost: their ciphers could never be read again."""
    if not text.strip(" \t\r\n,"):
        raise UserError(
            f"The file of the encryption keys, {file}, is empty: put the keys back, or remove it to have a first one."
        )


def _read(file: Path) -> str:
    try:
        return read_regular(file).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The encryption keys in {file} cannot be read: {error}.") from None
