"""What a component left in an output folder: the entries that count, and those that must not be there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import LONGEST_NAME, SUFFIX


def output_sources(
    folder: Path, *, files_only: bool = False, left_out: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """List the tables or files in an output folder by name, in name order.

    Dot-files and manifests do not count (OM-1, OF-1). Links, devices and pipes are refused: following them could read
    files of the machine that the component itself cannot see. So are names that leave no room for a manifest's.

    Args:
        folder: ``out/tables`` or ``out/files``.
        files_only: leave folders out instead of taking them as sliced tables.
        left_out: is told of entries that are refused, which then only stay away.

    Raises:
        ConfigurationError: an entry is refused, or manifests stand alone (OM-2, OF-4).
    """
    # The component could put a link in place of the folders that it was given, too.
    for place in (folder.parent, folder):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            shown = "out" if place == folder.parent else f"out/{folder.name}"
            raise ConfigurationError("The component must leave this as a folder, not a link or a file.", file=shown)
    if not folder.exists():
        return {}
    entries = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    sources = {}
    for name, path in entries.items():
        mode = path.lstat().st_mode
        problem = _problem(name, mode)
        if problem:
            error = ConfigurationError(problem, file=f"out/{folder.name}/{name}")
            if left_out is None:
                raise error
            left_out(f"{error} It is left out.")
        elif not name.endswith(SUFFIX) and not (files_only and stat.S_ISDIR(mode)):
            sources[name] = path
    orphans = [name for name in entries if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in entries]
    if orphans:
        raise ConfigurationError(
            f"These manifests have no data beside them: {', '.join(orphans)}.", file=f"out/{folder.name}"
        )
    return sources


def _problem(name: str, mode: int) -> str:
    """Why an entry is refused."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "Only regular files and folders are taken over; this is a link or a special file."
    if not name.endswith(SUFFIX) and len(os.fsencode(name)) > LONGEST_NAME:
        return (
            f"The name is longer than {LONGEST_NAME} bytes, which leaves no room for a manifest: choose a shorter one."
        )
    return ""
