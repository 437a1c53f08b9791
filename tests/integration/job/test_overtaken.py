"""Two runs of one configuration at the same time, which nothing kept apart: no update of the state is lost (LC-11)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ConfigurationError, OvertakenError
from docker_runner.job.plan import row_steps
from docker_runner.job.run import run_job
from docker_runner.job.state import stored_state
from docker_runner.job.steps import create_workspace, perform
from docker_runner.job.workspace import Workspace

pytestmark = [pytest.mark.engine, pytest.mark.rules("LC-11", "ST-12")]

# Appends the number of the run to a table; a run that begins with no state waits for a file.
COUNT = """
import json, os, time
state = json.load(open('/data/in/state.json'))
n = state.get('n', 0) + 1
open('/data/out/tables/t.csv', 'w').write(f'n\\n{n}\\n')
json.dump({**state, 'n': n}, open('/data/out/state.json', 'w'))
"""
WAIT = (
    COUNT
    + """
open('/data/out/files/begun', 'w')
while not state and not os.path.exists('/data/go'):
    time.sleep(0.05)
os.remove('/data/out/files/begun')
"""
)
APPENDED = {"tables": [{"source": "t.csv", "destination": "out.c-main.t", "incremental": True}]}


def counts(installation: Installation, script: str = COUNT, **storage: Any) -> None:
    installation.script("counts", script, storage={"output": APPENDED, **storage})


def numbers(installation: Installation) -> list[str]:
    return [row["n"] for row in installation.rows("out.c-main.t")]


def run_beside(installation: Installation, meanwhile: Any, *, name: str = "counts", **params: Any) -> None:
    """Run a configuration; something happens when its component has ended and its results are not stored yet."""

    def after(_row: str, step: str, _seconds: float) -> None:
        if step == "run_component":
            meanwhile()

    run_job(installation.job(name, run_id="run-slow", **params), installation.tools(), on_step=after)


def begun(workspaces: Path) -> Path:
    """The data folder of the run that goes on in a folder of workspaces, when its component is at work."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if found := list(workspaces.glob("*/rows/_/stages/0/data/out/files/begun")):
            return found[0].parents[2]
        time.sleep(0.1)
    raise AssertionError(f"nothing begins in {workspaces}")


def test_of_two_runs_on_different_machines_the_one_that_ends_last_is_refused_and_can_be_run_again(
    installation: Installation, tmp_path: Path
) -> None:
    counts(installation, WAIT)
    homes = [tmp_path / "machine1", tmp_path / "machine2"]
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(installation.command, "run", f"{SCRIPT}/counts", DOCKER_RUNNER_WORKSPACES=str(home))
            for home in homes
        ]
        folders = [begun(home) for home in homes]
        (folders[1] / "go").touch()
        assert runs[1].result().returncode == 0, runs[1].result().stderr
        (folders[0] / "go").touch()
        refused = runs[0].result()
    assert refused.returncode == 1
    error = refused.stderr.splitlines()[-1]
    assert error.startswith(f"Error: Another run of {SCRIPT}/counts (cli-")
    assert error.endswith("Run it again from its beginning: it begins with the newer state then.")
    assert numbers(installation) == ["1"]
    assert installation.state("counts")["component"] == {"n": 1}
    again = installation.command("run", f"{SCRIPT}/counts", DOCKER_RUNNER_WORKSPACES=str(homes[0]))
    assert again.returncode == 0, again.stderr
    assert numbers(installation) == ["1", "2"]


@pytest.mark.rules("OM-100")
def test_a_run_whose_state_was_changed_meanwhile_stores_only_what_is_stored_in_every_outcome(
    installation: Installation,
) -> None:
    log = {"source": "log.csv", "destination": "out.c-main.log", "write_always": True}
    script = COUNT + "open('/data/out/tables/log.csv', 'w').write('run\\nslow\\n')"
    counts(installation, script, output={"tables": [*APPENDED["tables"], log]})
    with pytest.raises(OvertakenError, match=r"test\.script/counts \(\d{4}-"):
        run_beside(installation, lambda: installation.store_state("counts", {"component": {"n": 50}}))
    assert installation.tables() == ["out.c-main.log"]
    assert installation.state("counts") == {"component": {"n": 50}}


