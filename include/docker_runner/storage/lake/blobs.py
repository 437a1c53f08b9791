"""Contents of stored files: put in place before the transaction that makes them known."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.storage.base import FileUpload, StoredFile
from docker_runner.storage.lake.csv_source import source_files

MAX_AGE_DAYS = 15
"""Age at which files that are not permanent may be removed (OF-5)."""


@dataclass(frozen=True)
class StoredContent:
    """The content of a new file, in place.

    Attributes:
        folder: folder of all contents.
        path: where it lies in that folder; a sliced file is a folder.
    """

    upload: FileUpload
    folder: Path
    path: str
    size_bytes: int
    sliced: bool

    def record(self, file_id: int, now: datetime) -> StoredFile:
        """What Storage knows of the file."""
        return StoredFile(
            id=file_id,
            name=self.upload.name,
            created=now,
            tags=tuple(dict.fromkeys(self.upload.tags)),
            size_bytes=self.size_bytes,
            is_public=self.upload.is_public,
            is_permanent=self.upload.is_permanent,
            is_encrypted=self.upload.is_encrypted,
            is_sliced=self.sliced,
            max_age_days=None if self.upload.is_permanent else MAX_AGE_DAYS,
        )

    def remove(self) -> None:
        """Remove the content again."""
        remove(self.folder / self.path)


def store(folder: Path, upload: FileUpload) -> StoredContent:
    """Copy a file, or a folder of slices, to where contents are kept.

    Raises:
        UserError: the source does not exist or is no regular file, or the name cannot be a file's name.
    """
    if not upload.name or "/" in upload.name or "\0" in upload.name or upload.name in (".", ".."):
        raise UserError(f"{upload.name!r} cannot be the name of a file.")
    sources = source_files(upload.source)
    sliced = upload.source.is_dir()
    key = uuid.uuid4().hex
    path = f"{key[:2]}/{key}"
    target = folder / path
    try:
        (target if sliced else target.parent).mkdir(parents=True, exist_ok=True)
        size = sum(_copy(source, target / source.name if sliced else target) for source in sources)
    except BaseException:
        remove(target)
        raise
    return StoredContent(upload, folder, path, size, sliced)


def fetch(content: Path, target: Path) -> None:
    """Write a content to a path; a sliced file becomes a folder. What was there before is replaced."""
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        if content.is_dir():
            shutil.copytree(content, part)
        else:
            shutil.copyfile(content, part)
        if target.is_dir() or content.is_dir():
            remove(target)
        part.replace(target)
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> int:
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())  # a commit that is answered must not lose content with the machine
        return writing.tell()
