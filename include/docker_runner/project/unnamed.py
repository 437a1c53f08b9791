"""Folders in a branch that look like configurations or rows, and that the manifest does not name."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from docker_runner.project.ignored import Ignored


def unnamed_folders(branch: Path, *, named: Collection[Path], closed: Collection[Path], ignored: Ignored) -> list[Path]:
    """Find them: each folder with a ``config.json``, without what lies in such a folder.

    Nothing is read, and what has no such file means nothing to anybody.

    Args:
        branch: the branch's folder.
        named: folders of configurations and rows that the manifest names.
        closed: folders in which nothing is looked for.
        ignored: components in it are left alone.
    """
    found = []
    for parent, folders, files in os.walk(branch):
        folder = Path(parent)
        is_unnamed = "config.json" in files and folder not in named and folder not in closed
        if is_unnamed:
            found.append(folder)
        if is_unnamed or folder in closed:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in ignored.components)
    return found
