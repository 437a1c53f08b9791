"""Orchestrations and flows: what they run, in which order, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError
from docker_runner.project.configuration import Project
from docker_runner.project.flow import Flow

ORCHESTRATOR, FLOW = "keboola.orchestrator", "keboola.flow"
PROJECTS = Path(__file__).parents[2] / "projects"


def task(name: str, phase: Any = "1", *, enabled: bool = True, on: bool = False, **job: Any) -> dict[str, Any]:
    job = {"componentId": "vendor.ex-foo", "configId": "main", "mode": "run", **job}
    return {"id": name, "name": name, "phase": phase, "enabled": enabled, "continueOnFailure": on, "task": job}


def phase(phase_id: Any, *depends_on: Any, **more: Any) -> dict[str, Any]:
    return {"id": phase_id, "name": f"Phase {phase_id}", "dependsOn": list(depends_on), **more}


def inline(built: ProjectBuilder, content: dict[str, Any], component_id: str = ORCHESTRATOR) -> Flow:
    built.configuration({}, rows={"a": {}, "b": {}})
    built.write(f"main/other/{component_id}/night/config.json", content)
    return built.project.flow(component_id, "night")


def refused(built: ProjectBuilder, content: dict[str, Any], component_id: str = ORCHESTRATOR) -> list[str]:
    """What is wrong, without the folder: the error that is raised, which is the first of all."""
    with pytest.raises(ConfigurationError) as raised:
        inline(built, content, component_id)
    found = built.project.flow_errors((component_id, "night"))
    folder = f"{built.directory}/main/other/{component_id}/night/"
    assert raised.value.problem == found[0].problem
    return [str(error).replace(folder, "") for error in found]


def folders(built: ProjectBuilder, **files: Any) -> None:
    """An orchestration in folders; names of files as ``p1`` for a phase and ``p1_t1`` for a task in it."""
    built.configuration({})
    built.write(f"main/other/{ORCHESTRATOR}/night/config.json", {})
    for name, content in files.items():
        parts = name.split("_")
        file = "phase.json" if len(parts) == 1 else "task.json"
        built.write(f"main/other/{ORCHESTRATOR}/night/phases/{'/'.join(parts)}/{file}", content)


def test_flows_are_listed_apart_from_what_can_be_run(built: ProjectBuilder) -> None:
    inline(built, {"phases": [], "tasks": []})
    built.write(f"main/other/{FLOW}/day/config.json", {"phases": [], "tasks": []})
    assert built.project.configurations() == [("vendor.ex-foo", "main")]
    assert built.project.flows() == [(ORCHESTRATOR, "night"), (FLOW, "day")]
    assert Project(PROJECTS / "bakery").flows() == [(ORCHESTRATOR, "700700")]


def test_a_pulled_orchestration_runs_configurations_that_are_named_by_their_paths() -> None:
    flow = Project(PROJECTS / "bakery").flow(ORCHESTRATOR, "700700")
    (load,) = flow.phases
    assert (flow.name, load.id, load.name, load.depends_on) == ("Night", "001-load", "Load", ())
    (tills,) = flow.tasks
    assert (tills.id, tills.name, tills.phase) == ("001-load/001-tills", "tills", "001-load")
    assert (tills.component_id, tills.config_id, tills.mode) == ("acme.ex-till", "700200", "run")
    assert (tills.enabled, tills.continue_on_failure, tills.config_data) == (True, False, None)


def test_phases_in_folders_wait_for_the_folders_that_they_name(built: ProjectBuilder) -> None:
    job = {"name": "t", "task": {"configPath": "extractor/vendor.ex-foo/main"}}
    folders(
        built,
        p1={"name": "Last", "dependsOn": ["p3"]},
        p1_t=job,
        p2={"name": "First"},
        p2_t2=job,
        p2_t1={**job, "continueOnFailure": True},
        p3={"name": "Middle", "dependsOn": ["<previous>"], "description": "of three"},
    )
    phases = built.project.flow(ORCHESTRATOR, "night").phases
    assert [(item.id, item.depends_on) for item in phases] == [("p2", ()), ("p3", ("p2",)), ("p1", ("p3",))]
    assert [(item.id, item.continue_on_failure) for item in phases[0].tasks] == [("p2/t1", True), ("p2/t2", False)]
    assert phases[1].description == "of three"


def test_phases_inside_the_configuration_may_have_numbers_as_ids(built: ProjectBuilder) -> None:
    flow = inline(built, {"phases": [phase(2, 1), phase(1)], "tasks": [task("x", 2), task("y", 1), task("z", "1")]})
    assert [(item.id, item.depends_on) for item in flow.phases] == [("1", ()), ("2", ("1",))]
    assert [item.id for item in flow.tasks] == ["y", "z", "x"]
    assert [(item.key, Path(item.file).name) for item in flow.tasks] == [
        ("tasks[1]", "config.json"), ("tasks[2]", "config.json"), ("tasks[0]", "config.json"),
    ]  # fmt: skip


def test_a_task_says_how_its_configuration_is_run(built: ProjectBuilder) -> None:
    job = {
        "configRowIds": ["b"], "mode": "debug", "tag": "2.1", "variableValuesId": 7, "backend": {"type": "large"},
        "variableValuesData": {"values": [{"name": "day", "value": 1}]}, "previousJobId": "5",
        "retry": {"strategy": "linear", "strategyParams": {"maxRetries": 2, "delay": 30}},
    }  # fmt: skip
    (found,) = inline(built, {"phases": [phase("1")], "tasks": [task("x", **job)]}).tasks
    assert (found.rows, found.mode, found.tag, found.values) == (("b",), "debug", "2.1", "7")
    assert (found.variables, found.backend) == ({"day": "1"}, {"type": "large"})
    assert (found.retries, found.retry_delay) == (2, 30.0)


def test_a_task_may_bring_its_own_configuration(built: ProjectBuilder) -> None:
    own = task("x", configId="", configData={"parameters": {"a": 1}})
    (found,) = inline(built, {"phases": [phase("1")], "tasks": [own]}).tasks
    assert (found.component_id, found.config_id, found.config_data) == (
        "vendor.ex-foo", "", {"parameters": {"a": 1}},
    )  # fmt: skip


@pytest.mark.parametrize(("data", "run"), [({"parameters": {}}, {"parameters": {}}), ({}, None), ([], None)])
def test_what_a_task_brings_is_run_in_place_of_the_stored_configuration(
    built: ProjectBuilder, data: Any, run: Any
) -> None:
    (found,) = inline(built, {"phases": [phase("1")], "tasks": [task("x", configData=data)]}).tasks
    assert (found.config_id, found.config_data) == ("main", run)


@pytest.mark.rules("EN-10")
@pytest.mark.parametrize("config_id", ["", "main"])
def test_a_task_never_brings_a_secret_that_is_not_encrypted(built: ProjectBuilder, config_id: str) -> None:
    own = task("x", configId=config_id, configData={"parameters": {"deep": [{"#password": "hunter2"}]}})
    (problem,) = refused(built, {"phases": [phase("1")], "tasks": [own]})
    assert problem.startswith("config.json:1: tasks[0].task.configData.parameters.deep[0].#password: The value is not")
    assert "hunter2" not in problem


def test_a_flow_takes_no_configuration_of_a_tasks_own(built: ProjectBuilder) -> None:
    built.write(f"main/other/{FLOW}/day/config.json", {"phases": [], "tasks": []})
    own = task("x", componentId=FLOW, configId="day", configData={"phases": []})
    assert refused(built, {"phases": [phase("1")], "tasks": [own]}) == [
        "config.json:1: tasks[0].task.configData: A flow is run as it is stored: remove configData."
    ]


def test_a_disabled_task_may_name_what_does_not_exist(built: ProjectBuilder) -> None:
    gone = task("x", configId="gone", enabled=False)
    note = {**task("y", enabled=False), "task": {"type": "notification", "recipients": [], "title": "Done"}}
    found = inline(built, {"phases": [phase("1")], "tasks": [gone, note]}).tasks
    assert [(item.enabled, item.component_id, item.config_id) for item in found] == [
        (False, "vendor.ex-foo", ""), (False, "", ""),
    ]  # fmt: skip


def test_a_flow_goes_from_phase_to_phase_by_next(built: ProjectBuilder) -> None:
    ways = [
        {"id": "b", "name": "B", "next": [{"id": "n2", "goto": None}]},
        {"id": "a", "name": "A", "next": [{"id": "n1", "goto": "b"}]},
    ]
    flow = inline(built, {"phases": ways, "tasks": [task("x", "b"), task("y", "a")]}, FLOW)
    assert [(item.id, item.depends_on) for item in flow.phases] == [("a", ()), ("b", ("a",))]


def test_a_flow_may_run_another_flow(built: ProjectBuilder) -> None:
    built.write(f"main/other/{FLOW}/inner/config.json", {"phases": [], "tasks": []})
    (found,) = inline(built, {"phases": [phase("1")], "tasks": [task("x", componentId=FLOW, configId="inner")]}).tasks
    assert (found.component_id, found.config_id) == (FLOW, "inner")


def test_a_flow_has_schedules_a_description_and_a_version_of_what_it_does(built: ProjectBuilder) -> None:
    folder = f"main/other/{ORCHESTRATOR}/night"
    built.write(f"{folder}/meta.json", {"name": "Night", "isDisabled": True})
    built.write(f"{folder}/description.md", "All of it.\n")
    built.write(f"{folder}/schedules/s/config.json", {"schedule": {"cronTab": "5 1 * * *", "timezone": "UTC"}})
    content: dict[str, Any] = {"phases": [phase("1")], "tasks": [task("x")]}
    flow = inline(built, content)
    assert (flow.name, flow.description, flow.is_disabled) == ("Night", "All of it.", True)
    assert [item.cron for item in flow.schedules] == ["5 1 * * *"]
    assert inline(built, content).version == flow.version
    assert inline(built, {**content, "tasks": [task("x", tag="2")]}).version != flow.version


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        (task("x", "9"), "config.json:1: tasks[0].phase: There is no phase '9'; there are: 1."),
        (
            task("x", configId="mian"),
            "config.json:1: tasks[0].task.configId: There is no configuration vendor.ex-foo/mian in this branch."
            " Did you mean vendor.ex-foo/main?",
        ),
        (
            task("x", configPath="extractor/vendor.ex-foo/gone"),
            "config.json:1: tasks[0].task.configPath: There is no configuration at 'extractor/vendor.ex-foo/gone' in "
            "this branch.",
        ),
        (task("x", configId=""), "config.json:1: tasks[0].task: Name a configuration of vendor.ex-foo in configId."),
        (
            {**task("x"), "task": {"mode": "run"}},
            "config.json:1: tasks[0].task: A task names its configuration by componentId and configId, or by",
        ),
        (
            task("x", configRowIds=["a", "c"]),
            "config.json:1: tasks[0].task.configRowIds[1]: The configuration vendor.ex-foo/main has no row 'c'; "
            "there are: a, b.",
        ),
        (
            task("x", componentId=ORCHESTRATOR, configId="night"),
            "config.json:1: tasks[0].task.configId: A flow cannot run itself.",
        ),
        (
            task("x", paralelism=2),
            "config.json:1: tasks[0].task: Unknown key 'paralelism'; known keys are ",
        ),
        (
            task("x", type="notification"),
            "config.json:1: tasks[0].task.type: Tasks of the type 'notification' are not run here: disable the task or "
            "remove it.",
        ),
        (task("x", mode="sandbox"), "config.json:1: tasks[0].task.mode: Must be one of 'run', 'forceRun', 'debug', "),
        ({"id": "x", "name": "x", "phase": "1"}, "config.json:1: tasks[0]: The key 'task' is missing."),
        ({**task("x"), "enabled": "no"}, 'config.json:1: tasks[0].enabled: Must be true or false, not "no".'),
    ],
)  # fmt: skip
def test_a_wrong_task_is_named_with_its_place(built: ProjectBuilder, tasks: dict[str, Any], problem: str) -> None:
    (found,) = refused(built, {"phases": [phase("1")], "tasks": [tasks]})
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("phases", "problem"),
    [
        ([phase("1", "7")], "config.json:1: phases[0].dependsOn: There is no phase '7'; there are: 1."),
        (
            [phase("0"), phase("1", "3"), phase("2", "1"), phase("3", "2")],
            "config.json:1: phases[1].dependsOn: Phases wait for each other in a circle: 1 -> 3 -> 2 -> 1.",
        ),
        ([phase("1", "1")], "config.json:1: phases[0].dependsOn: Phases wait for each other in a circle: 1 -> 1."),
        ([phase("1"), phase(1)], "config.json:1: phases[1].id: There are two phases with the id '1'."),
        ([phase("1", retry={"strategy": "linear"})], "config.json:1: phases[0].retry: Whole phases are not repeated"),
        (
            [phase("1", next=[{"goto": "2", "condition": {"type": "operator"}}]), phase("2")],
            "config.json:1: phases[0].next: Conditions between phases are not run here",
        ),
        ([phase("1", next=[{"goto": "2"}])], "config.json:1: phases[0].next[0].goto: There is no phase '2'"),
        (
            [phase("1", next=[{"goto": "2"}, {"goto": None}]), phase("2")],
            "config.json:1: phases[0].next: Only the first of several ways without a condition would be gone.",
        ),
        ([phase("1", next=[{"goto": "2"}]), phase("2"), phase("3")], "config.json:1: phases[2]: No phase goes to this"),
        (
            [phase("1", next=[{"goto": "2"}]), phase("2", next=[{"goto": "1"}])],
            "config.json:1: phases[0].next: Phases wait for each other in a circle: 1 -> 2 -> 1.",
        ),
        (
            [phase("1", next=[{"goto": "2"}]), phase("2", "1")],
            "config.json:1: phases[1].dependsOn: Phases are ordered by dependsOn or by next, not by both.",
        ),
        ([{"id": "1"}], "config.json:1: phases[0]: The key 'name' is missing."),
    ],
)
def test_phases_without_an_order_are_refused(built: ProjectBuilder, phases: list[Any], problem: str) -> None:
    (found,) = refused(built, {"phases": phases, "tasks": []}, FLOW)
    assert found.startswith(problem)


def test_everything_that_is_wrong_is_found_at_once(built: ProjectBuilder) -> None:
    tasks = [task("x", configId="gone"), task("x"), task("y", "9"), task("z", tagg="1")]
    found = refused(built, {"phases": [phase("1")], "tasks": tasks})
    assert [line.split(": ", 2)[1] for line in found] == [
        "tasks[1].id", "tasks[2].phase", "tasks[0].task.configId", "tasks[3].task",
    ]  # fmt: skip


def test_flows_that_run_each_other_in_a_circle_are_refused(built: ProjectBuilder) -> None:
    back = {"phases": [phase("1")], "tasks": [task("x", componentId=ORCHESTRATOR, configId="night")]}
    built.write(f"main/other/{FLOW}/inner/config.json", back)
    (found,) = refused(built, {"phases": [phase("1")], "tasks": [task("x", componentId=FLOW, configId="inner")]})
    assert "The flow keboola.flow/inner runs this one: flows cannot run each other in a circle." in found


def test_an_error_in_a_folder_names_the_tasks_own_file(built: ProjectBuilder) -> None:
    folders(built, p1={"name": "One"}, p1_t={"name": "t", "task": {"configPath": "extractor/none"}}, p2={"x": 1})
    found = built.project.flow_errors((ORCHESTRATOR, "night"))
    folder = f"{built.directory}/main/other/{ORCHESTRATOR}/night/phases"
    assert [str(error).split(": ")[0] for error in found] == [f"{folder}/p2/phase.json:1", f"{folder}/p1/t/task.json:1"]
    with pytest.raises(ConfigurationError, match=r"p2/phase\.json:1: The key 'name' is missing"):
        built.project.flow(ORCHESTRATOR, "night")


def test_phases_in_both_forms_are_refused(built: ProjectBuilder) -> None:
    folders(built, p1={"name": "One"})
    built.write(f"main/other/{ORCHESTRATOR}/night/config.json", {"phases": [phase("1")]})
    with pytest.raises(ConfigurationError, match=r"config\.json:1: phases: phases stand in config\.json and in the"):
        built.project.flow(ORCHESTRATOR, "night")


@pytest.mark.parametrize("content", [[], {}, {"phases": None, "tasks": None}])
def test_a_flow_may_be_empty(built: ProjectBuilder, content: Any) -> None:
    assert inline(built, content).phases == ()


def test_flows_cannot_run_each_other_in_a_long_circle(built: ProjectBuilder) -> None:
    for name, following in (("a", "b"), ("b", "night")):
        jobs = [task("x", componentId=ORCHESTRATOR, configId=following)]
        built.write(f"main/other/{ORCHESTRATOR}/{name}/config.json", {"phases": [phase("1")], "tasks": jobs})
    own = task("x", componentId=ORCHESTRATOR, configId="a")
    (problem,) = refused(built, {"phases": [phase("1")], "tasks": [own]})
    assert "flows cannot run each other in a circle" in problem
