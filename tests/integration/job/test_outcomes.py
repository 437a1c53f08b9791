"""What a user sees when a run goes well, and when it does not."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation, container_names

from docker_runner.errors import ApplicationError, ComponentError, ConfigurationError, UserError
from docker_runner.job.plan import row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.workspace import Workspace

pytestmark = pytest.mark.engine

COPY = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')"
MAPPING = {
    "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
    "output": {"tables": [{"source": "t.csv", "destination": "out.c-main.t"}]},
}


def left_behind(installation: Installation) -> list[str]:
    return [name for name in container_names() if installation.name in name] + installation.workspaces


@pytest.mark.rules("LC-32", "OM-54", "IM-34", "EV-1", "CT-10")
def test_a_table_goes_through_a_component_into_storage(installation: Installation) -> None:
    installation.load("in.c-main.t", "id,v\n1,a\n2,b\n")
    installation.script("copy", COPY, storage=MAPPING)
    installation.run("copy")
    assert installation.rows("out.c-main.t") == [{"id": "1", "v": "a"}, {"id": "2", "v": "b"}]
    told = [line for line in installation.lines if SCRIPT_IMAGE in line]
    assert told[0] == f"Running {SCRIPT} ({SCRIPT_IMAGE}:latest)."
    assert re.fullmatch(rf"{SCRIPT} \({SCRIPT_IMAGE}:latest\) finished after \d+\.\d s\.", told[1])
    assert len(told) == 2
    assert left_behind(installation) == []


@pytest.mark.rules("CT-32", "CT-35", "LC-46")
def test_exit_code_1_shows_the_components_own_message_and_stores_nothing(installation: Installation) -> None:
    script = (
        "open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')\n"
        "open('/data/out/state.json', 'w').write('{\"n\": 1}')\n"
        "import sys; print('The password is wrong.', file=sys.stderr); sys.exit(1)"
    )
    installation.script("fails", script, storage={"output": {"tables": MAPPING["output"]["tables"]}})
    with pytest.raises(ComponentError, match=r"^The password is wrong\.$"):
        installation.run("fails")
    assert installation.tables() == []
    assert installation.state("fails") == {}
    assert left_behind(installation) == []


@pytest.mark.rules("CT-33", "LC-47", "CT-10")
def test_any_other_exit_code_is_an_application_error_that_names_image_and_code(installation: Installation) -> None:
    installation.script("crashes", "import sys; print('stack', file=sys.stderr); sys.exit(3)")
    with pytest.raises(ApplicationError, match=r"script.*\(3\) stack"):
        installation.run("crashes")
    assert re.search(
        rf"{SCRIPT_IMAGE}:latest\) finished after .* with exit code 3\.$", "\n".join(installation.lines), re.M
    )
    assert left_behind(installation) == []


@pytest.mark.rules("CT-30", "CD-10")
def test_a_component_that_needs_too_much_memory_is_told_its_limit(installation: Installation) -> None:
    installation.component("test.small", {"memory": "32m", "network": "none"}, features=["no-swap"])
    installation.script("eats", "x = bytearray(300_000_000)", component="test.small")
    with pytest.raises(UserError, match=r"(?i)memory.*32m"):
        installation.run("eats", component="test.small")


@pytest.mark.rules("CT-11", "CT-31", "CF-14")
def test_a_component_that_runs_too_long_is_stopped(installation: Installation) -> None:
    installation.script("sleeps", "import time; time.sleep(60)", runtime={"process_timeout": 1})
    with pytest.raises(UserError, match=r"timeout of 1 second"):
        installation.run("sleeps")
    assert left_behind(installation) == []


@pytest.mark.rules("IG-6", "LC-33", "LC-45")
def test_a_missing_image_is_named_before_any_container_runs(installation: Installation) -> None:
    definition = {"type": "dockerhub", "uri": "nowhere/absent", "tag": "7", "pull_policy": "never"}
    installation.component("test.absent", {"definition": definition})
    installation.script("absent", "print(1)", component="test.absent")
    with pytest.raises(UserError, match=r"nowhere/absent:7"):
        installation.run("absent", component="test.absent")
    assert left_behind(installation) == []


@pytest.mark.rules("IM-39")
def test_an_unknown_table_is_named_with_similar_ones(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    mapping = {"input": {"tables": [{"source": "in.c-main.tt"}]}}
    installation.script("unknown", "print(1)", storage=mapping)
    with pytest.raises(ConfigurationError, match=r"in\.c-main\.tt.*in\.c-main\.t\b"):
        installation.run("unknown")


@pytest.mark.rules("OM-3")
def test_a_mapped_table_that_was_not_written_is_named_and_nothing_is_stored(installation: Installation) -> None:
    output = {"tables": [{"source": name, "destination": f"out.c-main.{name}"} for name in ("a", "b")]}
    script = "open('/data/out/tables/a', 'w').write('x\\n1\\n')"
    installation.script("half", script, storage={"output": output})
    with pytest.raises(ConfigurationError, match=r"storage\.output\.tables\[1\]\.source.*out/tables/b.*it wrote: a"):
        installation.run("half")
    assert installation.tables() == []


@pytest.mark.rules("OM-74", "LC-53")
def test_one_bad_table_keeps_the_others_and_the_state_out_of_storage(installation: Installation) -> None:
    script = (
        "open('/data/out/tables/good.csv', 'w').write('x\\n1\\n')\n"
        "open('/data/out/tables/bad.csv', 'w').write('x,y\\n1,2\\n3\\n')\n"
        "open('/data/out/state.json', 'w').write('{\"n\": 1}')\n"
    )
    installation.script("mixed", script, storage={"output": {"default_bucket": "out.c-main"}})
    with pytest.raises(UserError, match=r"(?s)bad.*line 3|line 3.*bad"):
        installation.run("mixed")
    assert installation.tables() == []
    assert installation.state("mixed") == {}


def test_a_link_to_a_file_of_the_machine_is_refused(installation: Installation, tmp_path: Path) -> None:
    script = "import os; os.symlink('/etc/passwd', '/data/out/tables/stolen.csv')"
    installation.script("link", script, storage={"output": {"default_bucket": "out.c-main"}})
    with pytest.raises(UserError, match=r"out/tables/stolen\.csv"):
        installation.run("link")
    assert installation.tables() == []


@pytest.mark.rules("ST-2", "ST-5", "ST-6", "IM-31")
def test_state_comes_back_in_the_next_run(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    script = (
        "import json\n"
        "n = json.load(open('/data/in/state.json')).get('n', 0)\n"
        "json.dump({'n': n + 1, 'm': {}}, open('/data/out/state.json', 'w'))\n"
    )
    installation.script("counts", script, storage={"input": MAPPING["input"]})
    for _ in range(2):
        installation.run("counts")
    state = installation.state("counts")
    assert state["component"] == {"n": 2, "m": {}}
    assert [item["source"] for item in state["storage"]["input"]["tables"]] == ["in.c-main.t"]


@pytest.mark.rules("ST-9")
def test_a_state_that_is_not_json_is_the_authors_to_mend(installation: Installation) -> None:
    installation.script("bad-state", "open('/data/out/state.json', 'w').write('{\"n\": ')")
    with pytest.raises(ConfigurationError, match=r"out/state\.json.*line 1"):
        installation.run("bad-state")


@pytest.mark.rules("RW-2", "RW-6", "RW-7", "LC-25")
def test_rows_run_in_order_and_a_failed_row_stops_the_rows_after_it(installation: Installation) -> None:
    def row(number: int, ending: str = "") -> dict[str, object]:
        script = f"open('/data/out/tables/r.csv', 'w').write('n\\n{number}\\n'){ending}"
        return {"parameters": {"script": script}}

    rows = {"a": row(1), "b": row(2, "; raise SystemExit(1)"), "c": row(3), "d": row(4)}
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.r", "incremental": True}]}
    installation.configuration("rows", {"storage": {"output": output}}, rows=rows, disabled_rows=("d",))
    with pytest.raises(ComponentError):
        installation.run("rows")
    assert installation.rows("out.c-main.r") == [{"n": "1"}]
    installation.run("rows", rows=["d", "c"])
    assert installation.rows("out.c-main.r") == [{"n": "1"}, {"n": "3"}, {"n": "4"}]


@pytest.mark.rules("LC-28")
def test_what_a_row_has_stored_is_there_for_the_next_one(installation: Installation) -> None:
    write = "open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')"
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.r"}]}
    tables = [{"source": "out.c-main.r", "destination": "r.csv"}]
    rows = {
        "a": {"parameters": {"script": write}, "storage": {"output": output}},
        "b": {"parameters": {"script": "print(open('/data/in/tables/r.csv').read())"},
              "storage": {"input": {"tables": tables}}},
    }  # fmt: skip
    installation.configuration("rows", {}, rows=rows)
    installation.run("rows")
    assert '"1"' in installation.lines


@pytest.mark.rules("LC-60", "LC-62", "LC-63", "LC-64")
def test_debug_mode_stores_snapshots_and_no_results(installation: Installation) -> None:
    installation.script(
        "debug",
        "open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')",
        storage={"output": {"default_bucket": "out.c-main"}},
    )
    installation.run("debug", mode="debug")
    assert installation.tables() == []
    from docker_runner.storage.base import FileQuery

    names = [file.name for file in installation.tools().storage.files(FileQuery(tags=("debug", SCRIPT)))]
    assert names == ["stage_output.zip", "stage_0.zip"]


@pytest.mark.rules("LG-20", "LC-39", "EN-9")
def test_a_secret_reaches_the_component_and_nothing_else(installation: Installation) -> None:
    secret = "s3cret-värde"
    encrypted = installation.command("encrypt", "--component", SCRIPT, "--value", input=secret).stdout.strip()
    assert encrypted.startswith("KBC::ProjectSecure::")
    script = (
        "s = c['parameters']['#password']; print('got', len(s), s)\n"
        "import json; json.dump({'#token': s}, open('/data/out/state.json', 'w'))\n"
        "open('/data/out/tables/t.csv', 'w').write('a\\n1\\n')\n"
    )
    configuration = {
        "parameters": {"script": script, "#password": encrypted},
        "storage": {"output": {"default_bucket": "out.c-main"}},
    }
    installation.configuration("secret", configuration)
    installation.run("secret")
    assert f"got {len(secret)} [hidden]" in installation.lines
    assert not [line for line in installation.lines if secret in line]
    assert installation.state("secret")["component"]["#token"].startswith("KBC::ProjectSecure::")
    installation.run("secret")
    holders = [
        path for path in (installation.folder).rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holders == []


def test_a_plain_secret_is_refused_with_the_way_out(installation: Installation) -> None:
    installation.configuration("plain", {"parameters": {"script": "1", "#password": "open"}})
    with pytest.raises(ConfigurationError, match=r"parameters\.#password.*docker-runner encrypt"):
        installation.run("plain")


def test_the_command_line_shows_one_message_and_no_traceback(installation: Installation) -> None:
    file = installation.configuration("broken", {"parameters": {}, "storage": {"input": {"table": []}}})
    done = installation.command("run", f"{SCRIPT}/broken")
    assert done.returncode == 1
    assert done.stderr == f"Error: {file}:1: storage.input: Unknown key 'table'; did you mean 'tables'?\n"
    for wrong, words in (
        ("test.scrip/broken", "test.script"),
        (f"{SCRIPT}/brokn", "broken"),
        ("nonsense", "component"),
    ):
        done = installation.command("run", wrong)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_an_engine_that_is_down_gives_one_message(installation: Installation) -> None:
    installation.script("any", "print(1)")
    done = installation.command("run", f"{SCRIPT}/any", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 2
    assert "unix:///nowhere/docker.sock" in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.workspaces == []


def test_validate_names_every_broken_configuration(installation: Installation) -> None:
    installation.script("good", "print(1)")
    installation.configuration("bad", {"storage": {"input": {"tables": [{"sauce": "in.c-main.t"}]}}})
    done = installation.command("validate")
    assert done.returncode == 1
    assert f"ok      {SCRIPT}/good" in done.stdout
    assert f"broken  {SCRIPT}/bad\n" in done.stdout
    assert json.dumps("sauce")[1:-1] in done.stdout


@pytest.mark.rules("LC-11")
def test_a_configuration_that_is_running_is_not_started_a_second_time(installation: Installation) -> None:
    installation.script("once", "import os, time\nfor _ in range(3000): os.path.exists('/data/go') or time.sleep(0.05)")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(installation.command, "run", f"{SCRIPT}/once")
        while not (begun := list(installation.settings.workspaces.rglob("config.json"))):
            assert not first.done(), first.result()
            time.sleep(0.05)
        second = installation.command("run", f"{SCRIPT}/once")
        (begun[0].parent / "go").touch()
    assert (second.returncode, second.stderr) == (
        1,
        f"Error: {SCRIPT}/once is running already; wait for it to finish.\n",
    )
    assert first.result().returncode == 0, first.result().stderr
    installation.script("once", "print('again')")
    assert installation.command("run", f"{SCRIPT}/once").returncode == 0


@pytest.mark.rules("LC-39", "ST-5")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)"])
def test_when_a_container_has_ended_no_secret_is_left_in_the_folders_of_the_run(
    installation: Installation, ending: str
) -> None:
    secret = "s3cret-of-the-folder"
    encrypted = installation.command("encrypt", "--component", SCRIPT, "--value", input=secret).stdout.strip()
    script = (
        "import json; assert json.load(open('/data/in/state.json')) == {}\n"
        f"json.dump({{'#token': c['parameters']['#password']}}, open('/data/out/state.json', 'w'))\n{ending}"
    )
    installation.configuration("secret", {"parameters": {"script": script, "#password": encrypted}})
    job, tools = installation.job("secret"), installation.tools()
    workspace = Workspace(tools.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    step = next(step for step in row_steps({}, job.rows[0].component) if step.name == "run_component")
    with pytest.raises(ComponentError) if ending else nullcontext():
        perform(step, workspace=workspace, row_id="", tools=tools, manifests={})
    files = [path for path in workspace.folder.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if secret.encode() in path.read_bytes()] == []
    clean_up(workspace, tools)
