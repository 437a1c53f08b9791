"""The state of a row during its run: as it was when the row began, and as it will be when its results are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docker_runner.encryption import Encryptor, refuse_plain_secrets, secret_values
from docker_runner.errors import UserError
from docker_runner.interface.state import checked_state, component_state, is_large, text_of_state
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.project.configuration import Project

_STORED = "stored_state"
_NEW = "new_state"


def stored_state(row: JobDefinition, folders: RowWorkspace, tools: Tools) -> dict[str, Any]:
    """The stored state as it was when the row began: all its steps, and every attempt at them, build on it (ST-1).

    Steps may ask for it at the same time: they get what was read first.

    Raises:
        ConfigurationError: it is not a state.
    """
    kept = folders.done(_STORED)
    return kept if kept is not None else folders.finish_first(_STORED, state_in_storage(row, tools))


def is_state_that_began(row: JobDefinition, folders: RowWorkspace, tools: Tools, present: Mapping[str, Any]) -> bool:
    """Whether the state in Storage says what it said when the row began, so that the new one may replace it.

    Secrets count as they are in plain text: they may have been encrypted with another key meanwhile. A run that brings
    its own configuration begins empty whatever is stored, so it never builds on what is not there any more (CF-39).
    """
    if not row.reads_state:
        return True
    began = stored_state(row, folders, tools)
    try:
        present = checked_state(present, owner=row.title)
        if text_of_state(began) == text_of_state(present):
            return True
        encryptor = tools.present_encryptor()
        plain = [_plain_text_of_state(state, row, encryptor) for state in (began, present)]
    except UserError:
        return False  # somebody else has stored what this run could not even read
    return plain[0] == plain[1]


def state_in_storage(row: JobDefinition, tools: Tools) -> dict[str, Any]:
    """The state that a run of the row would begin with now.

    Raises:
        ConfigurationError: it is not a state.
    """
    document = tools.storage.state(row.state_key) if row.reads_state else {}
    return checked_state(document, owner=row.title)


def decrypted_state(row: JobDefinition, folders: RowWorkspace, tools: Tools) -> dict[str, Any]:
    """The component's own part of the stored state, its secrets in plain text (ST-2, ST-3)."""
    return _decrypted(component_state(stored_state(row, folders, tools)), row, tools)


def sealed_state(row: JobDefinition, folders: RowWorkspace, tools: Tools) -> dict[str, Any]:
    """The component's own part of the stored state, its secrets as they are kept: ciphers (LC-65).

    Raises:
        ConfigurationError: a secret is none.
    """
    state = component_state(stored_state(row, folders, tools))
    refuse_plain_secrets(state, file=f"state of {row.title}")
    return state


def keep_new_state(row: JobDefinition, folders: RowWorkspace, tools: Tools, *, state: Mapping[str, Any]) -> None:
    """Keep what the component wrote as its new state for the commit, its secrets encrypted (ST-5, EN-12)."""
    if is_large(state):
        tools.log.warning("The new state of %s is larger than 1 MB, which states are not meant for.", row.component.id)
    kind = "BranchTypeSecure" if "protected-default-branch" in row.identity.features else "ProjectSecure"
    folders.finish(_NEW, tools.encryptor.encrypt(state, row.scope, kind=kind))


def kept_new_state(folders: RowWorkspace) -> dict[str, Any]:
    """The component's new state; empty when it wrote none (ST-8)."""
    return folders.done(_NEW) or {}


def may_be_stored(row: JobDefinition, tools: Tools) -> bool:
    """Whether the new state has a configuration to belong to, still (LC-22, ST-10); if it was removed, tell (ST-11)."""
    if not row.stores_state:
        return False
    try:
        project = Project(tools.settings.project, branch=row.branch_prefix)
        gone = not project.has((row.component.id, row.config_id))
    except UserError:
        # A project that cannot be read just now says nothing of this configuration.
        return True
    if gone:
        tools.log.warning(
            "The configuration %s/%s was removed while it ran: its state is not stored.",
            row.component.id,
            row.config_id,
        )
    return not gone


def state_secrets(row: JobDefinition, folders: RowWorkspace, tools: Tools) -> Iterator[str]:
    """The secrets in the state that the component got and, once it has ended, in the one that it wrote (LG-20)."""
    if not row.mode.runs_images:
        return
    yield from secret_values(decrypted_state(row, folders, tools))
    yield from secret_values(_decrypted(kept_new_state(folders), row, tools))


def _plain_text_of_state(document: Mapping[str, Any], row: JobDefinition, encryptor: Encryptor) -> str:
    own = encryptor.decrypt(component_state(document), row.scope, file=f"state of {row.title}")
    return text_of_state({**document, "component": own})


def _decrypted(state: Mapping[str, Any], row: JobDefinition, tools: Tools) -> dict[str, Any]:
    decrypted: dict[str, Any] = tools.encryptor.decrypt(state, row.scope, file=f"state of {row.title}")
    return decrypted
