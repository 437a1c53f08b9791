"""Output mapping of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.builders import mapping, write

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.mapping.output_files import file_uploads, system_tags, table_file_uploads
from docker_runner.storage.base import Commit, FileQuery, FileUpload, Storage, TableLoad


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = tmp_path / "out/files"
    files.mkdir(parents=True)
    return files


def uploads(folder: Path, *items: dict[str, Any], tags: tuple[str, ...] = (), **more: Any) -> list[FileUpload]:
    return file_uploads(mapping("output", "files", *items), folder=folder, system_tags=tags, **more)


@pytest.mark.rules("OF-1", "OF-2", "OF-3")
def test_every_file_is_uploaded_with_defaults_and_folders_and_dot_files_are_not(folder: Path) -> None:
    for name in ("b", "a.txt", ".hidden", "folder/c"):
        write(folder / name, "")
    found = uploads(folder)
    assert [file.name for file in found] == ["a.txt", "b"]
    assert (found[0].tags, found[0].is_public, found[0].is_permanent, found[0].is_encrypted) == ((), False, False, True)


@pytest.mark.rules("OF-3")
def test_a_mapping_replaces_the_manifest_as_a_whole_and_the_last_one_wins(folder: Path) -> None:
    write(folder / "a", "")
    write(folder / "a.manifest", {"tags": ["manifest"], "is_permanent": True})
    (by_manifest,) = uploads(folder)
    assert (by_manifest.tags, by_manifest.is_permanent, by_manifest.is_encrypted) == (("manifest",), True, True)
    (mapped,) = uploads(folder, {"source": "a", "is_public": True}, {"source": "a", "tags": ["last", None, 5]})
    assert (mapped.tags, mapped.is_permanent, mapped.is_public) == (("last", "5"), False, False)


@pytest.mark.rules("OF-2", "CD-11")
def test_a_manifest_may_be_yaml(folder: Path) -> None:
    write(folder / "a", "")
    write(folder / "a.manifest", "tags: [x]\nis_encrypted: false\n")
    (file,) = uploads(folder, extension="yml")
    assert (file.tags, file.is_encrypted) == (("x",), False)


@pytest.mark.rules("OF-4", "OF-10")
@pytest.mark.parametrize("source", ["missing", "folder", "folder/c", "A"])
def test_a_mapped_file_that_was_not_written_is_named(folder: Path, source: str) -> None:
    write(folder / "a", "")
    write(folder / "folder/c", "")
    with pytest.raises(ConfigurationError, match=r"files\[1\]\.source: .* did not write out/files/.*; it wrote: a\."):
        uploads(folder, {"source": "a"}, {"source": source})


@pytest.mark.rules("OF-2", "OF-4")
@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ("{", "not valid JSON"),
        ('{"tag": []}', "Unknown key 'tag'; did you mean 'tags'"),
        ('{"tags": "a"}', "Must be a list"),
    ],
)
def test_a_wrong_manifest_names_its_file(folder: Path, manifest: str, problem: str) -> None:
    write(folder / "a", "")
    write(folder / "a.manifest", manifest)
    with pytest.raises(ConfigurationError, match=rf"out/files/a\.manifest: .*{problem}"):
        uploads(folder)


@pytest.mark.rules("OF-1", "OF-4")
def test_orphaned_manifests_links_and_pipes_are_refused(folder: Path, tmp_path: Path) -> None:
    write(folder / "gone.manifest", "{}")
    with pytest.raises(ConfigurationError, match=r"no data beside them: gone\.manifest"):
        uploads(folder)
    (folder / "gone.manifest").unlink()
    (folder / "a").symlink_to(write(tmp_path / "secret", ""))
    with pytest.raises(ConfigurationError, match="Only regular files"):
        uploads(folder)
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    with pytest.raises(ConfigurationError, match="Only regular files"):
        uploads(folder)


@pytest.mark.rules("OF-5", "OF-6")
def test_system_tags_tell_where_a_file_comes_from(folder: Path, lake: Storage) -> None:
    write(folder / "a.txt", "content")
    tags = system_tags("vendor.ex-foo", "main", "r1", "42")
    assert tags == ["componentId: vendor.ex-foo", "configurationId: main", "configurationRowId: r1", "runId: 42"]
    assert system_tags("c", "", "", "") == ["componentId: c", "configurationId: ", "runId: "]
    mapped = {"source": "a.txt", "tags": ["x", "x", "runId: 42"]}
    (upload,) = uploads(folder, mapped, tags=tuple(tags))
    assert upload.tags == ("x", "runId: 42", *tags[:-1])
    lake.commit(Commit("key", files=(upload,)))
    (stored,) = lake.files(FileQuery(tags=("x",)))
    assert (stored.name, sorted(stored.tags)) == ("a.txt", sorted({"x", *tags}))


@pytest.mark.rules("OF-7", "BR-8")
def test_in_a_development_branch_all_tags_carry_its_id(folder: Path) -> None:
    write(folder / "a.txt", "")
    write(folder / "a.txt.manifest", {"tags": ["x"]})
    (file,) = uploads(folder, tags=("runId: 1",), branch="123")
    assert file.tags == ("123-x", "123-runId: 1")


@pytest.mark.rules("OF-20", "CF-28")
def test_tables_become_files_with_options_of_their_own_and_manifests_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "out/tables"
    write(folder / "t.csv", "id\n1\n")
    write(folder / "t.csv.manifest", "{ a table's")
    write(folder / "sliced/a", "1\n")

    def uploaded(options: dict[str, Any]) -> FileUpload:
        (file,) = table_file_uploads(options, folder=folder, system_tags=("runId: 1",), branch="123")
        return file

    plain = uploaded({})
    assert (plain.name, plain.tags, plain.is_permanent, plain.is_public) == ("t.csv", ("123-runId: 1",), True, False)
    own = uploaded({"tags": ["x", 5], "is_permanent": False})
    assert (own.tags, own.is_permanent) == (("123-x", "123-5", "123-runId: 1"), False)


@pytest.mark.rules("OF-8")
def test_a_file_that_storage_refuses_is_named_and_nothing_is_stored(folder: Path, lake: Storage) -> None:
    write(folder / "good", "")
    write(folder / "bad", "")
    table = TableLoad("out.c-main.t", write(folder.parent / "t.csv", "id\n1\n"))
    files = uploads(folder)
    (folder / "bad").unlink()
    with pytest.raises(UserError, match=r"^File bad: "):
        lake.commit(Commit("key", (table,), tuple(files)))
    assert (lake.tables(), lake.files(FileQuery())) == ([], [])
    write(folder / "bad", "")
    lake.commit(Commit("key", (table,), tuple(files)))
    assert [file.name for file in lake.files(FileQuery())] == ["good", "bad"]
    assert [table.id for table in lake.tables()] == ["out.c-main.t"]
