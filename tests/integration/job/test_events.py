"""The event log: what jobs tell of themselves, and that nothing of it is lost."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import StorageError
from docker_runner.job.event_log import MOST, EventLog, store_left_events
from docker_runner.job.run import run_job
from docker_runner.job.steps import clean_up, create_workspace
from docker_runner.job.workspace import Workspace
from docker_runner.storage import open_ledger
from docker_runner.storage.base import Ledger
from docker_runner.storage.events import Event, EventQuery, EventSource, EventType

SOURCE = EventSource("job", "run", "vendor.ex", "main")
LOG = logging.getLogger("test")


def events(installation: Installation, **query: Any) -> list[Event]:
    return list(open_ledger(installation.settings.storage).events(EventQuery(**query)))


def told(found: list[Event]) -> list[tuple[str, str]]:
    return [(event.type.value, event.message) for event in found]


@pytest.mark.engine
@pytest.mark.rules("LC-7", "LC-23", "LC-24", "RW-7", "IM-38", "LG-6", "CT-34")
def test_a_run_of_rows_tells_its_way_from_the_command_line_to_the_end(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n2\n")
    script = (
        "import sys, shutil; print('working'); print('hm, odd', file=sys.stderr)\n"
        "shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')\n"
    )
    storage = {
        "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
        "output": {"tables": [{"source": "t.csv", "destination": "out.c-main.copied"}]},
    }
    rows = {"a": {"storage": storage}, "b": {}, "c": {"storage": storage}}
    installation.configuration("rows", {"parameters": {"script": script}}, rows=rows, disabled_rows=("b",))
    done = installation.command("run", f"{SCRIPT}/rows")
    assert done.returncode == 0, done.stderr
    found = events(installation)
    assert len({(event.source.job_id, event.source.run_id) for event in found}) == 1
    assert found[0].source.job_id == f"cli.{SCRIPT}.rows"
    assert all((event.source.component_id, event.source.config_id) == (SCRIPT, "rows") for event in found)
    lines = told(found)
    assert ("info", "The row b is disabled and left out.") in lines
    begin = next(event for event in found if event.message == f"Running {SCRIPT}/rows.")
    assert begin.params["rows"] == ["a", "c"]
    assert begin.params["storage_tokens"] == []
    assert "Images are ready." in [event.message for event in found]
    for number, row in ((1, "a"), (2, "c")):
        of_row = [event for event in found if event.source.row_id == row]
        assert told(of_row)[0] == ("info", f"Running component {SCRIPT}, row {number} of 2.")
        assert told(of_row)[-1] == ("info", f"Finished component {SCRIPT}, row {number} of 2.")
        assert any(event.message.startswith("Fetched table in.c-main.t: 2 rows") for event in of_row)
        assert ("info", "working") in told(of_row)
        assert ("error", "hm, odd") in told(of_row)
        loaded, ran, stored = (
            next(event for event in of_row if event.results.get("step") == step)
            for step in ("load_tables", "run_component", "unload_output")
        )
        assert loaded.results["tables"][0]["rows"] == 2
        assert (ran.type, ran.results["exit_code"]) == (EventType.SUCCESS, 0)
        assert ran.seconds is not None
        assert stored.results["tables"][0]["id"] == "out.c-main.copied"
    assert lines[-1] == ("success", "Component processing finished.")
    assert found[-1].seconds is not None
    # Ids sort as events happened.
    assert [event.created for event in found] == sorted(event.created for event in found)
    shown = installation.command("storage", "events", "--run", found[0].source.run_id, "--type", "error").stdout
    assert shown.count("hm, odd") == 2
    assert "working" not in shown


@pytest.mark.engine
@pytest.mark.rules("LC-7", "RW-7")
def test_a_run_whose_rows_are_all_disabled_goes_well_and_says_so(installation: Installation) -> None:
    installation.configuration("off", {}, rows={"a": {}}, disabled_rows=("a",))
    run_job(installation.job("off"), installation.tools())
    assert told(events(installation))[-1] == ("success", "No configurations executed.")


@pytest.mark.engine
@pytest.mark.rules("LC-6", "LG-22")
def test_a_failure_is_told_with_its_kind_and_without_secrets(installation: Installation) -> None:
    script = "import sys; print('No account for ' + c['parameters']['#key'], file=sys.stderr); sys.exit(1)"
    parameters = {"script": script, "#key": installation.cipher("s3cr3t-key")}
    installation.configuration("fails", {"parameters": parameters})
    assert installation.command("run", f"{SCRIPT}/fails").returncode == 1
    found = events(installation, types=(EventType.ERROR,))
    assert {event.message for event in found} == {"No account for [hidden]"}
    assert [event.results for event in found if event.results] == [{"error": "user"}]
    assert not [event for event in events(installation) if "s3cr3t-key" in json.dumps(event.document())]


def test_a_job_that_cannot_be_read_tells_why(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.configuration("broken", {"unknown": 1})
    assert installation.command("run", f"{SCRIPT}/broken").returncode == 1
    (event,) = events(installation, component_id=SCRIPT, config_id="broken")
    assert event.type is EventType.ERROR
    assert "unknown" in event.message
    assert event.results == {"error": "user"}


class Broken:
    """A ledger that cannot be reached."""

    def add_events(self, _: object) -> None:
        raise StorageError("down")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(f"ducklake:sqlite:{tmp_path}/catalog.sqlite")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run/events").mkdir(parents=True)
    return tmp_path / "run"


def test_what_a_killed_attempt_told_is_stored_by_whoever_ends_the_run(ledger: Ledger, folder: Path) -> None:
    killed = EventLog(SOURCE, folder / "events")
    killed.add(EventType.INFO, "one")
    killed.add(EventType.WARN, "two", results={"n": 1})
    (file,) = (folder / "events").iterdir()
    with file.open("a") as stream:
        stream.write('{"id": "cut off')
    store_left_events(folder, ledger, LOG)
    assert told(list(ledger.events(EventQuery()))) == [("info", "one"), ("warn", "two")]
    assert list((folder / "events").iterdir()) == []
    # An attempt that was only thought to be dead stores nothing twice.
    killed.add(EventType.INFO, "three")
    killed._began -= 60
    killed.store(ledger, LOG)
    assert [event.message for event in ledger.events(EventQuery())] == ["one", "two", "three"]


def test_events_wait_when_storage_cannot_take_them(
    ledger: Ledger, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = EventLog(SOURCE, folder / "events")
    log.add(EventType.INFO, "kept")
    log._began -= 60
    log.store(Broken(), LOG)  # type: ignore[arg-type]
    assert "Events cannot be stored now: down" in caplog.text
    store_left_events(folder, Broken(), LOG)  # type: ignore[arg-type]
    store_left_events(folder, ledger, LOG)
    assert [event.message for event in ledger.events(EventQuery())] == ["kept"]


def test_a_short_step_leaves_its_events_for_the_end_and_a_long_one_stores_them_at_once(
    ledger: Ledger, folder: Path
) -> None:
    short, long = EventLog(SOURCE, folder / "events"), EventLog(SOURCE, folder / "events")
    long._began -= 60
    for log, message in ((short, "short"), (long, "long")):
        log.add(EventType.INFO, message)
        log.store(ledger, LOG)
    assert [event.message for event in ledger.events(EventQuery())] == ["long"]
    store_left_events(folder, ledger, LOG)
    assert [event.message for event in ledger.events(EventQuery())] == ["short", "long"]


@pytest.mark.rules("LG-13", "LG-14", "CT-36")
def test_events_are_bounded_in_number_and_length_and_never_empty(ledger: Ledger) -> None:
    log = EventLog(SOURCE, None)
    for text in ("", " \n", "x" * 5000):
        log.add(EventType.INFO, text)
    for number in range(MOST + 5):
        log.add(EventType.INFO, f"message {number}")
    log.add(EventType.ERROR, "the end", is_verdict=True)
    log.store(ledger, LOG)
    found = ledger.events(EventQuery(limit=MOST * 2))
    assert len(found) == MOST + 2
    assert len(found[0].message) == 4000
    assert [event.message for event in found[-2:]] == ["the end", "6 more events are only in the log of the task."]


def test_a_run_that_is_started_again_keeps_the_events_of_the_first(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.script("again", "pass")
    job, tools = installation.job("again"), installation.tools()
    workspace = Workspace(installation.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    EventLog(SOURCE, workspace.folder / "events").add(EventType.INFO, "of the first")
    time.sleep(0.01)
    create_workspace(job, workspace, tools)
    clean_up(workspace, tools, problem="")
    messages = [event.message for event in events(installation)]
    assert messages.count(f"Running {SCRIPT}/again.") == 2
    assert "of the first" in messages
    assert messages[-1] == "Component processing finished."
