"""Reads files that people keep, and nothing else that may stand under their names.

A pipe whose other end nobody opens would be waited for without an end, a device might never come to one.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_regular(path: Path, *, or_pipe: bool = False) -> bytes:
    """The content of a regular file; links are followed.

    Args:
        path: the file.
        or_pipe: a person named it for this one reading, so that it may be a pipe, e.g. ``<(command)`` or
            ``/dev/stdin``.

    Raises:
        OSError: it cannot be read, or is something else; its ``strerror`` says what.
    """
    # Whatever it is, opening it must not wait for anybody.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | (0 if or_pipe else os.O_NONBLOCK))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not or_pipe:
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(descriptor)
