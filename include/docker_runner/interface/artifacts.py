"""Artifacts: files that a component keeps for later runs, its own or others' (AR-1..AR-8)."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from docker_runner.errors import UserError

ARCHIVE = "artifacts.tar.gz"
LARGEST_ARCHIVE_BYTES = 2**30
LARGEST_CONTENT_BYTES = 10 * 2**30
TAG, SHARED_TAG = "artifact", "shared"
_JOB = "jobId-"
_LONGEST_JOB_ID = 200
_UNUSABLE_NAME = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True)
class ArtifactOwner:
    """Whose artifacts: the ids in their tags (AR-7)."""

    branch_id: str
    component_id: str
    config_id: str
    job_id: str
    orchestration_id: str = ""

    def tags(self, *, shared: bool) -> tuple[str, ...]:
        """The tags of what this job stores; shared ones are for the other jobs of its orchestration."""
        more = (SHARED_TAG, f"orchestrationId-{self.orchestration_id}") if shared else ()
        return (TAG, *self.configuration_tags(), f"{_JOB}{self.job_id}", *more)

    def configuration_tags(self) -> tuple[str, ...]:
        """The tags that all jobs of the configuration have in common."""
        return (f"branchId-{self.branch_id}", f"componentId-{self.component_id}", f"configId-{self.config_id}")

    def shared_tags(self) -> tuple[str, ...]:
        """The tags that all shared artifacts of the orchestration have in common."""
        return (f"branchId-{self.branch_id}", SHARED_TAG, f"orchestrationId-{self.orchestration_id}")


def job_folder(tags: Sequence[str]) -> str:
    """Name of the folder for the artifacts of one job, e.g. ``job-123`` (AR-3, D22).

    Raises:
        UserError: the artifact does not tell which job it is of.
    """
    jobs = [tag.removeprefix(_JOB) for tag in tags if tag.startswith(_JOB)]
    if len(jobs) != 1:
        raise UserError(f"it has {len(jobs)} tags {_JOB}…, and must have one.")
    job = jobs[0]
    if not job or "/" in job or "\0" in job or len(job.encode()) > _LONGEST_JOB_ID:
        raise UserError(f"the job in its tag {_JOB}… cannot be the name of a folder.")
    return f"job-{job}"


def pack(folder: Path, archive: Path) -> list[str]:
    """Write the content of a folder, sub-folders included, as ``tar.gz``.

    Args:
        folder: what to pack.
        archive: the file to write.

    Returns:
        What was left out because it is no file and no folder, e.g. links.
    """
    left_out = []
    # A second name of the same file becomes a file of its own.
    with tarfile.open(archive, "w:gz", dereference=True) as target:
        for path, name in _entries(folder):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                target.add(path, arcname=name, recursive=False, filter=_without_owner)
            else:
                left_out.append(name)
    return left_out


def loose_files(folder: Path) -> tuple[list[Path], list[str]]:
    """All files below a folder, and the names of what is neither file nor folder, e.g. links."""
    entries = [(path, name, path.lstat().st_mode) for path, name in _entries(folder)]
    files = [path for path, _, mode in entries if stat.S_ISREG(mode)]
    return files, [name for _, name, mode in entries if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)]


def _entries(folder: Path) -> Iterator[tuple[Path, str]]:
    """Everything below a folder with its relative name; links are not followed."""
    for path in sorted(folder.iterdir()):
        yield path, path.name
        if path.is_dir() and not path.is_symlink():
            yield from ((inner, f"{path.name}/{name}") for inner, name in _entries(path))


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who the worker is on this machine is nobody's business elsewhere."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def unpack(archive: Path, folder: Path) -> list[str]:
    """Write the files and folders of an archive into an empty folder, and nothing else.

    Links, devices and names that lead out of the folder are left out: what is written is made by nobody but this
    function, so no path can lead through a link.

    Args:
        archive: a ``tar`` file, compressed or not.
        folder: where to write.

    Returns:
        The names that were left out.

    Raises:
        UserError: the file is no archive, is broken or is too large.
    """
    left_out = []
    size = 0
    try:
        with tarfile.open(archive, "r:*") as source:
            for entry in source:
                size += entry.size
                if size > LARGEST_CONTENT_BYTES:
                    raise UserError(f"its content is larger than {LARGEST_CONTENT_BYTES} bytes.")
                target = _inside(folder, entry.name)
                if target is None or not (entry.isdir() or entry.isreg()) or not _place(target, entry, source):
                    left_out.append(entry.name)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"it cannot be unpacked: {error}.") from None
    return left_out


def _inside(folder: Path, name: str) -> Path | None:
    """The place of an entry below the folder; None when its name leads out of it."""
    path = PurePosixPath(name)
    return None if path.is_absolute() or ".." in path.parts else folder / path


def _place(target: Path, entry: tarfile.TarInfo, source: tarfile.TarFile) -> bool:
    """Write one entry; false when nothing can have its name, e.g. because a file stands where a folder is needed."""
    try:
        if entry.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return True
        target.parent.mkdir(parents=True, exist_ok=True)
        content = source.extractfile(entry)
        with target.open("wb") as writing:
            if content is not None:
                shutil.copyfileobj(content, writing, 1 << 20)
    except OSError as error:
        if error.errno not in _UNUSABLE_NAME:
            raise
        return False
    target.chmod(0o755 if entry.mode & 0o100 else 0o644)
    return True
