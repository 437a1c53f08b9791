"""Storage tokens that are not good any more."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from docker_runner.errors import UserError
from docker_runner.storage.base import Ledger
from docker_runner.storage.tokens import NewToken, Permissions


def expired_token(ledger: Ledger, description: str, permissions: Permissions) -> NewToken:
    """Make a token and wait until it has expired, which is soon unless making one takes long here."""
    for seconds in (0.1, 2, 10, 60):
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            made = ledger.create_token(description, permissions, creator="test", expires=expires)
        except UserError:  # by now that is in the past
            continue
        time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()))
        return made
    raise AssertionError("making a token takes more than a minute")
