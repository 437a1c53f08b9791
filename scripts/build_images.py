#!/usr/bin/env python3
"""Builds the sample's images: every ``include/images/<name>/Dockerfile`` becomes ``docker-runner/<name>:latest``.

An image is built again only when its folder, or the image that it is built on, changed; both are in its label
``docker-runner.content``. Needs nothing but Python and the ``docker`` command. Settings of pip and proxies are taken
from the environment: they reach the build, not the image.

Usage: build_images.py [NAME ...]
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parent.parent / "include" / "images"
LABEL = "docker-runner.content"
BASE_ARGUMENT = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)
# Docker knows the proxies as arguments of every build and keeps them out of the image's history. Those of pip are only
# declared in stages that are thrown away.
PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
OF_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
IGNORED = ("__pycache__", ".mypy_cache", ".ruff_cache")


class BuildError(Exception):
    """A message for the person who runs this."""


def main(names: list[str]) -> int:
    """Build what changed.

    Args:
        names: folders to build, with what they are built on; all by default.
    """
    # One build at a time, without a lock file to leave behind.
    lock = os.open(IMAGES, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        build_all(in_build_order(names or sorted(path.parent.name for path in IMAGES.glob("*/Dockerfile"))))
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    finally:
        os.close(lock)
    return 0


def build_all(names: list[str]) -> None:
    """Build the images in the given order, and say how many there were to build."""
    bases = {name: base_of(name) for name in names}
    known = inspect([*(reference(name) for name in names), *bases.values()])
    built = []
    for name in names:
        base = known.get(bases[name])
        if base is None:
            raise BuildError(f"{name} is built on {bases[name]}, which is missing: run scripts/ensure_base_image.sh.")
        content = content_of(name, base["Id"])
        image = known.get(reference(name))
        if image is None or (image["Config"]["Labels"] or {}).get(LABEL) != content:
            print(f"images: building {reference(name)} ...", flush=True)
            build(name, content)
            if image is not None:
                # Kept where something still runs or is built on it; otherwise each change would leave one behind.
                docker("image", "rm", image["Id"])
            known |= inspect([reference(name)])
            built.append(name)
    print(f"images: {len(built)} built, {len(names) - len(built)} up to date.")


def reference(name: str) -> str:
    """The image's reference, as its component's definition names it."""
    return f"docker-runner/{name}:latest"


def base_of(name: str) -> str:
    """Reference of the image that a folder's image is built on."""
    dockerfile = IMAGES / name / "Dockerfile"
    if not dockerfile.is_file():
        raise BuildError(f"{dockerfile} does not exist.")
    found = BASE_ARGUMENT.search(dockerfile.read_text(encoding="utf-8"))
    if found is None:
        raise BuildError(f"{dockerfile} must have a line ARG BASE_IMAGE=<image that it is built on>.")
    return found[1]


def in_build_order(names: list[str]) -> list[str]:
    """The folders with those that they are built on, each after its own base."""
    folders = {reference(path.parent.name): path.parent.name for path in IMAGES.glob("*/Dockerfile")}
    ordered: list[str] = []
    for name in names:
        chain = [name]
        while (base := folders.get(base_of(chain[-1]))) is not None:
            if base in chain:
                raise BuildError(f"{IMAGES / base / 'Dockerfile'} is built on itself.")
            chain.append(base)
        ordered += [folder for folder in reversed(chain) if folder not in ordered]
    return ordered


def content_of(name: str, base_id: str) -> str:
    """A hash of everything that the image is made of: names, modes and bytes of its files, and its base."""
    digest = hashlib.sha256(base_id.encode())
    for path in sorted((IMAGES / name).rglob("*")):
        if path.is_file() and not any(part in IGNORED for part in path.parts):
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(f"\0{path.relative_to(IMAGES)}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def inspect(references: list[str]) -> dict[str, dict[str, Any]]:
    """What the engine knows of those images that it has, by reference."""
    done = docker("image", "inspect", *references)
    if done.returncode and "no such image" not in done.stderr.lower():
        raise BuildError(f"the Docker engine does not answer: {done.stderr.strip()}")
    wanted = set(references)
    return {tag: image for image in json.loads(done.stdout) for tag in image["RepoTags"] if tag in wanted}


def build(name: str, content: str) -> None:
    """Build one image; on failure show the build's own output."""
    dockerfile = (IMAGES / name / "Dockerfile").read_text(encoding="utf-8")
    passed = [key for key in PASSED_ON if os.environ.get(key)]
    passed += [key for key in OF_PIP if os.environ.get(key) and f"ARG {key}" in dockerfile]
    arguments = [part for key in passed for part in ("--build-arg", key)]
    done = docker("build", "--label", f"{LABEL}={content}", "--tag", reference(name), *arguments, str(IMAGES / name))
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise BuildError(f"{reference(name)} could not be built; see the lines above.")


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the docker command; the classic builder needs no plug-in."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise BuildError("the command docker is not installed: run scripts/ensure_engine.sh first.") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
