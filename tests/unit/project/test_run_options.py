"""How the runs of a configuration become tasks, and which changes of tables start them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError
from docker_runner.project.run_options import Granularity, RunOptions, Trigger, run_options

READS = {"storage": {"input": {"tables": [{"source": "in.c-a.t"}, {"source": "in.c-b.t"}]}}}


def options(built: ProjectBuilder, content: Any = None, **more: Any) -> RunOptions:
    built.configuration(content, **more)
    return run_options(built.project.configuration("vendor.ex-foo", "main"), built.registry.get("vendor.ex-foo"))


def test_steps_are_tasks_unless_the_configuration_or_its_component_says_otherwise(built: ProjectBuilder) -> None:
    assert options(built).granularity is Granularity.STEPS
    assert options(built, {"runtime": {"granularity": "merged"}}).granularity is Granularity.MERGED
    built.component(granularity="merged")
    assert options(built).granularity is Granularity.MERGED
    assert options(built, {"runtime": {"granularity": None}}).granularity is Granularity.MERGED
    assert options(built, {"runtime": {"granularity": "steps"}}).granularity is Granularity.STEPS


@pytest.mark.parametrize("trigger", list(Trigger))
def test_changes_of_input_tables_may_start_a_configuration(built: ProjectBuilder, trigger: Trigger) -> None:
    found = options(built, {**READS, "runtime": {"trigger": trigger.value}})
    assert (found.trigger, found.input_tables) == (trigger, ("in.c-a.t", "in.c-b.t"))
    assert options(built, READS).trigger is None


def test_input_tables_are_those_of_rows_that_are_not_disabled(built: ProjectBuilder) -> None:
    row = {"storage": {"input": {"tables": [{}, {"source": "in.c-row.t"}]}}}
    other = {"storage": {"input": {"tables": [{"source": "in.c-off.t"}]}}}
    found = options(built, READS, rows={"1": row, "2": {}, "3": other}, disabled=("3",))
    assert found.input_tables == ("in.c-a.t", "in.c-row.t", "in.c-b.t")


@pytest.mark.parametrize(
    ("root", "row", "problem"),
    [
        (
            {"granularity": "tasks"},
            {},
            r"main/config\.json:1: runtime\.granularity: Must be steps or merged, not 'tasks'",
        ),
        ({"trigger": "inputs"}, {}, r"runtime\.trigger: Must be any_input or all_inputs, not 'inputs'"),
        ({"trigger": "any_input"}, {}, r"main/config\.json:1: runtime\.trigger: There is no input table whose change"),
        ({}, {"granularity": "merged"}, r"rows/1/config\.json:1: runtime\.granularity: granularity is about the whole"),
        ({}, {"trigger": "any_input"}, r"rows/1/config\.json:1: runtime\.trigger: trigger is about the whole"),
    ],
)
def test_options_that_would_do_nothing_are_refused(built: ProjectBuilder, root: Any, row: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        options(built, {"runtime": root}, rows={"1": {"runtime": row}})


def test_a_configuration_is_started_by_schedules_or_by_changes(built: ProjectBuilder) -> None:
    file = "main/extractor/vendor.ex-foo/main/schedules/s/config.json"
    schedule = {"cronTab": "0 6 * * *", "timezone": "UTC", "state": "enabled"}
    built.write(file, {"schedule": schedule})
    with pytest.raises(ConfigurationError, match="by changes of its input tables or by schedules, not by both"):
        options(built, {**READS, "runtime": {"trigger": "any_input"}})
    built.write(file, {"schedule": {**schedule, "state": "disabled"}})
    assert options(built, {**READS, "runtime": {"trigger": "any_input"}}).trigger is Trigger.ANY_INPUT
