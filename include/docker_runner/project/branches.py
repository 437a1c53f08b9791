"""Branches of a project: which folder of the project directory is read, and whose id its results carry (BR-1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.documents import read_json
from docker_runner.errors import ConfigurationError, NotFoundError

DEFAULT_FOLDER = "main"
_LONGEST_NAME_BYTES = 255
# What may stand in names of buckets and in tags.
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Branch:
    """A branch of the project.

    Attributes:
        id: its id, which marks what a development branch stores; empty for the default branch of a project that has
            no manifest.
        path: its folder in the project directory.
        is_default: it is the default branch, not a development branch.
    """

    id: str
    path: str
    is_default: bool


def branch_of_manifest(folder: Path, manifest: Mapping[str, Any], wanted: str, *, file: Path) -> Branch:
    """Find a branch in a manifest.

    Args:
        folder: the project directory.
        manifest: content of the manifest.
        wanted: path or id of the branch; empty for the default branch.
        file: the manifest, for errors.

    Raises:
        NotFoundError: there is no such branch.
        ConfigurationError: none is the default one.
    """
    branches = {str(item["path"]): str(item["id"]) for item in manifest["branches"] or []}
    if wanted:
        path = next((path for path, branch_id in branches.items() if wanted in (path, branch_id)), None)
        if path is None:
            known = ", ".join(branches) or "none"
            raise NotFoundError(f"There is no branch with the path or id {wanted!r} in {file}; there are: {known}.")
        return Branch(branches[path], path, is_default=_is_default(folder, path, branches))
    # The folder that is called main nearly always is the default one: then no other needs a look.
    for path in sorted(branches, key=lambda path: path != DEFAULT_FOLDER):
        if _is_default(folder, path, branches):
            return Branch(branches[path], path, is_default=True)
    raise ConfigurationError(
        "None of the project's branches is the default one (isDefault in its meta.json); "
        "name the branch to use in DOCKER_RUNNER_BRANCH.",
        file=file,
        key="branches",
    )


def branch_of_folder(folder: Path, wanted: str) -> Branch:
    """Find a branch of a project without manifest: a folder, whose name is the id of a development branch.

    Raises:
        NotFoundError: there is no such folder.
        ConfigurationError: the name of a development branch cannot be used in names of buckets.
    """
    path = wanted or DEFAULT_FOLDER
    # Requests name branches too: they never lead out of the project.
    is_name = (
        "/" not in path and path.isprintable() and len(path.encode()) <= _LONGEST_NAME_BYTES and path not in (".", "..")
    )
    if not is_name or (wanted and not (folder / path).is_dir()):
        raise NotFoundError(f"There is no branch {wanted!r} in the project {folder}: there is no such folder.")
    if _is_default(folder, path, ()):
        return Branch("", path, is_default=True)
    if not _SAFE_ID.fullmatch(path):
        raise ConfigurationError(
            f"The branch {path!r} must have a name of letters, digits, - and _: it becomes part of names of buckets.",
            file=folder / path,
        )
    return Branch(path, path, is_default=False)


def _is_default(folder: Path, path: str, branches: Mapping[str, str] | tuple[()]) -> bool:
    """Whether a branch says that it is the default one; without a word of its own, main and an only branch are."""
    file = folder / path / "meta.json"
    meta = read_json(file) if file.exists() else {}
    if not isinstance(meta, dict) or not isinstance(meta.get("isDefault", False), bool):
        raise ConfigurationError("Must hold a map with isDefault, which is true or false.", file=file)
    if "isDefault" in meta:
        return bool(meta["isDefault"])
    return path == DEFAULT_FOLDER or list(branches) == [path]
