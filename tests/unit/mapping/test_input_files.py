"""Input mapping of files, against a real lake."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import mapping, write

from docker_runner.errors import ApplicationError, ConfigurationError
from docker_runner.mapping.input_files import FileReader, file_states, tags_to_add
from docker_runner.storage.base import Commit, FileQuery, FileUpload, Storage, StoredFile
from docker_runner.storage.lake.lake import Lake

Fetch = Callable[..., list[dict[str, Any]]]
Store = Callable[..., StoredFile]
LOG = logging.getLogger("docker_runner")


def state(*files: dict[str, Any]) -> dict[str, Any]:
    return {"storage": {"input": {"files": list(files)}}}


def ids(loaded: list[dict[str, Any]]) -> list[list[int]]:
    return [[file["id"] for file in item["files"]] for item in loaded]


@pytest.fixture
def fetch(lake: Storage, tmp_path: Path) -> Fetch:
    def load(*items: dict[str, Any], known: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        reader = FileReader(storage=lake, folder=folder, state=known or {}, log=LOG, **more)
        return reader.load(mapping("input", "files", *items))

    return load


@pytest.mark.rules("IF-20", "IF-25", "IF-28")
@pytest.mark.parametrize("extension", ["json", "yml"])
def test_files_are_written_with_manifests_newest_first(
    store: Store, fetch: Fetch, tmp_path: Path, extension: str
) -> None:
    old, new = store("a.txt", "x"), store("b.txt", "x", "y")
    done = fetch({"tags": ["y"]}, {"tags": ["x"]}, extension=extension)
    assert ids(done) == [[new.id], [new.id, old.id]]
    written = tmp_path / "in" / f"{new.id}_{new.name}"
    assert written.read_text() == "content of b.txt"
    assert done[0]["files"][0]["destination"] == f"in/files/{written.name}"
    text = Path(f"{written}.manifest").read_text()
    assert (json.loads(text) if extension == "json" else yaml.safe_load(text)) == {
        "id": new.id,
        "name": new.name,
        "created": new.created.strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "is_public": False,
        "is_encrypted": True,
        "is_sliced": False,
        "tags": ["x", "y"],
        "max_age_days": 15,
        "size_bytes": 16,
    }


@pytest.mark.rules("IF-26", "IF-28")
@pytest.mark.parametrize("slices", [("part1", "part2"), ()])
def test_a_sliced_file_becomes_a_folder(lake: Storage, fetch: Fetch, tmp_path: Path, slices: tuple[str, ...]) -> None:
    (tmp_path / "sliced").mkdir()
    for name in slices:
        write(tmp_path / "sliced" / name, name * 2)
    upload = FileUpload(tmp_path / "sliced", "s.csv", ("x",), is_permanent=True)
    (file,) = lake.commit(Commit("sliced", files=(upload,))).files
    for _ in range(2):
        fetch({"tags": ["x"]})
        target = tmp_path / "in" / f"{file.id}_{file.name}"
        assert {path.name: path.read_text() for path in target.iterdir()} == {name: name * 2 for name in slices}
    manifest = json.loads(Path(f"{target}.manifest").read_text())
    assert (manifest["is_sliced"], manifest["max_age_days"]) == (True, 0)


@pytest.mark.rules("IF-1", "IF-2", "IF-5", "IF-14", "IF-20")
def test_tags_are_all_needed_and_excluded_ones_must_not_be_there(store: Store, fetch: Fetch) -> None:
    both, one, other = store("1", "a", "b"), store("2", "a"), store("3", "c")
    assert ids(fetch({"tags": ["a"]})) == [[one.id, both.id]]
    assert ids(fetch({"tags": ["a", "b"]})) == [[both.id]]
    assert ids(fetch({"tags": ["a"], "limit": 1})) == [[one.id]]
    assert ids(fetch({"tags": ["a"], "limit": 0})) == [[]]
    include, exclude = {"name": "a", "match": "include"}, {"name": "b", "match": "exclude"}
    assert ids(fetch({"source": {"tags": [include, exclude]}})) == [[one.id]]
    assert ids(fetch({"source": {"tags": [exclude]}})) == [[other.id, one.id]]


@pytest.mark.rules("IF-21")
def test_without_a_limit_the_newest_hundred_are_taken(lake: Storage, fetch: Fetch, tmp_path: Path) -> None:
    source = write(tmp_path / "file", "x")
    stored = lake.commit(Commit("many", files=tuple(FileUpload(source, f"f{n}", ("x",)) for n in range(101)))).files
    newest = sorted((file.id for file in stored), reverse=True)
    assert ids(fetch({"tags": ["x"]})) == [newest[:100]]
    assert ids(fetch({"tags": ["x"], "limit": 101})) == [newest]
    assert ids(fetch({"file_ids": newest})) == [newest]


@pytest.mark.rules("IF-31")
def test_a_file_that_two_items_select_is_there_once_and_counts_for_both(
    store: Store, fetch: Fetch, tmp_path: Path
) -> None:
    file = store("a.txt", "x", "y")
    done = fetch({"tags": ["x"]}, {"tags": ["y"]})
    assert ids(done) == [[file.id], [file.id]]
    assert len(list((tmp_path / "in").iterdir())) == 2
    assert [entry["lastImportId"] for entry in file_states(done, {})] == [str(file.id)] * 2


@pytest.mark.rules("IF-8", "IF-22")
def test_a_moment_gives_files_created_then_or_later(store: Store, fetch: Fetch) -> None:
    first = store("a.txt", "x")
    second = store("b.txt", "x")
    assert ids(fetch({"tags": ["x"], "changed_since": second.created.isoformat()})) == [[second.id]]
    assert ids(fetch({"tags": ["x"], "changed_since": "-1 hour"})) == [[second.id, first.id]]
    assert ids(fetch({"tags": ["x"], "changed_since": "+1 hour"})) == [[]]


@pytest.mark.rules("IF-8", "IF-22", "IF-24")
def test_an_adaptive_load_gives_new_files_only_and_keeps_its_state_when_there_are_none(
    store: Store, fetch: Fetch
) -> None:
    item = {"tags": ["x"], "changed_since": "adaptive"}
    older, first = store("0.txt", "x"), store("a.txt", "x")
    done = fetch(item)
    assert ids(done) == [[first.id, older.id]]
    states = file_states(done, {})
    assert states == [{"tags": [{"name": "x"}], "lastImportId": str(first.id)}]
    nothing = fetch(item, known=state(*states))
    assert ids(nothing) == [[]]
    assert file_states(nothing, state(*states)) == states
    second = store("b.txt", "x")
    more = fetch(item, known=state(*states))
    assert ids(more) == [[second.id]]
    assert file_states(more, state(*states))[0]["lastImportId"] == str(second.id)


@pytest.mark.rules("IF-23")
@pytest.mark.parametrize(
    ("options", "known", "is_found"),
    [
        ({"tags": ["a", "b"]}, [{"name": "a"}, {"name": "b"}], True),
        ({"tags": ["b", "a"]}, [{"name": "a"}, {"name": "b"}], False),
        ({"tags": ["a"]}, [{"name": "a"}, {"name": "b"}], False),
        ({"source": {"tags": [{"name": "a"}]}}, [{"match": "include", "name": "a"}], True),
        ({"source": {"tags": [{"name": "a"}]}}, [{"name": "a"}], False),
        ({"source": {"tags": [{"name": "a"}]}}, [{"name": "a", "match": "exclude"}], False),
    ],
)
def test_state_is_found_by_exactly_the_same_tags(
    store: Store, fetch: Fetch, options: dict[str, Any], known: Any, is_found: bool
) -> None:
    file = store("a.txt", "a", "b")
    remembered = state({"tags": known, "lastImportId": str(file.id)})
    assert ids(fetch({**options, "changed_since": "adaptive"}, known=remembered)) == [[] if is_found else [file.id]]


def test_a_stored_id_that_is_none_is_told(fetch: Fetch) -> None:
    remembered = state({"tags": [{"name": "a"}], "lastImportId": "x"})
    with pytest.raises(ConfigurationError, match="lastImportId in the state: Must be the id of a file, not 'x'"):
        fetch({"tags": ["a"], "changed_since": "adaptive"}, known=remembered)


@pytest.mark.rules("IF-24", "IF-32")
def test_items_that_find_nothing_do_not_multiply_the_state(fetch: Fetch) -> None:
    known = state({"tags": [{"name": "x"}], "lastImportId": "5"}, {"tags": [{"name": "gone"}], "lastImportId": "1"})
    loaded = fetch({"tags": ["x"]}, {"tags": ["x"]}, {"tags": ["never"]})
    once = file_states(loaded, known)
    assert once == [{"tags": [{"name": "x"}], "lastImportId": "5"}] * 2
    assert file_states(loaded, state(*once)) == once


@pytest.mark.rules("IF-24")
def test_files_that_are_not_found_by_tags_are_remembered_without_tags(store: Store, fetch: Fetch) -> None:
    file = store("a.txt", "x")
    assert file_states(fetch({"file_ids": [file.id]}), {}) == [{"tags": [], "lastImportId": str(file.id)}]


@pytest.mark.rules("IF-24")
def test_a_load_that_is_not_adaptive_is_remembered_too(store: Store, fetch: Fetch) -> None:
    file = store("a.txt", "x")
    assert file_states(fetch({"tags": ["x"], "limit": 1}), {})[0]["lastImportId"] == str(file.id)


@pytest.mark.rules("IF-4", "IF-32")
def test_files_by_id_are_exactly_these_and_a_missing_one_is_told(
    store: Store, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    file, _ = store("a.txt", "x"), store("b.txt", "x")
    assert ids(fetch({"file_ids": [file.id, 4711, file.id]})) == [[file.id]]
    assert "There is no file 4711 in Storage." in caplog.messages


@pytest.mark.rules("IF-25")
def test_a_name_that_is_too_long_for_a_file_keeps_its_beginning_and_its_ending(
    store: Store, fetch: Fetch, tmp_path: Path
) -> None:
    file = store("é" * 200 + ".csv", "x")
    fetch({"tags": ["x"]})
    (manifest,) = (tmp_path / "in").glob("*.manifest")
    assert manifest.name.startswith(f"{file.id}_")
    assert manifest.name.endswith(".csv.manifest")
    assert json.loads(manifest.read_text())["name"] == file.name


@pytest.mark.rules("IF-27", "LC-44")
def test_a_download_that_fails_is_an_application_error(
    store: Store, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store("a.txt", "x")
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "files", lambda self, query: [StoredFile(99, "gone", file.created, ("x",), 1)])
        with pytest.raises(
            ApplicationError, match=r"The file gone \(99\) could not be downloaded: There is no file 99"
        ):
            fetch({"tags": ["x"]})
    (tmp_path / "in" / f"{file.id}_{file.name}.manifest").mkdir()
    with pytest.raises(ApplicationError, match=r"could not be downloaded: .*Is a directory"):
        fetch({"tags": ["x"]})


def test_the_log_names_every_file_and_the_end(store: Store, fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
    file = store("a.txt", "x")
    with caplog.at_level(logging.INFO):
        fetch()
        fetch({"tags": ["x"]})
    assert caplog.messages == [f"Fetched file {file.id}_a.txt: 16 bytes.", "All files were fetched."]


def processed(lake: Storage, loaded: list[dict[str, Any]], *items: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    return tags_to_add(mapping("input", "files", *items), loaded, storage=lake, log=LOG)


@pytest.mark.rules("IF-7", "IF-29")
def test_processed_tags_go_to_what_was_read_and_to_what_the_same_options_find_now(
    lake: Storage, store: Store, fetch: Fetch
) -> None:
    item = {"tags": ["x"], "processed_tags": ["done", 1], "changed_since": "adaptive", "limit": 2}
    old, known, read = store("0", "x"), store("1", "x"), store("2", "x")
    other = {"tags": ["x"]}
    loaded = fetch(item, other, known=state({"tags": [{"name": "x"}], "lastImportId": str(known.id)}))
    assert ids(loaded) == [[read.id], [read.id, known.id, old.id]]
    assert processed(lake, loaded, item, other) == {read.id: ("done", "1"), known.id: ("done", "1")}
    late = [store("3", "x"), store("4", "x")]
    tagged = processed(lake, loaded, item, other)
    assert set(tagged) == {read.id, *(file.id for file in late)}


@pytest.mark.rules("IF-7", "IF-29")
def test_a_file_that_two_items_have_read_gets_the_tags_of_both(lake: Storage, store: Store, fetch: Fetch) -> None:
    file = store("a", "x", "y")
    items = ({"tags": ["x"], "processed_tags": ["p", "q"]}, {"tags": ["y"], "processed_tags": ["q", "r"]})
    assert processed(lake, fetch(*items), *items) == {file.id: ("p", "q", "r")}


@pytest.mark.rules("IF-7")
def test_files_that_were_removed_meanwhile_are_not_tagged(lake: Storage, store: Store, fetch: Fetch) -> None:
    store("a", "x")
    item = {"tags": ["x"], "processed_tags": ["p"]}
    loaded = fetch(item)
    loaded[0]["files"][0]["id"] = 4711
    assert 4711 not in processed(lake, loaded, item)


@pytest.mark.rules("IF-2", "IF-7", "IF-29")
def test_files_are_read_once_when_what_is_processed_is_excluded(lake: Storage, store: Store, fetch: Fetch) -> None:
    item = {
        "source": {"tags": [{"name": "x"}, {"name": "done", "match": "exclude"}]},
        "processed_tags": ["done"],
    }
    file = store("a", "x")
    loaded = fetch(item)
    lake.commit(Commit("tags", add_file_tags=processed(lake, loaded, item)))
    assert lake.files(FileQuery(ids=(file.id,)))[0].tags == ("x", "done")
    assert ids(fetch(item)) == [[]]
