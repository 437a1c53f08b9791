"""States that are made from earlier ones: no run stores one over what another run has stored meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from docker_runner.errors import OvertakenError
from docker_runner.storage.base import StateKey, StateUpdate
from docker_runner.storage.lake.documents import state_id
from docker_runner.storage.lake.history import moment
from docker_runner.storage.lake.records import Document, Kind, Run, find, snapshot_of, written_in


def new_states(run: Run, wanted: Mapping[StateKey, Mapping[str, Any] | StateUpdate]) -> dict[str, Document]:
    """The state documents to store, by the ids of their records.

    Args:
        run: runs one statement, in the commit's transaction and under its locks.
        wanted: new states by owner.

    Raises:
        OvertakenError: a stored state is not the one any more that its update was made from; tells whose it is.
    """
    updated = [state_id(key) for key, state in wanted.items() if isinstance(state, StateUpdate)]
    present = find(run, Kind.STATES, updated)
    documents = {}
    for key, state in wanted.items():
        record = state_id(key)
        if isinstance(state, StateUpdate):
            stored = present.get(record, {})
            if not state.follows(stored):
                raise _overtaken(run, key, is_stored=record in present)
            state = {**stored, **state.document}
        documents[record] = dict(state)
    return documents


def _overtaken(run: Run, key: StateKey, *, is_stored: bool) -> OvertakenError:
    title = f"{key.component_id}/{key.config_id}" + (f" row {key.row_id}" if key.row_id else "")
    other = f" ({_origin(run, key)})" if is_stored else ""
    return OvertakenError(
        f"Another run of {title}{other} has stored its state while this one was at work with the state from before. "
        "The results of this run were not stored: rows could be there twice, and the newer state would be lost. "
        "Run it again from its beginning: it begins with the newer state then."
    )


def _origin(run: Run, key: StateKey) -> str:
    """Which commit has stored a state, as far as it is known, for people."""
    snapshot = snapshot_of(run, Kind.STATES, state_id(key))
    for commit in written_in(run, Kind.COMMITS, snapshot):
        time = moment(datetime.fromisoformat(commit["committed"]))
        return f"{commit['run']}, {time}" if commit.get("run") else time
    return f"snapshot {snapshot}"
