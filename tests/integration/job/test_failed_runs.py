"""What a run that fails leaves in Storage: the tables with ``write_always``, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ApplicationError, ComponentError, ConfigurationError, UserError
from docker_runner.job.plan import row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform, pull_images
from docker_runner.job.workspace import Workspace
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, FileUpload

pytestmark = pytest.mark.engine

LOG = {"source": "log.csv", "destination": "out.c-main.log", "incremental": True, "write_always": True}
DATA = {"source": "data.csv", "destination": "out.c-main.data"}
OUTPUT = {"tables": [LOG, DATA]}
WRITE = (
    "import json, os, sys, time\n"
    "open('/data/out/tables/log.csv', 'w').write('line\\nbegun\\n')\n"
    "open('/data/out/tables/data.csv', 'w').write('id\\n1\\n')\n"
    "open('/data/out/files/report.txt', 'w').write('report')\n"
    "json.dump({'n': 1}, open('/data/out/state.json', 'w'))\n"
)
FAIL = "sys.exit('No such account.')"
PROCESSOR = "test.processor"


def processor(script: str, component: str = PROCESSOR) -> dict[str, Any]:
    return {"definition": {"component": component}, "parameters": {"script": script}}


def files(installation: Installation, *tags: str) -> list[str]:
    return [file.name for file in open_storage(installation.settings.storage).files(FileQuery(tags=tags))]


@pytest.mark.rules("OM-17", "OM-100", "OM-102", "OM-103", "LC-36", "LC-46", "OF-9", "IF-29")
def test_a_component_that_fails_leaves_its_log_and_nothing_else(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("")
    upload = FileUpload(tmp_path / "in.txt", "in.txt", ("todo",))
    installation.tools().storage.commit(Commit("in", files=(upload,)))
    storage = {"input": {"files": [{"tags": ["todo"], "processed_tags": ["done"]}]}, "output": OUTPUT}
    installation.script("fails", WRITE + FAIL, storage=storage)
    with pytest.raises(ComponentError, match=r"^No such account\.$"):
        installation.run("fails")
    assert installation.tables() == ["out.c-main.log"]
    assert installation.rows("out.c-main.log") == [{"line": "begun"}]
    assert installation.state("fails") == {}
    assert files(installation) == ["in.txt"]
    assert files(installation, "done") == []
    assert installation.workspaces == []


@pytest.mark.rules("OM-17", "OM-100")
def test_a_manifest_alone_may_ask_for_it(installation: Installation) -> None:
    manifest = "json.dump({'write_always': True}, open('/data/out/tables/log.csv.manifest', 'w'))\n"
    output = {"default_bucket": "out.c-main"}
    installation.script("manifest", WRITE + manifest + FAIL, storage={"output": output})
    with pytest.raises(ComponentError):
        installation.run("manifest")
    assert installation.tables() == ["out.c-main.log"]


@pytest.mark.rules("OM-17")
def test_in_a_run_that_goes_well_it_changes_nothing(installation: Installation) -> None:
    installation.script("sound", WRITE, storage={"output": OUTPUT})
    result = installation.run("sound")
    assert installation.tables() == ["out.c-main.data", "out.c-main.log"]
    assert installation.rows("out.c-main.log") == [{"line": "begun"}]
    assert "unload_always" not in result.manifests


@pytest.mark.rules("LC-47", "LC-48", "LC-50")
@pytest.mark.parametrize(
    ("ending", "nodes", "error"),
    [
        ("sys.exit(3)", {}, ApplicationError),
        ("time.sleep(60)", {"runtime": {"process_timeout": 2}}, UserError),
        ("open('/data/out/state.json', 'w').write('{')", {}, ConfigurationError),
    ],
)
def test_a_crash_a_timeout_and_a_wrong_state_leave_the_log_too(
    installation: Installation, ending: str, nodes: dict[str, Any], error: type[Exception]
) -> None:
    installation.script("ends", WRITE + ending, storage={"output": OUTPUT}, **nodes)
    with pytest.raises(error):
        installation.run("ends")
    assert installation.tables() == ["out.c-main.log"]
    assert installation.state("ends") == {}


@pytest.mark.rules("LC-48", "CT-30")
def test_running_out_of_memory_leaves_the_log_too(installation: Installation) -> None:
    installation.component("test.small", {"memory": "32m", "network": "none"}, features=["no-swap"])
    script = WRITE + "x = bytearray(300_000_000)"
    installation.script("eats", script, component="test.small", storage={"output": OUTPUT})
    with pytest.raises(UserError, match="memory"):
        installation.run("eats", component="test.small")
    assert installation.tables() == ["out.c-main.log"]


@pytest.mark.rules("OM-104", "LC-36")
def test_a_processor_that_fails_leaves_what_it_has_written_itself(installation: Installation) -> None:
    installation.component(PROCESSOR, {"network": "none"})
    copies = "import shutil, sys; shutil.copy('/data/in/tables/log.csv', '/data/out/tables'); "
    adds = "open('/data/out/tables/log.csv', 'a').write('processed\\n'); sys.exit('broken')"
    processors = {"after": [processor(copies + adds), processor("print(1)")]}
    installation.script("processed", WRITE, storage={"output": OUTPUT}, processors=processors)
    with pytest.raises(ComponentError, match="broken"):
        installation.run("processed")
    assert installation.rows("out.c-main.log") == [{"line": "begun"}, {"line": "processed"}]


@pytest.mark.rules("LC-52", "OM-3", "OM-103")
def test_when_the_results_cannot_be_stored_the_log_is(installation: Installation) -> None:
    missing = {"source": "missing.csv", "destination": "out.c-main.missing"}
    installation.script("unload", WRITE, storage={"output": {"tables": [LOG, DATA, missing]}})
    with pytest.raises(ConfigurationError, match=r"did not write out/tables/missing\.csv"):
        installation.run("unload")
    assert installation.tables() == ["out.c-main.log"]
    assert installation.state("unload") == {}
    assert files(installation) == []


@pytest.mark.rules("OM-103", "LC-36")
def test_what_goes_wrong_while_storing_the_log_is_a_warning_and_keeps_no_other_table_out(
    installation: Installation,
) -> None:
    broken = {"source": "broken.csv", "destination": "out.c-main.broken", "write_always": True}
    script = WRITE + "open('/data/out/tables/broken.csv', 'w').write('a,b\\n1\\n')\n"
    installation.script("broken", script + FAIL, storage={"output": {"tables": [broken, LOG]}})
    with pytest.raises(ComponentError, match=r"^No such account\.$"):
        installation.run("broken")
    assert installation.tables() == ["out.c-main.log"]
    assert [line for line in installation.lines if "out.c-main.broken" in line and "line 2" in line]


@pytest.mark.rules("OM-2", "OM-101", "OM-103")
@pytest.mark.parametrize("name", ["alone.csv", "log.csv"])
def test_a_manifest_that_is_alone_or_unreadable_keeps_everything_out(installation: Installation, name: str) -> None:
    script = WRITE + f"open('/data/out/tables/{name}.manifest', 'w').write('{{')\n"
    installation.script("orphan", script + FAIL, storage={"output": OUTPUT})
    with pytest.raises(ComponentError, match=r"^No such account\.$"):
        installation.run("orphan")
    assert installation.tables() == []
    assert [line for line in installation.lines if "could not be stored" in line and "manifest" in line]


@pytest.mark.rules("LC-33", "LC-37", "LC-44", "LC-45")
def test_before_an_image_has_run_there_is_nothing_to_store(installation: Installation) -> None:
    storage = {"input": {"tables": [{"source": "in.c-main.nothing"}]}, "output": OUTPUT}
    installation.script("input", WRITE, storage=storage)
    with pytest.raises(ConfigurationError, match=r"There is no table in\.c-main\.nothing"):
        installation.run("input")
    assert installation.tables() == []


@pytest.mark.rules("LC-25", "LC-27", "LC-36", "OM-100")
def test_only_the_row_that_failed_leaves_its_log(installation: Installation) -> None:
    def row(name: str, ending: str = "") -> dict[str, Any]:
        return {
            "parameters": {"script": WRITE.replace("begun", name) + ending},
            "storage": {"output": {"tables": [{**LOG, "destination": f"out.c-main.{name}"}]}},
        }

    rows = {"a": row("a"), "b": row("b", FAIL), "c": row("c")}
    installation.configuration("rows", {"storage": {"output": {"default_bucket": "out.c-rest"}}}, rows=rows)
    with pytest.raises(ComponentError):
        installation.run("rows")
    assert installation.tables() == ["out.c-main.a", "out.c-main.b", "out.c-rest.data"]
    assert installation.state("rows", row="a") != {}
    assert installation.state("rows", row="b") == {}


@pytest.mark.rules("LC-64")
def test_debug_mode_stores_no_log(installation: Installation) -> None:
    installation.script("debug", WRITE + FAIL, storage={"output": OUTPUT})
    with pytest.raises(ComponentError):
        installation.run("debug", mode="debug")
    assert installation.tables() == []


@pytest.mark.rules("OM-104")
def test_repeating_the_step_stores_nothing_twice_and_another_attempt_stores_its_own(
    installation: Installation,
) -> None:
    installation.script("again", WRITE + FAIL, storage={"output": OUTPUT})
    job, tools = installation.job("again"), installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    steps = {step.name: step for step in row_steps(job.rows[0].configuration, job.rows[0].component)}
    manifests = {"pull_images": pull_images(job, tools)}

    def do(name: str) -> Any:
        return perform(steps[name], workspace=workspace, row_id="", tools=tools, manifests=manifests)

    assert do("unload_always") == {"tables": []}
    do("write_config")
    for count in (1, 2):
        with pytest.raises(ComponentError):
            do("run_component")
        for _ in range(2):
            (table,) = do("unload_always")["tables"]
            assert (table["id"], table["rows"]) == ("out.c-main.log", 1)
        assert installation.rows("out.c-main.log") == [{"line": "begun"}] * count
    clean_up(workspace, tools)


@pytest.mark.rules("OF-20", "CD-56", "CF-17", "IF-30", "OF-9")
def test_where_tables_are_stored_as_files_a_failed_run_marks_its_input_and_stores_nothing(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("")
    upload = FileUpload(tmp_path / "in.txt", "in.txt", ("todo",))
    installation.tools().storage.commit(Commit("in", files=(upload,)))
    installation.component("test.files", {"network": "none"}, features=["allow-use-file-storage-only"])
    storage = {
        "input": {"files": [{"tags": ["todo"], "processed_tags": ["done"]}]},
        "output": {"tables": [{**LOG, "source": "nothing-of-that-name"}], "table_files": {"tags": ["table"]}},
    }
    nodes: dict[str, Any] = {"storage": storage, "runtime": {"use_file_storage_only": True}}
    manifest = "open('/data/out/tables/log.csv.manifest', 'w').write('{ not read')\n"
    installation.script("fails", WRITE + FAIL, component="test.files", **nodes)
    with pytest.raises(ComponentError):
        installation.run("fails", component="test.files")
    assert (installation.tables(), files(installation), files(installation, "done")) == ([], ["in.txt"], ["in.txt"])
    installation.script("goes", WRITE + manifest, component="test.files", **nodes)
    installation.run("goes", component="test.files")
    assert installation.tables() == []
    assert sorted(files(installation, "table")) == ["data.csv", "log.csv"]
    assert sorted(files(installation, "runId: run-1")) == ["data.csv", "log.csv", "report.txt"]
    assert installation.state("goes", component="test.files")["component"] == {"n": 1}
    # A component that does not allow it stores tables.
    installation.script("ignored", WRITE, storage={"output": OUTPUT}, runtime={"use_file_storage_only": True})
    installation.run("ignored", component=SCRIPT)
    assert installation.tables() == ["out.c-main.data", "out.c-main.log"]
