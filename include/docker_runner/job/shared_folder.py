"""The folder of runs is one for all machines: a run that goes on on another one must find what it has done.

The folder has an identity in a file of its own, made with the first run that has a task for each step. Without it a
folder that every machine has under the same path could not be told from one that they share.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from docker_runner.errors import UserError

_FILE = ".identity"


def identity_of(root: Path) -> str:
    """The identity of a folder of runs; it gets one when it has none.

    Args:
        root: the folder; made when needed.

    Raises:
        OSError: it cannot be written.
    """
    file = root / _FILE
    with suppress(FileNotFoundError):
        return file.read_text()
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f"{_FILE}.{uuid.uuid4().hex}"
    draft.write_text(uuid.uuid4().hex)
    # Of several that find none the first one's counts, on shared disks too.
    with suppress(FileExistsError):
        (root / _FILE).hardlink_to(draft)
    draft.unlink()
    return file.read_text()


def refuse_other_folder(root: Path, identity: object) -> None:
    """Refuse to go on where a run's folder would be looked for in vain.

    Args:
        root: the folder of runs of this machine.
        identity: that of the folder in which the run began; whatever else is no identity.

    Raises:
        UserError: it is another folder.
    """
    if isinstance(identity, str) and identity != identity_of(root):
        raise other_folder(root)


def other_folder(root: Path) -> UserError:
    """That a run began in another folder of runs than this machine has."""
    return UserError(
        f"This run began on a machine with another folder of runs: {root} is not shared with it, or was removed "
        "and made anew. Set DOCKER_RUNNER_WORKSPACES to one folder that all workers, the triggerer and the API server "
        "have under this path (e.g. NFS), or have one worker only. What the run has left is still on that machine."
    )
