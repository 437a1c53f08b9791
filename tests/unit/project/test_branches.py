"""Branches: which one is read, and what may run in it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.job.definition import JobDefinition
from docker_runner.job.resolution import JobRequest, resolve_job
from docker_runner.project.configuration import Project


def branches(*items: tuple[Any, str]) -> dict[str, Any]:
    return {"branches": [{"id": id_, "path": path} for id_, path in items], "configurations": []}


def branch(built: ProjectBuilder, wanted: str = "") -> tuple[str, str, bool]:
    found = Project(built.directory, branch=wanted).branch
    return found.id, found.path, found.is_default


@pytest.mark.rules("BR-1")
@pytest.mark.parametrize(
    ("items", "defaults", "wanted", "found"),
    [
        ([(1, "main"), (2, "dev")], {}, "", ("1", "main", True)),
        ([(1, "main"), (2, "dev")], {}, "dev", ("2", "dev", False)),
        ([(1, "main"), (2, "dev")], {}, "2", ("2", "dev", False)),
        ([(1, "main"), (2, "dev")], {}, "main", ("1", "main", True)),
        ([(2, "dev"), (1, "prod")], {"prod": True, "dev": False}, "", ("1", "prod", True)),
        ([(2, "main"), (1, "prod")], {"prod": True, "main": False}, "", ("1", "prod", True)),
        ([(2, "main"), (1, "prod")], {"prod": True, "main": False}, "main", ("2", "main", False)),
        ([(7, "only")], {}, "", ("7", "only", True)),
    ],
)
def test_the_default_branch_is_read_unless_another_is_named(
    built: ProjectBuilder, items: Any, defaults: dict[str, bool], wanted: str, found: Any
) -> None:
    built.write(".keboola/manifest.json", branches(*items))
    for path, is_default in defaults.items():
        built.write(f"{path}/meta.json", {"name": path, "isDefault": is_default})
    assert branch(built, wanted) == found


def test_without_a_default_branch_one_has_to_be_named(built: ProjectBuilder) -> None:
    built.write(".keboola/manifest.json", branches((7, "only")))
    built.write("only/meta.json", {"isDefault": False})
    with pytest.raises(ConfigurationError, match="DOCKER_RUNNER_BRANCH"):
        branch(built)
    built.write("only/meta.json", {"isDefault": "no"})
    with pytest.raises(ConfigurationError, match=r"meta\.json: .* isDefault, which is true or false"):
        branch(built)


@pytest.mark.rules("BR-1")
def test_without_a_manifest_folders_are_branches(built: ProjectBuilder) -> None:
    assert branch(built) == ("", "main", True)
    for name in ("dev", "new oven"):
        (built.directory / name).mkdir()
    assert branch(built, "dev") == ("dev", "dev", False)
    with pytest.raises(ConfigurationError, match="letters, digits, - and _"):
        branch(built, "new oven")
    with pytest.raises(NotFoundError, match="no branch 'gone'"):
        branch(built, "gone")


@pytest.mark.rules("BR-1")
@pytest.mark.parametrize("wanted", ["../other", "..", ".", "/", "main/../../other", "a\0b", "x" * 300, "\ud800"])
def test_a_branch_that_is_asked_for_never_leads_out_of_the_project(built: ProjectBuilder, wanted: str) -> None:
    built.configuration({})
    for folder in ("other", "project"):
        write(built.folder / folder / "meta.json", {"isDefault": True})
    with pytest.raises(NotFoundError, match="no branch"):
        branch(built, wanted)


def row_of(built: ProjectBuilder, wanted: str, **more: Any) -> JobDefinition:
    job = resolve_job(
        Project(built.directory, branch=wanted), built.registry, component_id="vendor.ex-foo", config_id="main",
        request=JobRequest(**more), job_id="j", run_id="1",
    )  # fmt: skip
    return job.rows[0]


@pytest.fixture
def two(built: ProjectBuilder) -> ProjectBuilder:
    """A configuration in the default branch and in a development branch."""
    built.configuration({"parameters": {"in": "main"}})
    built.write("dev/extractor/vendor.ex-foo/main/config.json", {"parameters": {"in": "dev"}})
    return built


@pytest.mark.rules("BR-1", "BR-2", "EV-16")
def test_configuration_state_and_identity_are_those_of_the_branch(two: ProjectBuilder) -> None:
    main, dev = row_of(two, ""), row_of(two, "dev")
    assert (main.configuration["parameters"], dev.configuration["parameters"]) == ({"in": "main"}, {"in": "dev"})
    assert (main.identity.is_dev_branch, dev.identity.is_dev_branch) == (False, True)
    assert (main.state_key.branch_id, dev.state_key.branch_id) == ("", "dev")
    assert dev.identity.branch_id == "dev"


@pytest.mark.rules("BR-12", "CD-53")
def test_a_component_may_refuse_development_branches(two: ProjectBuilder) -> None:
    two.component(root={"features": ["dev-branch-job-blocked"]})
    assert row_of(two, "")
    for inline in ({}, {"parameters": {}}):
        with pytest.raises(UserError, match="cannot be run in development branches such as 'dev'"):
            row_of(two, "dev", config_data=inline)


@pytest.mark.rules("BR-13", "CD-54", "CF-12")
def test_a_configuration_must_be_marked_as_safe_where_its_component_wants_it(two: ProjectBuilder) -> None:
    two.component(root={"features": ["dev-branch-configuration-unsafe"]})
    assert row_of(two, "")
    for runtime in ({}, {"safe": False}, {"safe": None}):
        two.write("dev/extractor/vendor.ex-foo/main/config.json", {"runtime": runtime})
        with pytest.raises(UserError, match=r"dev/.*config\.json: .* set runtime\.safe to true"):
            row_of(two, "dev")
    assert row_of(two, "dev", config_data={"parameters": {"a": 1}}).is_inline
    two.write("dev/extractor/vendor.ex-foo/main/rows/r/config.json", {"runtime": {"safe": True}})
    with pytest.raises(UserError, match=r"set runtime\.safe to true"):
        row_of(two, "dev")
    two.write("dev/extractor/vendor.ex-foo/main/config.json", {"runtime": {"safe": True}})
    assert row_of(two, "dev").row_id == "r"
