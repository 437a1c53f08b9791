"""Contents of stored files: put in place before the transaction that makes them known."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from docker_runner.errors import UserError
from docker_runner.storage.base import FileUpload, StoredFile
from docker_runner.storage.lake.csv_source import source_files
from docker_runner.storage.lake.object_storage import ObjectStorage
from docker_runner.written_whole import written_file, written_folder

MAX_AGE_DAYS = 15
"""Age at which files that are not permanent may be removed (OF-5)."""

_CHUNK_BYTES = 8 << 20
_LONGEST_NAME_BYTES = 500
_MAX_PARTS = 9000  # object storage takes 10,000


class Contents(Protocol):
    """Where contents are kept. A path is ``ab/abcdef…``; a sliced file is a folder of its slices."""

    def write(self, source: Path, path: str) -> int:
        """Copy a file to a path; gives its size in bytes. It survives the machine when this returns."""

    def make_folder(self, path: str) -> None:
        """Have a folder at a path, also when nothing will be written to it."""

    def fetch(self, path: str, target: Path, *, sliced: bool) -> None:
        """Write a content to a file, or a sliced one to a folder that is new or empty, whole or not at all."""

    def remove(self, path: str) -> None:
        """Remove a content, if it is there."""

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Paths of all contents of which nothing was written since."""


@dataclass(frozen=True)
class StoredContent:
    """The content of a new file, in place.

    Attributes:
        path: where it lies in ``contents``; a sliced file is a folder.
    """

    upload: FileUpload
    contents: Contents
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
            owner=self.upload.owner,
        )

    def remove(self) -> None:
        """Remove the content again."""
        self.contents.remove(self.path)


def store(contents: Contents, upload: FileUpload) -> StoredContent:
    """Copy a file, or a folder of slices, to where contents are kept.

    Raises:
        UserError: the source does not exist or is no regular file, the name cannot be a file's name, or a tag is empty.
    """
    if not upload.name or "/" in upload.name or "\0" in upload.name or upload.name in (".", ".."):
        raise UserError(f"{upload.name!r} cannot be the name of a file.")
    if len(upload.name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME_BYTES:
        raise UserError(f"The name of a file has at most {_LONGEST_NAME_BYTES} bytes: {upload.name[:40]}… is longer.")
    if "" in upload.tags:
        raise UserError("A tag must not be empty.")
    sources = source_files(upload.source)
    sliced = upload.source.is_dir()
    key = uuid.uuid4().hex
    path = f"{key[:2]}/{key}"
    try:
        if sliced:
            contents.make_folder(path)
        size = sum(contents.write(source, f"{path}/{source.name}" if sliced else path) for source in sources)
    except BaseException:
        contents.remove(path)
        raise
    return StoredContent(upload, contents, path, size, sliced)


@dataclass(frozen=True)
class FolderContents:
    """Contents in a folder."""

    folder: Path

    def write(self, source: Path, path: str) -> int:
        """Copy a file to a path; gives its size in bytes. It survives the machine when this returns."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reading, target.open("xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
            return writing.tell()

    def make_folder(self, path: str) -> None:
        """Have a folder at a path, also when nothing will be written to it."""
        (self.folder / path).mkdir(parents=True, exist_ok=True)

    def fetch(self, path: str, target: Path, *, sliced: bool) -> None:
        """Write a content to a file, or a sliced one to a folder that is new or empty, whole or not at all."""
        if not sliced:
            with written_file(target) as part:
                shutil.copyfile(self.folder / path, part)
            return
        with written_folder(target) as part:
            shutil.copytree(self.folder / path, part, dirs_exist_ok=True)

    def remove(self, path: str) -> None:
        """Remove a content, if it is there."""
        _remove(self.folder / path)

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Paths of all contents of which nothing was written since."""
        for path in self.folder.glob("*/*"):
            with suppress(FileNotFoundError):  # removed since the folder was read
                if path.stat().st_mtime < moment.timestamp():
                    yield str(path.relative_to(self.folder))


@dataclass(frozen=True)
class ObjectContents:
    """Contents in object storage, below ``files/``. They go both ways in parts, never as a whole in memory."""

    storage: ObjectStorage

    def write(self, source: Path, path: str) -> int:
        """Copy a file to a path; gives its size in bytes. It survives the machine when this returns."""
        import obstore

        size = source.stat().st_size
        with self.storage.errors():
            chunk = max(_CHUNK_BYTES, size // _MAX_PARTS)
            obstore.put(self.storage.store(), f"files/{path}", source, chunk_size=chunk, max_concurrency=4)
        return size

    def make_folder(self, path: str) -> None:
        """There are no folders in object storage."""

    def fetch(self, path: str, target: Path, *, sliced: bool) -> None:
        """Write a content to a file, or a sliced one to a folder that is new or empty, whole or not at all."""
        if not sliced:
            with self.storage.errors(), written_file(target) as part:
                self._download(f"files/{path}", part)
            return
        with self.storage.errors(), written_folder(target) as part:
            for key in self._keys(path):
                self._download(key, part / key.rpartition("/")[2])

    def remove(self, path: str) -> None:
        """Remove a content, if it is there."""
        import obstore

        with self.storage.errors():
            store = self.storage.store()
            # One by one: Google has no call for many.
            for key in [*self._keys(path), f"files/{path}"]:
                with suppress(FileNotFoundError):
                    obstore.delete(store, key)

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Paths of all contents of which nothing was written since."""
        import obstore

        newest: dict[str, datetime] = {}
        with self.storage.errors():
            for batch in obstore.list(self.storage.store(), "files"):
                for item in batch:
                    path = "/".join(item["path"].split("/")[1:3])
                    newest[path] = max(item["last_modified"], newest.get(path, datetime.min.replace(tzinfo=UTC)))
        yield from (path for path, modified in newest.items() if modified < moment)

    def _keys(self, path: str) -> list[str]:
        import obstore

        return [item["path"] for batch in obstore.list(self.storage.store(), f"files/{path}") for item in batch]

    def _download(self, key: str, target: Path) -> None:
        import obstore

        with target.open("wb") as writing:
            for chunk in obstore.get(self.storage.store(), key).stream(min_chunk_size=1 << 20):
                writing.write(chunk)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
