"""Writes what people ask for to where they say: whole or not at all, and never in place of something else.

A link is followed, and a file that is there keeps its owner and mode. What is no file, such as ``/dev/stdout`` or a
named pipe, gets the content as a stream. A folder is never replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docker_runner.errors import TargetError

_PROCESSES = Path("/proc")
_NOBODY_BUT_THE_OWNER = 0o600
_ANYBODY = 0o666
# What no repetition cures: the path has to be another one.
_USERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


@contextmanager
def written_file(target: Path) -> Iterator[Path]:
    """Give an empty file to write a content to; at the end of the block the target has it, unless the block raises.

    Args:
        target: a file that need not be there, in a folder that must be; or what takes a stream.

    Raises:
        TargetError: the target is a folder or a disk, or cannot be written.
    """
    present = _status(target)
    if present and not stat.S_ISREG(present.st_mode):
        _refuse_unless_stream(target, present.st_mode)
    if present and (not stat.S_ISREG(present.st_mode) or _of_a_process(target)):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, "content")
            part.touch()
            yield part
            _pour(part, target)
        return
    if present and not os.access(target, os.W_OK):
        raise TargetError(f"{target} cannot be written: it is read-only for you.")
    part = _part_beside(target)
    try:
        with _users_errors(target):
            # Whoever may not read the present content must not read the new one while it is being written.
            os.close(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NOBODY_BUT_THE_OWNER if present else _ANYBODY)
            )
        yield part
        if present is None or _made_like(part, present):
            part.replace(_followed(target))
        else:
            _pour(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def written_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; at the end of the block the target has its files, unless the block raises.

    Args:
        target: a folder that is empty or not there, in a folder that is there.

    Raises:
        TargetError: something is at the target, or it cannot be written.
    """
    present = _status(target)
    if present and not stat.S_ISDIR(present.st_mode):
        raise TargetError(f"{target} is there already, and is no folder: name a new one.")
    with _users_errors(target):
        if present and any(target.iterdir()):
            raise TargetError(f"The folder {target} is not empty: name a new one, or an empty one.")
        part = target / f".{uuid.uuid4().hex}.part" if present else _part_beside(target)
        part.mkdir()
    try:
        yield part
        if not present:
            part.rename(_followed(target))
            return
        for path in part.iterdir():
            path.rename(target / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _status(target: Path) -> os.stat_result | None:
    """What is at the end of a path and its links; None when nothing is."""
    with _users_errors(target):
        try:
            return target.stat()
        except FileNotFoundError:
            pass
        folder = _followed(target).parent
        if not folder.is_dir():
            raise TargetError(f"{target} cannot be written: there is no folder {folder}.")
    return None


def _refuse_unless_stream(target: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise TargetError(f"{target} is a folder: name a file to write.")
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise TargetError(f"{target} is a disk or a socket: name a file to write.")


def _followed(target: Path) -> Path:
    """Where a path leads."""
    return Path(os.path.realpath(target))


def _of_a_process(target: Path) -> bool:
    """Whether a path leads to what a process has open, e.g. ``/dev/stderr``: only a stream reaches it."""
    path = target
    for _ in range(40):  # more links than that are an error for the system, too
        path = _followed(path.parent) / path.name
        if path.is_relative_to(_PROCESSES):
            return True
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return False


def _part_beside(target: Path) -> Path:
    return _followed(target).with_name(f".{uuid.uuid4().hex}.part")


def _made_like(part: Path, present: os.stat_result) -> bool:
    """Give a file owner and mode of the one that it replaces; whether that could be done."""
    made = part.stat()
    if (made.st_uid, made.st_gid) != (present.st_uid, present.st_gid):
        try:
            os.chown(part, present.st_uid, present.st_gid)
        except PermissionError:
            return False
    part.chmod(stat.S_IMODE(present.st_mode))
    return True


def _pour(source: Path, target: Path) -> None:
    with _users_errors(target):
        # Never made anew: it was there a moment ago.
        kept = os.O_APPEND if _of_a_process(target) else os.O_TRUNC
        descriptor = os.open(target, os.O_WRONLY | kept)
    with source.open("rb") as reading, os.fdopen(descriptor, "wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)


@contextmanager
def _users_errors(target: Path) -> Iterator[None]:
    """Turn what the system says against a path into the user's error."""
    try:
        yield
    except OSError as error:
        if error.errno not in _USERS:
            raise
        raise TargetError(f"{target} cannot be written: {os.strerror(error.errno)}.") from None
