"""A data folder as one zip file, for people who want to look into it (LC-61)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from docker_runner.interface.data_folder import EXTENSIONS

CONFIG_FILES = frozenset(f"config.{extension}" for extension in EXTENSIONS)
STATE_FILES = frozenset(f"{folder}/state.{extension}" for folder in ("in", "out") for extension in EXTENSIONS)


def zip_folder(
    root: Path,
    archive: Path,
    *,
    texts: Mapping[str, str],
    rewritten: Mapping[str, Callable[[Path], str]] | None = None,
    left_out: Collection[str] = (),
) -> None:
    """Zip everything below a folder, empty folders included, dot-files and links left out (LC-61).

    Args:
        root: the folder.
        archive: the file to write.
        texts: files by their paths below the folder that are written like this, whether or not they are there.
        rewritten: what gives the text of a file that is there, by its path.
        left_out: paths of files that are not taken from the folder.
    """
    # Components may date their files before 1980, which a zip cannot tell.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as target:
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            name = str(relative)
            if path.is_symlink() or any(part.startswith(".") for part in relative.parts):
                continue
            if name in texts or name in left_out:
                continue
            if rewritten and name in rewritten and path.is_file():
                target.writestr(name, rewritten[name](path))
            elif path.is_dir() or path.is_file():
                target.write(path, name)
        for name, text in texts.items():
            target.writestr(name, text)
