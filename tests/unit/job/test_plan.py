"""The order of work as plain data."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, component

from docker_runner.job.definition import Mode
from docker_runner.job.plan import Kind, row_steps

FULL = {
    "storage": {"input": {"tables": [{"source": "in.c-a.b"}], "files": [{"tags": ["x"]}]}},
    "processors": {
        "before": [{"definition": {"component": "p"}}],
        "after": [{"definition": {"component": "q"}}, {"definition": {"component": "r"}}],
    },
}


@pytest.mark.rules("LC-32", "LC-35", "LC-36", "LC-37", "PR-2")
def test_a_full_configuration_has_all_steps_in_order() -> None:
    steps = row_steps(FULL, component())
    assert [(step.name, step.after, step.stage, step.title) for step in steps] == [
        ("load_tables", (), None, ""),
        ("load_files", (), None, ""),
        ("write_config", ("load_tables", "load_files"), None, ""),
        ("before_1", ("write_config",), 0, "p"),
        ("run_component", ("before_1",), 1, "vendor.ex-foo"),
        ("after_1", ("run_component",), 2, "q"),
        ("after_2", ("after_1",), 3, "r"),
        ("unload_output", ("after_2",), None, ""),
        ("unload_always", ("before_1", "run_component", "after_1", "after_2", "unload_output"), None, ""),
    ]
    assert [step.name for step in steps if step.on_failure] == ["unload_always"]
    assert steps[-2].takes == ("load_tables", "load_files")
    assert all(step.takes == ("pull_images",) for step in steps[3:7])


@pytest.mark.rules("LC-65")
@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (Mode.SANDBOX, ["load_tables", "load_files", "write_config", "unload_output"]),
        (Mode.INPUT, ["load_tables", "load_files", "write_config", "unload_output"]),
        (
            Mode.DRY_RUN,
            ["load_tables", "load_files", "write_config", "before_1", "run_component", "after_1", "after_2",
             "unload_output"],
        ),
    ],
)  # fmt: skip
def test_a_mode_that_stores_the_data_folder_has_only_the_steps_that_lead_there(mode: Mode, names: list[str]) -> None:
    steps = row_steps(FULL, component(), mode=mode)
    assert [step.name for step in steps] == names
    assert steps[-1].after == (names[-2],)


@pytest.mark.rules("LC-31", "PR-12", "LC-64")
@pytest.mark.parametrize(
    ("configuration", "staging", "names"),
    [
        ({}, {}, ["write_config", "run_component", "unload_output", "unload_always"]),
        (
            {"storage": {"input": {"tables": []}}},
            {},
            ["write_config", "run_component", "unload_output", "unload_always"],
        ),
        (FULL, {"input": "none"}, ["write_config", "run_component", "unload_output"]),
        ({}, {"output": "none"}, ["write_config", "run_component", "unload_output"]),
    ],
)
def test_steps_that_are_not_needed_are_not_there(configuration: Any, staging: Any, names: list[str]) -> None:
    assert [step.name for step in row_steps(configuration, component(staging_storage=staging))] == names


@pytest.mark.parametrize(
    "configuration",
    [
        {"storage": "x", "processors": 5},
        {"storage": {"input": []}, "processors": {"before": 5, "after": {"a": 1}}},
        {"processors": {"before": ["text", None, {"definition": []}]}},
    ],
)
def test_a_configuration_that_is_not_checked_yet_still_has_steps(configuration: Any) -> None:
    assert Kind.RUN_COMPONENT in [step.kind for step in row_steps(configuration, component())]


def test_container_steps_are_named_as_the_stages_of_the_resolved_job(built: ProjectBuilder) -> None:
    for name in "pqr":
        built.component(name)
    built.configuration(FULL)
    (row,) = built.job().rows
    steps = [step for step in row_steps(row.configuration, row.component) if step.stage is not None]
    assert [step.name for step in steps] == [stage.name for stage in row.stages]
    assert [step.stage for step in steps] == list(range(len(row.stages)))
