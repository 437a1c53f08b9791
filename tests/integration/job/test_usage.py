"""What a component reports of its own consumption."""

from __future__ import annotations

from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ComponentError, ConfigurationError
from docker_runner.interface.result import CrashedComponentError, FailedComponentError, TimeLimitError

pytestmark = pytest.mark.engine


def report(text: str, ending: str = "") -> str:
    return f"open('/data/out/usage.json', 'w').write('''{text}''')\n{ending}"


CALLS = '[{"metric": "calls", "value": 5}]'
SEEN = [{"metric": "calls", "value": 5}]


@pytest.mark.rules("US-1", "US-2", "US-4", "LC-64")
@pytest.mark.parametrize(
    ("script", "usage"),
    [(report(CALLS), SEEN), (report('[{"metric": "calls", "value": 0}]'), [{"metric": "calls", "value": 0}]),
     (report("[]"), []), ("pass", None)],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["run", "debug"])
def test_usage_is_part_of_the_result(installation: Installation, script: str, usage: Any, mode: str) -> None:
    installation.script("uses", script)
    result = installation.run("uses", mode=mode)
    assert result.manifests["run_component"].get("usage") == usage


@pytest.mark.rules("US-4")
def test_each_row_reports_its_own(installation: Installation) -> None:
    rows = {row: {"parameters": {"script": report(CALLS.replace("5", row))}} for row in ("1", "2")}
    installation.configuration("uses", {}, rows=rows)
    manifests = installation.run("uses").manifests
    assert [manifests[f"{row}.run_component"]["usage"][0]["value"] for row in ("1", "2")] == [1, 2]


@pytest.mark.rules("US-2", "LC-46", "LC-47", "LC-48")
@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("raise SystemExit(1)", FailedComponentError),
        ("raise SystemExit(7)", CrashedComponentError),
        ("import time; time.sleep(60)", TimeLimitError),
    ],
)
def test_a_component_that_fails_reports_its_usage_all_the_same(
    installation: Installation, ending: str, error: type[Any]
) -> None:
    installation.script("fails", report(CALLS, ending), runtime={"process_timeout": 2})
    with pytest.raises(error) as raised:
        installation.run("fails")
    assert raised.value.usage == SEEN
    assert "Usage: calls 5" in installation.lines


@pytest.mark.rules("US-3", "D26", "LC-49", "ST-10")
@pytest.mark.parametrize("text", ["{", '{"metric": "calls"}', '[{"metric": "calls"}]', ""])
def test_wrong_usage_fails_the_component_and_stores_nothing(installation: Installation, text: str) -> None:
    script = report(text) + "open('/data/out/state.json', 'w').write('{}')"
    installation.script("wrong", script)
    with pytest.raises(ConfigurationError, match=r"^out/usage\.json"):
        installation.run("wrong")
    assert installation.state("wrong") == {}


@pytest.mark.rules("US-3", "D26", "LC-49")
@pytest.mark.parametrize(
    "wrong", [report("{"), "import os; os.symlink('/etc/passwd', '/data/out/usage.json')\n",
              "import os, shutil; shutil.rmtree('/data/out'); os.symlink('/etc', '/data/out')\n"],
)  # fmt: skip
def test_wrong_usage_never_hides_what_the_component_said(installation: Installation, wrong: str) -> None:
    installation.script("fails", wrong + "import sys; sys.exit('No such account.')")
    with pytest.raises(ComponentError, match=r"^No such account\.$") as raised:
        installation.run("fails")
    assert raised.value.usage is None  # type: ignore[attr-defined]
    assert [line for line in installation.lines if line.startswith("out")]


@pytest.mark.rules("US-4", "PR-11")
def test_what_a_processor_reports_does_not_count(installation: Installation) -> None:
    installation.component("test.processor", {"network": "none"})
    item = {"definition": {"component": "test.processor"}, "parameters": {"script": report("{")}}
    installation.script("uses", "pass", processors={"before": [item], "after": [item]})
    manifests = installation.run("uses").manifests
    assert [name for name, manifest in manifests.items() if "usage" in manifest] == []
    assert manifests["run_component"]["component"] == SCRIPT


def test_a_secret_in_a_report_is_hidden(installation: Installation) -> None:
    script = (
        "import json; json.dump([{'metric': c['parameters']['#p'], 'value': 1}], open('/data/out/usage.json', 'w'))"
    )
    parameters = {"script": script, "#p": installation.cipher("s3cret")}
    installation.configuration("secret", {"parameters": parameters})
    assert installation.run("secret").manifests["run_component"]["usage"] == [{"metric": "[hidden]", "value": 1}]
