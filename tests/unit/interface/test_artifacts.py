"""Artifacts: their tags, and what an archive may and may not bring."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from tests.builders import write

from docker_runner.errors import UserError
from docker_runner.interface import artifacts
from docker_runner.interface.artifacts import ArtifactOwner, job_folder, loose_files, pack, unpack

OWNER = ArtifactOwner("5", "vendor.ex-foo", "main", "run-1", "o9")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def archive(folder: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(folder / "made.tar.gz", "w:gz") as target:
        for entry, data in entries:
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return folder / "made.tar.gz"


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.rules("AR-7")
def test_tags_tell_whose_an_artifact_is() -> None:
    tags = ("artifact", "branchId-5", "componentId-vendor.ex-foo", "configId-main", "jobId-run-1")
    assert OWNER.tags(shared=False) == tags
    assert OWNER.tags(shared=True) == (*tags, "shared", "orchestrationId-o9")


@pytest.mark.rules("AR-3")
@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (("artifact",), "0 tags"),
        (("jobId-1", "jobId-2"), "2 tags"),
        (("jobId-",), "cannot be the name"),
        (("jobId-../../x",), "cannot be the name"),
        (("jobId-" + "x" * 300,), "cannot be the name"),
    ],
)
def test_an_artifact_of_no_certain_job_is_told(tags: tuple[str, ...], problem: str) -> None:
    assert job_folder(("artifact", "jobId-manual__2026-01-01T00:00:00+00:00")) == (
        "job-manual__2026-01-01T00:00:00+00:00"
    )
    with pytest.raises(UserError, match=problem):
        job_folder(tags)


@pytest.mark.rules("AR-6")
def test_a_folder_comes_back_from_its_archive(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source / "a.txt", "a")
    write(source / "deep/er/b", "b")
    (source / "empty").mkdir()
    (source / "run.sh").write_text("#!")
    (source / "run.sh").chmod(0o4755)
    os.link(source / "a.txt", source / "z.txt")
    (source / "link").symlink_to("/etc/passwd")
    (source / "folder").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    assert pack(source, tmp_path / "a.tar.gz") == ["folder", "link", "pipe"]
    target = tmp_path / "target"
    target.mkdir()
    assert unpack(tmp_path / "a.tar.gz", target) == []
    assert content(target) == {"a.txt": "a", "deep/er/b": "b", "run.sh": "#!", "z.txt": "a"}
    assert (target / "empty").is_dir()
    assert (target / "run.sh").stat().st_mode & 0o7777 == 0o755
    with tarfile.open(tmp_path / "a.tar.gz") as opened:
        assert {(item.uid, item.uname) for item in opened} == {(0, "")}


@pytest.mark.rules("AR-6")
def test_loose_files_are_found_in_sub_folders_too(tmp_path: Path) -> None:
    write(tmp_path / "a", "")
    write(tmp_path / "deep/b", "")
    (tmp_path / "deep/link").symlink_to("/etc/passwd")
    assert loose_files(tmp_path) == ([tmp_path / "a", tmp_path / "deep/b"], ["deep/link"])


@pytest.mark.rules("AR-5")
def test_an_archive_cannot_write_outside_of_its_folder_or_bring_anything_but_files(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "a/b/target"
    target.mkdir(parents=True)
    made = archive(
        tmp_path,
        (entry("../../../outside/up"), b"x"),
        (entry("good/../../x"), b"x"),
        (entry(str(outside / "absolute")), b"x"),
        (entry("link", tarfile.SYMTYPE, str(outside)), b""),
        (entry("link/through"), b"fine"),
        (entry("hard", tarfile.LNKTYPE, str(outside / "absolute")), b""),
        (entry("device", tarfile.CHRTYPE), b""),
        (entry("pipe", tarfile.FIFOTYPE), b""),
        (entry("good"), b"good"),
        (entry("good/below"), b"x"),
        (entry("n" * 300), b"x"),
    )
    left_out = unpack(made, target)
    assert left_out == [
        "../../../outside/up", "good/../../x", str(outside / "absolute"), "link", "hard", "device", "pipe",
        "good/below", "n" * 300,
    ]  # fmt: skip
    assert content(target) == {"good": "good", "link/through": "fine"}
    assert list(outside.iterdir()) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


@pytest.mark.rules("AR-5")
def test_a_broken_or_boundless_archive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = archive(tmp_path, (entry("big"), os.urandom(100_000))).read_bytes()
    target = tmp_path / "target"
    target.mkdir()
    for broken in (b"", b"no archive", whole[:50_000], gzip.compress(b"no tar inside")):
        with pytest.raises(UserError, match="cannot be unpacked"):
            unpack(write(tmp_path / "broken", broken), target)
    monkeypatch.setattr(artifacts, "LARGEST_CONTENT_BYTES", 99_999)
    with pytest.raises(UserError, match="larger than 99999 bytes"):
        unpack(write(tmp_path / "broken", whole), target)
