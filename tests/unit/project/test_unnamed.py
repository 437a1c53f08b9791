"""Folders that look like configurations, in projects whose manifest does not name them."""

from __future__ import annotations

from typing import Any

from tests.builders import ProjectBuilder

FOLDER = "extractor/vendor.ex-foo"


def item(config_id: str, **more: Any) -> dict[str, Any]:
    path = f"{FOLDER}/{config_id}"
    return {"branchId": 1, "componentId": "vendor.ex-foo", "id": config_id, "path": path, **more}


def manifest(built: ProjectBuilder, *configurations: Any, **more: Any) -> None:
    branches = [{"id": 1, "path": "main"}, {"id": 2, "path": "dev"}]
    built.write(".keboola/manifest.json", {"branches": branches, "configurations": [*configurations], **more})


def unnamed(built: ProjectBuilder) -> list[str]:
    return [str(folder.relative_to(built.directory / "main")) for folder in built.project.unnamed()]


def test_folders_with_a_configuration_or_a_row_that_the_manifest_does_not_name_are_told(built: ProjectBuilder) -> None:
    built.configuration({}, config_id="named", rows={"1": {}, "2": {}})
    built.configuration({}, config_id="other", rows={"1": {}})
    built.variables(["a"], {"default": {"a": "b"}}, config_id="named")
    for path in ("transformation/deep/er/x", "x"):
        built.write(f"main/{path}/config.json", {})
    for path in (
        "main/.git/x/config.json",
        "dev/extractor/vendor.ex-foo/new/config.json",
        f"main/{FOLDER}/notes/a.json",
    ):
        built.write(path, {})
    variables = {"branchId": 1, "componentId": "keboola.variables", "id": "v", "path": "variables"}
    relation = {"componentId": "vendor.ex-foo", "configId": "named", "type": "variablesFor"}
    values = [{"id": "d", "path": "values/default"}]
    manifest(
        built,
        item("named", rows=[{"id": "1", "path": "rows/1"}]),
        {**variables, "rows": values, "relations": [relation]},
    )
    assert unnamed(built) == [f"{FOLDER}/named/rows/2", f"{FOLDER}/other", "transformation/deep/er/x", "x"]


def test_what_shows_itself_as_broken_or_is_ignored_is_not_told_once_more(built: ProjectBuilder) -> None:
    for config_id in ("a", "a-again", "nowhere", "wrong", "ignored", "named"):
        built.configuration({}, config_id=config_id, rows={"1": {}})
    built.write(f"main/{FOLDER}/a/schedules/s/config.json", {})
    built.write("main/extractor/vendor.gone/x/config.json", {})
    built.write(".keboola/.kbcignore", "vendor.ex-foo/ignored\nvendor.ex-foo/named/1\n")
    relation = {"componentId": "vendor.ex-foo", "configId": "named", "type": "schedulerFor"}
    schedule = {"branchId": 1, "componentId": "keboola.scheduler", "id": [], "path": "s", "relations": [relation]}
    built.write(f"main/{FOLDER}/named/s/config.json", {})
    manifest(
        built,
        item("a"), {**item("a"), "path": f"{FOLDER}/a-again"},
        {**item("nowhere"), "branchId": 3}, {**item("wrong"), "rows": 7},
        item("ignored"), item("named", rows=[{"id": 1, "path": "rows/1"}]), schedule, 7,
        ignoredComponents=["vendor.gone"],
    )  # fmt: skip
    assert unnamed(built) == []


def test_without_a_manifest_every_folder_names_itself(built: ProjectBuilder) -> None:
    built.configuration({})
    built.write("main/x/config.json", {})
    assert unnamed(built) == []
