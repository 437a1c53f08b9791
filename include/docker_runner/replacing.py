"""Replaces the content of a file in one step: whoever reads it sees all of the old text or all of the new one."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_text(file: Path, text: str, *, mode: int | None = None) -> None:
    """Put a text in place of a file's, as :func:`replace_content` does."""
    replace_content(file, text.encode(), mode=mode)


def replace_content(file: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put new content in place of a file's; a process that is killed meanwhile leaves the file as it was.

    A link stays a link: what it leads to is replaced, so that nothing of the old content stays there; only
    another hard link to the same file would keep it. The file keeps its owner and group as far as this process may give
    files away.

    Args:
        file: the file; it need not exist.
        content: all of it.
        mode: its permissions; by default those of the file that is replaced.
    """
    file = file.resolve()
    before = file.stat() if file.exists() or mode is None else None
    # Nobody else may read it, not even until its permissions are set.
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if before:
                _give_to_owner(descriptor, before)
            stream.write(content)
            stream.flush()
            # A loss of power right after the replacing must not leave an empty file.
            os.fsync(descriptor)
        temporary.chmod(stat.S_IMODE(before.st_mode) if before and mode is None else mode or 0o600)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _give_to_owner(descriptor: int, owned: os.stat_result) -> None:
    for user, group in ((-1, owned.st_gid), (owned.st_uid, -1)):
        # Only root may give a file away; everybody may give it to a group that they are in.
        with suppress(PermissionError):
            os.fchown(descriptor, user, group)
