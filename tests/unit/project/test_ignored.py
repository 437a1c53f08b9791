"""What `kbc` is told to leave alone is not run: `.kbcignore` and ignored components."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.configuration import Project

IGNORE = """
# not ours
vendor.ex-foo/a
vendor.ex-foo/b/2
vendor.ex-foo/b:parameters.token
branch/Old oven
"""


def item(config_id: str, **more: Any) -> dict[str, Any]:
    path = f"extractor/vendor.ex-foo/{config_id}"
    return {"branchId": 1, "componentId": "vendor.ex-foo", "id": config_id, "path": path, **more}


@pytest.fixture(params=["with a manifest", "without"])
def project(request: pytest.FixtureRequest, built: ProjectBuilder) -> ProjectBuilder:
    for config_id in ("a", "b"):
        built.configuration({}, config_id=config_id, rows={"1": {}, "2": {}})
        folder = f"main/extractor/vendor.ex-foo/{config_id}"
        built.write(f"{folder}/schedules/s/config.json", {"schedule": {"cronTab": "0 1 * * *"}})
    if request.param == "with a manifest":
        rows = [{"id": 1, "path": "rows/1"}, {"id": 2, "path": "rows/2"}]
        of_a = {"componentId": "vendor.ex-foo", "configId": "a", "type": "schedulerFor"}
        schedule = {"branchId": 1, "componentId": "keboola.scheduler", "id": "s", "path": "schedules/s"}
        configurations = [item("a", rows=rows), {**schedule, "relations": [of_a]}, item("b", rows=rows)]
        branches = [{"id": 1, "path": "main"}, {"id": 2, "path": "oven"}]
        content = {"version": 2, "branches": branches, "configurations": configurations}
        built.write(".keboola/manifest.json", content)
    return built


def test_ignored_configurations_and_rows_are_not_there(project: ProjectBuilder) -> None:
    assert project.project.configurations() == [("vendor.ex-foo", "a"), ("vendor.ex-foo", "b")]
    project.write(".keboola/.kbcignore", IGNORE)
    found = project.project
    assert found.configurations() == [("vendor.ex-foo", "b")]
    assert not found.has(("vendor.ex-foo", "a"))
    assert [row.id for row in found.configuration("vendor.ex-foo", "b").rows] == ["1"]
    # What belongs to an ignored configuration is ignored with it.
    schedules = [found.entry(*key).parent for key in found.configurations_of("keboola.scheduler")]
    assert ("vendor.ex-foo", "a") not in schedules


def test_ignored_components_are_not_there(built: ProjectBuilder) -> None:
    built.configuration({}, config_id="a")
    branches = [{"id": 1, "path": "main"}]
    content = {"version": 2, "branches": branches, "configurations": [item("a")], "ignoredComponents": []}
    built.write(".keboola/manifest.json", content)
    assert built.project.configurations() == [("vendor.ex-foo", "a")]
    built.write(".keboola/manifest.json", {**content, "ignoredComponents": ["vendor.ex-foo"]})
    assert built.project.configurations() == []


@pytest.mark.parametrize("line", ["branch/Old oven", "branch/oven"])
def test_an_ignored_branch_cannot_be_run(built: ProjectBuilder, line: str) -> None:
    built.write("oven/meta.json", {"name": "Old oven", "isDefault": False})
    assert Project(built.directory, branch="oven").branch.path == "oven"
    built.write(".keboola/.kbcignore", line)
    with pytest.raises(NotFoundError, match=r"The branch 'oven' is ignored by .*/\.keboola/\.kbcignore"):
        Project(built.directory, branch="oven")


@pytest.mark.parametrize("line", ["vendor.ex-foo", "a/b/c/d", "a//b", "branch/", "a/b/c:key"])
def test_a_line_that_means_nothing_is_told(built: ProjectBuilder, line: str) -> None:
    built.write(".keboola/.kbcignore", f"# first\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"\.kbcignore:2: '.*' means nothing: write <component>/<conf"):
        _ = built.project


def test_environment_files_of_kbc_and_other_files_are_left_alone(built: ProjectBuilder) -> None:
    built.configuration({}, config_id="a")
    for path in (".env", ".env.local", "main/.env", "main/notes.txt", "main/extractor/vendor.ex-foo/a/.env.json"):
        built.write(path, "KBC_TOKEN=\x00{ not JSON")
    assert built.project.configurations() == [("vendor.ex-foo", "a")]
    assert built.project.configuration("vendor.ex-foo", "a").configuration == {}
