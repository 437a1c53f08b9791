"""All steps of a run in one task: what another attempt does again, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.installation import Installation

from docker_runner.errors import RunnerError, UserError
from docker_runner.job.merged import MergedRun
from docker_runner.job.supervision import Following, StillRunningError
from docker_runner.job.workspace import Workspace
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

pytestmark = pytest.mark.engine

BEGINS = "import os, sys, time\nprint('begin', os.urandom(4).hex(), flush=True)\n"
WRITES = "open('/data/out/tables/r.csv', 'w').write('row\\n{name}\\n')\n"


class Attempts:
    """Attempts of one run of a configuration."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.name = name
        self.resolved = 0

    def attempt(self, *, series: str = "1", is_last: bool = False, **following: Any) -> dict[str, dict[str, Any]]:
        def resolve() -> Any:
            self.resolved += 1
            return self.installation.job(self.name)

        settings = self.installation.settings
        return MergedRun(
            resolve=resolve,
            workspace=Workspace(settings.workspaces, self.installation.job(self.name).id),
            tools=self.installation.tools(),
            following=Following(series=series, **following),
            is_last=is_last,
        ).run()

    def begun(self) -> int:
        return sum(line.startswith("begin ") for line in self.installation.lines)


def rows_of(installation: Installation, name: str, scripts: dict[str, str]) -> None:
    output = {"tables": [{"source": "r.csv", "destination": f"out.c-main.{name}", "incremental": True}]}
    rows = {row: {"parameters": {"script": BEGINS + script}} for row, script in scripts.items()}
    installation.configuration(name, {"storage": {"output": output}}, rows=rows)


def test_a_merged_run_reports_what_its_steps_did_and_leaves_nothing(installation: Installation) -> None:
    rows_of(installation, "fine", {"a": WRITES.format(name="a"), "b": WRITES.format(name="b")})
    manifests = Attempts(installation, "fine").attempt()
    assert manifests["create_workspace"]["rows"] == ["a", "b"]
    assert list(manifests["pull_images"]["images"]) == ["docker-runner-test/script:latest"]
    assert manifests["b.run_component"]["exit_code"] == 0
    (table,) = manifests["b.unload_output"]["tables"]
    assert (table["id"], table["rows"], table["table_rows"]) == ("out.c-main.fine", 1, 2)
    assert table["bytes"] > 0
    assert table["commit"]
    with Lake(parse_location(installation.settings.storage)) as lake:
        assert table["snapshot"] == lake.history("out.c-main.fine")[0].snapshot
    assert len(json.dumps(manifests)) < 10_000
    assert installation.workspaces == []


def test_an_attempt_after_an_application_error_repeats_only_what_is_not_done(installation: Installation) -> None:
    rows_of(installation, "again", {"a": WRITES.format(name="a"), "b": "sys.exit(3)\n"})
    attempts = Attempts(installation, "again")
    for _ in range(2):
        with pytest.raises(RunnerError):
            attempts.attempt()
        assert installation.workspaces != []
    # The first row ran and was stored once, the second one was tried twice; the job was resolved once.
    assert (attempts.begun(), attempts.resolved) == (3, 1)
    assert installation.rows("out.c-main.again") == [{"row": "a"}]
    with pytest.raises(RunnerError):
        attempts.attempt(is_last=True)
    assert installation.workspaces == []


def test_whoever_clears_the_task_has_everything_done_anew(installation: Installation) -> None:
    rows_of(installation, "anew", {"a": WRITES.format(name="a"), "b": "sys.exit(3)\n"})
    attempts = Attempts(installation, "anew")
    for series in ("1", "2"):
        with pytest.raises(RunnerError):
            attempts.attempt(series=series)
    assert (attempts.begun(), attempts.resolved) == (4, 2)
    assert installation.rows("out.c-main.anew") == [{"row": "a"}, {"row": "a"}]


def test_a_user_error_ends_a_merged_run_and_stores_what_is_to_be_left(installation: Installation) -> None:
    manifest = "open('/data/out/tables/r.csv.manifest', 'w').write('{\"write_always\": true}')\n"
    rows_of(installation, "wrong", {"a": WRITES.format(name="left") + manifest + "sys.exit(1)\n", "b": ""})
    attempts = Attempts(installation, "wrong")
    with pytest.raises(UserError):
        attempts.attempt()
    assert attempts.begun() == 1
    assert installation.rows("out.c-main.wrong") == [{"row": "left"}]
    assert installation.workspaces == []


@pytest.mark.parametrize("resumed", [False, True])
def test_a_container_that_outlives_its_attempt_is_followed_on_and_the_rest_is_done(
    installation: Installation, resumed: bool
) -> None:
    scripts = {"a": WRITES.format(name="a"), "b": "time.sleep(3)\n" + WRITES.format(name="b")}
    rows_of(installation, "outlives", {**scripts, "c": WRITES.format(name="c")})
    attempts = Attempts(installation, "outlives")
    with pytest.raises(StillRunningError) as left:
        attempts.attempt(leave_after=1.0)
    assert (left.value.row_id, left.value.position) == ("b", 0)
    manifests = attempts.attempt(resumed=resumed)
    assert (attempts.begun(), attempts.resolved) == (3, 1)
    assert manifests["c.unload_output"]["tables"][0]["table_rows"] == 3
    assert installation.workspaces == []
