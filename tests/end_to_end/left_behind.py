"""What a run must not leave: locks that are held, and scratch folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def held_locks(folder: Path, *, without: Path) -> dict[str, list[str]]:
    """Files below a folder on which some process holds a lock, as the kernel knows them, with those processes.

    Args:
        folder: where to look.
        without: what of it is Airflow's own business.
    """
    files = {}
    for path in _files(folder, without):
        with suppress(FileNotFoundError):
            status = path.stat()
            files[(os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)] = str(path.relative_to(folder))
    held: dict[str, list[str]] = {}
    for process, device_and_inode in _kernel_locks():
        if device_and_inode in files:
            held.setdefault(files[device_and_inode], []).append(process)
    return held


def _files(folder: Path, without: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) != without]
        yield from (Path(parent, name) for name in names)


def _kernel_locks() -> Iterator[tuple[str, tuple[int, int, int]]]:
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.replace("->", "").split()
        major, minor, inode = fields[5].split(":")
        yield fields[4], (int(major, 16), int(minor, 16), int(inode))
