"""The Dockerfile of an image of a git repository, and the context that it is built from (IG-26, D15)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from docker_runner.engine.container_spec import OWNER, OWNER_LABEL

# By these alone an image is known as one that was built here.
ORIGIN_LABEL = "com.keboola.docker.runner.origin"
BUILT_LABELS = {ORIGIN_LABEL: "builder", OWNER_LABEL: OWNER}

_TREE = "home"
_SHELL = ("/bin/sh", "-c")


def dockerfile(
    parent: Mapping[str, object],
    *,
    version: str,
    commands: Sequence[str | tuple[str, ...]],
    entry_point: str | tuple[str, ...],
) -> str:
    """The text of the Dockerfile.

    Commands are written as lists, so that no value of a user can end an instruction and begin another.

    Args:
        parent: the parent image, as the engine describes it.
        version: what becomes ``APP_VERSION``; left out if empty.
        commands: run one after the other in ``/home``: text for the parent's shell, or a program with arguments.
        entry_point: what a container runs in ``/data``, in the same form.
    """
    config = parent.get("Config")
    config = config if isinstance(config, Mapping) else {}
    shell = tuple(config.get("Shell") or _SHELL)
    owner = f"--chown={config['User']} " if config.get("User") else ""
    lines = [
        f"FROM {parent['Id']}",
        "LABEL " + " ".join(f"{name}={_quoted(value)}" for name, value in BUILT_LABELS.items()),
        "WORKDIR /home",
        *([f"ENV APP_VERSION={_quoted(version)}"] if version else []),
        f"COPY {owner}{_TREE}/ /home/",
        *(f"RUN {_as_list(command, shell)}" for command in commands),
        "WORKDIR /data",
        f"ENTRYPOINT {_as_list(entry_point, shell)}",
    ]
    return "\n".join(lines) + "\n"


def write_context(target: IO[bytes], text: str, tree: Path) -> None:
    """Write a Dockerfile and the files for ``/home`` as the archive that the engine builds from.

    Everything but names, content and the right to execute is left out, so that equal files make equal layers.

    Args:
        target: takes the archive.
        text: the Dockerfile.
        tree: folder with the files; links stay links.
    """
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        content = text.encode()
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        archive.add(tree, arcname=_TREE, filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _as_list(command: str | tuple[str, ...], shell: tuple[str, ...]) -> str:
    return json.dumps([*shell, command] if isinstance(command, str) else list(command))


def _quoted(text: str) -> str:
    for special in ("\\", '"', "$"):
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'
