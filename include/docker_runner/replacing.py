"""Replaces the content of a file in one step: whoever reads it sees all of the old text or all of the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(file: Path, text: str, *, mode: int | None = None) -> None:
    """Put a text in place of a file's; a process that is killed meanwhile leaves the file as it was.

    Args:
        file: the file; it need not exist.
        text: the whole text.
        mode: its permissions; by default those of the file that is replaced.
    """
    wanted = file.stat().st_mode & 0o777 if mode is None else mode
    temporary = file.with_name(f".{file.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    try:
        # Nobody else may read it, not even until its permissions are set.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.chmod(wanted)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