@pytest.mark.rules("CF-39", "LC-22")
def test_who_brings_a_configuration_begins_empty_and_is_refused_for_no_state(installation: Installation) -> None:
    counts(installation)
    inline = {"parameters": {"script": COUNT}, "storage": {"output": APPENDED}}
    run_beside(installation, lambda: installation.store_state("counts", {"component": {"n": 50}}), config_data=inline)
    assert installation.state("counts")["component"] == {"n": 1}


@pytest.mark.rules("LC-64")
def test_runs_that_store_no_state_do_not_care_who_stores_one(installation: Installation) -> None:
    counts(installation)
    run_beside(installation, lambda: installation.store_state("counts", {"component": {"n": 50}}), mode="debug")
    assert installation.state("counts") == {"component": {"n": 50}}


def test_runs_without_a_state_both_store_what_they_made(installation: Installation) -> None:
    counts(installation, "open('/data/out/tables/t.csv', 'w').write('n\\n1\\n')")
    elsewhere = Installation(installation.folder, variables={"DOCKER_RUNNER_WORKSPACES": f"{installation.folder}/w"})
    run_beside(installation, lambda: elsewhere.run("counts"))
    assert numbers(installation) == ["1", "1"]


def test_new_keys_for_the_stored_states_are_no_other_run(installation: Installation) -> None:
    installation.cipher("any")
    counts(installation, COUNT.replace("'n': n}", "'n': n, '#token': 't0ken-of-' + str(n)}"))
    installation.run("counts")
    before = installation.state("counts")

    def rotate() -> None:
        done = installation.command("encrypt", "--rotate")
        assert done.returncode == 0, done.stderr
        assert installation.state("counts") != before

    run_beside(installation, rotate)
    assert numbers(installation) == ["1", "2"]
    assert installation.state("counts")["component"]["n"] == 2


@pytest.mark.rules("ST-1", "IM-30", "IF-24")
def test_all_steps_of_a_row_build_on_the_state_that_the_first_of_them_read(
    installation: Installation, tmp_path: Path
) -> None:
    installation.load("in.c-main.t", "n\n1\n")
    (tmp_path / "f").write_text("x")
    installation.store_file(tmp_path / "f", "mine")
    source = {
        "tables": [{"source": "in.c-main.t", "changed_since": "adaptive"}],
        "files": [{"tags": ["mine"], "changed_since": "adaptive"}],
    }
    counts(installation, input=source)
    job, tools = installation.job("counts"), installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    steps = {step.name: step for step in row_steps(job.rows[0].configuration, job.rows[0].component)}
    manifests = {}
    for name in ("load_tables", "load_files", "load_tables"):
        manifests[name] = perform(steps[name], workspace=workspace, row_id="", tools=tools, manifests={})
        file = installation.files("mine")[0]
        state = {"tables": [], "files": [{"tags": [{"name": "mine"}], "lastImportId": str(file.id)}]}
        installation.store_state("counts", {"component": {"n": 7}, "storage": {"input": state}})
    assert len(manifests["load_files"]["files"]) == 1
    assert stored_state(job.rows[0], workspace.row(""), tools) == {}


def test_a_state_that_no_run_could_have_stored_is_told_as_another_run(installation: Installation) -> None:
    counts(installation)
    with pytest.raises(OvertakenError):
        run_beside(installation, lambda: installation.store_state("counts", {"component": {"#t": "plain"}}))
    with pytest.raises(ConfigurationError, match="not encrypted"):
        installation.run("counts")


def test_results_that_were_stored_and_dropped_since_stay_dropped_when_the_step_is_repeated_and_that_is_told(
    installation: Installation,
) -> None:
    counts(installation)
    job, tools = installation.job("counts"), installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    unload = {step.name: step for step in row_steps(job.rows[0].configuration, job.rows[0].component)}["unload_output"]
    for _ in range(2):
        (table,) = perform(unload, workspace=workspace, row_id="", tools=tools, manifests={})["tables"]
        assert (table["id"], table["rows"]) == ("out.c-main.t", 1)
        if "out.c-main.t" in installation.tables():
            tools.storage.drop_table("out.c-main.t")
    assert installation.tables() == []
    assert [line for line in installation.lines if "Nothing is stored twice" in line or "dropped since" in line] == [
        "These results had been stored before, and whoever did it was not told. Nothing is stored twice.",
        "out.c-main.t was dropped since. To have it again, run the configuration again from its beginning.",
    ]
