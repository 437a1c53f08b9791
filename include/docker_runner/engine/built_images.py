"""Images that the runner has built: found again by their labels, and removed when nobody uses them any more (IG-32).

When an image was last used is written on the image itself, as a tag with the day: every worker of an engine sees it,
and it goes away with the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from docker_runner.engine.client import Engine, engine_errors
from docker_runner.engine.container_spec import LABEL_PREFIX
from docker_runner.engine.dockerfile import BUILT_LABELS
from docker_runner.engine.locks import LockBusyError, one_at_a_time

BUILD_LABEL = f"{LABEL_PREFIX}build"
_USED = re.compile(r":used-(\d{8})$")
# Names that the runner gives; an image that is made from one of its own inherits the labels, but not the names.
_OWN_NAME = re.compile(r"^builder-[0-9a-f]{24}:")
_NO_NAME = "<none>:<none>"


def image_name(build: str) -> str:
    """Name of the image of a build (IG-29).

    Args:
        build: the hash of what it is built from.
    """
    return f"builder-{build[:24]}"


def find_built_image(engine: Engine, build: str) -> Mapping[str, Any] | None:
    """The image of a build as the engine describes it, or None; never one that somebody made from it."""
    wanted = {"label": [*_built_filter(), f"{BUILD_LABEL}={build}"], "reference": f"{image_name(build)}:latest"}
    with engine_errors(engine, "Looking for an image that was built before"):
        found = engine.client.images(filters=wanted)
        return engine.client.inspect_image(found[0]["Id"]) if found else None  # type: ignore[no-untyped-call]


def mark_used(engine: Engine, image_id: str, build: str, *, today: date | None = None) -> None:
    """Write on an image that it is used today.

    Raises:
        EngineError: it is gone.
    """
    from docker.errors import APIError

    day = today or datetime.now(UTC).date()
    tag = f"used-{day:%Y%m%d}"
    name = image_name(build)
    with engine_errors(engine, f"Marking the image {name} as used"):
        engine.client.tag(image_id, name, "latest")
        engine.client.tag(image_id, name, tag)
        for old in engine.client.inspect_image(image_id)["RepoTags"]:  # type: ignore[no-untyped-call]
            if _USED.search(old) and not old.endswith(f":{tag}"):
                try:
                    engine.client.remove_image(old)
                except APIError as error:
                    # Another run marks it at the same time.
                    if error.status_code not in (404, 409):
                        raise


def remove_unused_images(engine: Engine, older_than: timedelta, *, dry_run: bool = False) -> list[str]:
    """Remove images that the runner built and that no run has used for some time.

    Images that a container still uses, that somebody gave a name of their own (also by making one from them), and all
    that the runner did not build, stay.

    Args:
        engine: where they are.
        older_than: how long an image must not have been used; counted from the end of the day of its last use.
        dry_run: remove nothing.

    Returns:
        Ids of the images that are gone, or would be.
    """
    cutoff = datetime.now(UTC) - older_than
    with engine_errors(engine, "Removing images that are not used any more"):
        built = engine.client.images(filters={"label": _built_filter()})
        unused = [image for image in built if _is_unused(engine, image, cutoff)]
        return [image["Id"] for image in unused if dry_run or _remove_unless_taken(engine, image, cutoff)]


def image_lock(build: str) -> str:
    """What is locked while an image is looked for, built, marked as used or removed."""
    return f"the image {image_name(build)}"


def _is_unused(engine: Engine, image: Mapping[str, Any], cutoff: datetime) -> bool:
    if any(not _OWN_NAME.match(name) for name in _names(image)):
        return False
    return _last_used(image) < cutoff and not _has_container(engine, image)


def _remove_unless_taken(engine: Engine, image: Mapping[str, Any], cutoff: datetime) -> bool:
    """Remove an image, unless a run has taken it since it was found unused."""
    build = (image.get("Labels") or {}).get(BUILD_LABEL)
    if build is None:  # of a build that failed: no run can find it
        return _remove(engine, image)
    try:
        with one_at_a_time(image_lock(build), seconds=0, waiting=lambda: None):
            now = [item for item in engine.client.images(filters={"label": [f"{BUILD_LABEL}={build}"]})
                   if item["Id"] == image["Id"] and _is_unused(engine, item, cutoff)]  # fmt: skip
            return bool(now) and _remove(engine, now[0])
    except LockBusyError:
        return False


def _built_filter() -> list[str]:
    return [f"{name}={value}" for name, value in BUILT_LABELS.items()]


def _names(image: Mapping[str, Any]) -> list[str]:
    return [name for name in image.get("RepoTags") or () if name != _NO_NAME]


def _last_used(image: Mapping[str, Any]) -> datetime:
    """The end of the day of the last use; what failed builds left was last used when it was made."""
    days = list(_used_days(image))
    return max(days) + timedelta(days=1) if days else datetime.fromtimestamp(image["Created"], UTC)


def _used_days(image: Mapping[str, Any]) -> Iterator[datetime]:
    for name in _names(image):
        match = _USED.search(name)
        with suppress(ValueError):  # a tag that somebody else made up
            if match:
                yield datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC)


def _has_container(engine: Engine, image: Mapping[str, Any]) -> bool:
    return bool(engine.client.containers(all=True, quiet=True, filters={"ancestor": image["Id"]}))


def _remove(engine: Engine, image: Mapping[str, Any]) -> bool:
    from docker.errors import APIError

    try:
        for name in _names(image) or [image["Id"]]:
            engine.client.remove_image(name)
    except APIError as error:
        # Removed by somebody else, or taken by a container or an image right now.
        if error.status_code not in (404, 409):
            raise
        return False
    return True
