"""A task reads one configuration of a project that may have thousands: it finds what a look at the whole finds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder
from tests.unit.project.test_project_directory import entry, manifest

from docker_runner.errors import ConfigurationError, RunnerError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import FLOW_COMPONENTS, VARIABLES_COMPONENT, Key
from docker_runner.project.folder_entries import FolderEntries

BAKERY = Path(__file__).parents[2] / "projects" / "bakery"
VARIABLES = {"type": "variablesFor", "componentId": "vendor.ex-foo"}
Open = Callable[[], Project]


def found(project: Project, key: Key) -> Any:
    """All that a task asks a project about a configuration."""
    try:
        read = project.flow if key[0] in FLOW_COMPONENTS else project.configuration
        return project.has(key), read(*key), project.children(key, VARIABLES_COMPONENT), project.belongs(key)
    except RunnerError as error:
        return str(error)


def differing(one: Open, whole: Open, keys: Iterable[Key] = ()) -> list[Key]:
    """The configurations of which a new look at them alone finds something else than one after a look at all."""
    known = whole()
    known.configurations_of(VARIABLES_COMPONENT)
    return [key for key in (*known.runnable(), *keys) if found(one(), key) != found(known, key)]


@pytest.mark.parametrize("has_manifest", [True, False])
def test_each_configuration_and_flow_of_a_pulled_project_is_the_same_read_alone(
    tmp_path: Path, has_manifest: bool
) -> None:
    folder = tmp_path / "bakery"
    shutil.copytree(BAKERY, folder)
    if not has_manifest:
        shutil.rmtree(folder / ".keboola")
    assert differing(lambda: Project(folder, was_read=True), lambda: Project(folder)) == []
    path = "_shared/keboola.python-transformation-v2"
    assert Project(folder, was_read=True).at(path) == Project(folder).at(path) is not None


@pytest.mark.parametrize("ignored", ["", "vendor.ex-foo/2\n"])
@pytest.mark.parametrize("needs_whole", [False, True], ids=["plain", "with escapes"])
def test_whatever_a_manifest_says_of_a_configuration_is_found_without_the_others(
    built: ProjectBuilder, ignored: str, needs_whole: bool
) -> None:
    others = [{**entry("vendor.ex-foo", f"other-{number}", "extractor/x"), "branchId": 2} for number in range(100)]
    items = [
        *others,
        # Found for its parent's id; the first of two in the manifest's order counts, whichever was decoded first.
        entry("keboola.variables", "1st", "a", relations=[{**VARIABLES, "configId": "2nd"}]),
        entry("keboola.variables", "2nd", "b", relations=[{**VARIABLES, "configId": 2}]),
        entry("keboola.variables", "1", "c", relations=[{**VARIABLES, "configId": 2}]),
        entry("vendor.ex-foo", 2, "extractor/vendor.ex-foo/two"),
        entry("vendor.ex-foo", "2nd", "extractor/vendor.ex-foo/other"),
        entry("vendor.ex-foo", "é 3", "extractor/vendor.ex-foo/three"),
        entry("vendor.ex-foo", "twice", "extractor/vendor.ex-foo/four"),
        entry("vendor.ex-foo", "twice", "extractor/vendor.ex-foo/five"),
        {**entry("vendor.ex-foo", "nowhere", "extractor/vendor.ex-foo/six"), "branchId": 9},
        {**entry("vendor.ex-foo", 2, "extractor/vendor.ex-foo/seven"), "branchId": 9},
        entry("vendor.ex-foo", 1.5, "extractor/vendor.ex-foo/eight"),
        entry("vendor.ex-foo", "", "extractor/vendor.ex-foo/nine"),
        7,
    ]
    file = built.write(".keboola/manifest.json", manifest(*items))
    if not needs_whole:
        file.write_text(file.read_text().replace("\\u00e9", "é"), encoding="utf-8")
    for name in ("two", "other", "three", "four"):
        built.write(f"main/extractor/vendor.ex-foo/{name}/config.json", {"parameters": {"of": name}})
    built.write(".keboola/.kbcignore", ignored)

    keys = [("vendor.ex-foo", name) for name in ("nothing", "é", "ex-foo", "", "nowhere")]
    keys += [(VARIABLES_COMPONENT, name) for name in ("1", "1st", "2nd")]
    directory = built.directory
    assert differing(lambda: Project(directory, was_read=True), lambda: built.project, keys) == []


def test_whatever_is_asked_first_several_come_in_the_manifests_order(built: ProjectBuilder) -> None:
    items = [
        entry("keboola.variables", "first", "b", relations=[{**VARIABLES, "configId": "own"}]),
        entry("keboola.variables", "last", "c", relations=[{**VARIABLES, "configId": "own"}]),
        entry("vendor.ex-foo", "other", "extractor/vendor.ex-foo/other"),
        entry("vendor.ex-foo", "own", "extractor/vendor.ex-foo/own"),
    ]
    built.write(".keboola/manifest.json", manifest(*items))
    own = ("vendor.ex-foo", "own")

    def variables(task: Project) -> list[str]:
        return [child.key[1] for child in task.children(own, VARIABLES_COMPONENT)]

    task = Project(built.directory, was_read=True)
    assert variables(task) == ["first", "last"]
    task = Project(built.directory, was_read=True)
    assert task.entry(VARIABLES_COMPONENT, "last").parent == own
    assert variables(task) == ["first", "last"]
    assert task.configurations_of(VARIABLES_COMPONENT) == built.project.configurations_of(VARIABLES_COMPONENT)
    assert task.runnable() == built.project.runnable()


def test_a_task_decodes_no_more_of_a_manifest_than_it_asks_for(built: ProjectBuilder) -> None:
    too_large = entry("vendor.ex-foo", "other", "extractor/vendor.ex-foo/other", size="SIZE")
    own = entry("vendor.ex-foo", "own", "extractor/vendor.ex-foo/own")
    file = built.write(".keboola/manifest.json", manifest(too_large, own))
    file.write_text(file.read_text().replace('"SIZE"', "1e999"))
    built.write("main/extractor/vendor.ex-foo/own/config.json", {"parameters": {"a": 1}})
    task = Project(built.directory, was_read=True)
    assert task.configuration("vendor.ex-foo", "own").configuration == {"parameters": {"a": 1}}
    with pytest.raises(ConfigurationError, match=r"manifest\.json: .*a number is too large"):
        task.configuration("vendor.ex-foo", "other")


def test_without_a_manifest_a_configuration_is_found_without_a_look_at_all_others(
    built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.configuration({"parameters": {"a": 1}}, rows={"b": {}, "a": {}})
    built.variables(["v"], {"default": {"v": "x"}})
    monkeypatch.setattr(FolderEntries, "_folders", property(lambda _: pytest.fail("It has looked at all of them.")))
    task = built.project
    assert task.has(("vendor.ex-foo", "main"))
    configuration = task.configuration("vendor.ex-foo", "main")
    assert [row.id for row in configuration.rows] == ["a", "b"]
    name = configuration.configuration["variables_id"]
    assert task.entry(VARIABLES_COMPONENT, name).parent == ("vendor.ex-foo", "main")
    monkeypatch.undo()
    assert built.project.entry(VARIABLES_COMPONENT, name).parent == ("vendor.ex-foo", "main")


def test_without_a_manifest_what_lies_at_a_path_is_found_without_a_look_at_all_others(
    built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.configuration()
    built.write("main/_shared/vendor.python/config.json", {})
    built.write("main/_shared/vendor.python/codes/one/config.json", {})
    monkeypatch.setattr(FolderEntries, "_folders", property(lambda _: pytest.fail("It has looked at all of them.")))
    assert built.project.at("extractor/vendor.ex-foo/main") == ("vendor.ex-foo", "main")
    shared = built.project.at("_shared/vendor.python")
    assert shared is not None
    assert [code_id for code_id, _ in built.project.entry(*shared).rows] == ["one"]


def test_without_a_manifest_what_can_be_no_name_of_a_folder_is_no_configuration(built: ProjectBuilder) -> None:
    built.configuration({}, rows={"a": {}})
    for folder in ("main", "main/extractor", "main/extractor/vendor.ex-foo"):
        built.write(f"{folder}/config.json", {})
    for name in ("..", ".", "", "main/rows/a", "../vendor.ex-foo/main", "x" * 300, "\0", "\ud800"):
        assert not built.project.has(("vendor.ex-foo", name))
    assert not built.project.has(("..", "vendor.ex-foo"))
    built.write(".keboola/.kbcignore", "vendor.ex-foo/main\n")
    assert not built.project.has(("vendor.ex-foo", "main"))


def test_without_a_manifest_of_two_folders_with_the_same_ids_the_last_counts(built: ProjectBuilder) -> None:
    for kind in ("writer", "extractor"):
        built.write(f"main/{kind}/vendor.ex-foo/main/config.json", {"parameters": {"kind": kind}})
    task, whole = built.project, built.project
    assert whole.configurations() == [("vendor.ex-foo", "main")]
    for project in (task, whole):
        assert project.configuration("vendor.ex-foo", "main").configuration["parameters"] == {"kind": "writer"}
        assert project.at("extractor/vendor.ex-foo/main") is None
