"""Debug mode, as somebody sees it who opens the snapshots."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import pytest
import yaml
from tests.installation import SCRIPT, YAML, Installation

from docker_runner.errors import ComponentError
from docker_runner.storage.base import StoredFile

pytestmark = pytest.mark.engine

PROCESSOR = "test.processor"
SECRET = "s3cret-of-debug"


def snapshots(installation: Installation) -> list[StoredFile]:
    return installation.files("debug")


def entries(installation: Installation, file: StoredFile) -> dict[str, str]:
    with zipfile.ZipFile(installation.download(file)) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


@pytest.mark.rules("LC-60", "LC-61", "LC-62", "LC-63", "PR-16", "TV-10", "DF-5", "CT-40")
def test_each_image_and_the_end_have_a_snapshot_of_the_whole_data_folder(installation: Installation) -> None:
    installation.component(PROCESSOR, {"network": "none"})
    installation.load("in.c-main.t", "id\n1\n")
    script = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')\n"
    item = {"definition": {"component": PROCESSOR}, "parameters": {"script": script}}
    main = script + (
        "import os; os.makedirs('/data/own/empty'); open('/data/own/f', 'w').write('kept'); open('/tmp/t', 'w')\n"
        "json.dump({'#new': c['parameters']['#p']}, open('/data/out/state.json', 'w'))\n"
        "open('/data/out/tables/.hidden', 'w')\n"
    )
    content = {
        "parameters": {"script": main, "#p": installation.cipher(SECRET)},
        "processors": {"before": [item], "after": [item]},
        "storage": {"input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]}},
    }
    installation.configuration("debug", content, rows={"r": {}})
    installation.store_state("debug", {"component": {"#old": installation.cipher(SECRET), "n": 1}}, row="r")
    manifest = installation.run("debug", mode="debug").manifests["r.unload_output"]
    stored = snapshots(installation)
    same = {"debug", "jobId:run-1", "rowId:r"}
    assert [(file.name, set(file.tags)) for file in stored] == [
        ("stage_0.zip", {PROCESSOR, *same}), ("stage_1.zip", {SCRIPT, *same}),
        ("stage_2.zip", {PROCESSOR, *same}), ("stage_output.zip", {SCRIPT, *same}),
    ]  # fmt: skip
    assert not [file for file in stored if file.is_permanent or file.is_public]
    assert manifest == {
        "tables": [], "state": False,
        "files": [{"id": stored[3].id, "name": "stage_output.zip", "bytes": stored[3].size_bytes}],
    }  # fmt: skip
    before, component, after, output = (entries(installation, file) for file in stored)
    assert {name for name, text in before.items() if text} == {
        "config.json", "in/tables/t.csv", "in/tables/t.csv.manifest",
    }  # fmt: skip
    assert {"in/user/", "in/files/", "out/tables/", "out/files/", "artifacts/out/current/"} <= before.keys()
    assert json.loads(component["config.json"])["parameters"]["#p"] == "[hidden]"
    assert json.loads(component["in/state.json"]) == {"#old": "[hidden]", "n": 1}
    assert json.loads(after["config.json"])["parameters"]["script"] == script
    assert (after["own/f"], output["own/f"]) == ("kept", "kept")
    assert "own/empty/" in after
    assert {"in/tables/t.csv", "out/tables/t.csv", "config.json"} <= output.keys()
    everything = [(name, text) for file in (before, component, after, output) for name, text in file.items()]
    assert not [name for name, text in everything if SECRET in text or ".hidden" in name or "tmp" in name]


@pytest.mark.rules("LC-60", "LC-62", "LC-63", "LC-86", "EV-1")
def test_the_last_snapshot_shows_what_the_component_got_too(installation: Installation) -> None:
    installation.store_state("debug", {"component": {"#old": installation.cipher(SECRET)}})
    script = f"import os; print(os.environ['KBC_RUNID']); open('/data/out/files/f', 'w').write({SECRET[::-1]!r})"
    content = {"parameters": {"script": script, "#p": installation.cipher(SECRET)}}
    installation.configuration("debug", content)
    installation.run("debug", mode="debug", parent_run_id="12.5")
    assert "12.5.run-1" in installation.lines
    assert all("jobId:run-1" in file.tags for file in snapshots(installation))
    found = entries(installation, snapshots(installation)[-1])
    assert json.loads(found["config.json"])["parameters"]["#p"] == "[hidden]"
    assert json.loads(found["in/state.json"]) == {"#old": "[hidden]"}
    assert found["out/files/f"] == SECRET[::-1]


@pytest.mark.rules("LC-60")
def test_a_run_that_fails_has_the_snapshots_made_so_far(installation: Installation) -> None:
    script = "import os; raise SystemExit(int(os.environ['KBC_CONFIGROWID'] == 'b'))"
    installation.configuration("debug", {"parameters": {"script": script}}, rows={"a": {}, "b": {}, "c": {}})
    with pytest.raises(ComponentError):
        installation.run("debug", mode="debug")
    rows = [(file.name, tag) for file in snapshots(installation) for tag in file.tags if tag.startswith("rowId:")]
    assert rows == [("stage_0.zip", "rowId:a"), ("stage_output.zip", "rowId:a"), ("stage_0.zip", "rowId:b")]


@pytest.mark.rules("LC-64", "OF-9", "OM-100", "IF-29")
@pytest.mark.parametrize("ending", ["", "raise SystemExit(1)"])
def test_debug_mode_stores_no_tables_files_tags_or_state(installation: Installation, ending: str) -> None:
    file = installation.folder / "picture.png"
    file.write_text("content")
    installation.store_file(file, "wanted")
    script = (
        "open('/data/out/tables/t', 'w').write('a\\n1\\n'); open('/data/out/files/f', 'w')\n"
        "open('/data/out/state.json', 'w').write('{\"n\": 1}')\n" + ending
    )
    storage: dict[str, Any] = {
        "input": {"files": [{"tags": ["wanted"], "processed_tags": ["done"]}]},
        "output": {"tables": [{"source": "t", "destination": "out.c-main.t", "write_always": True}]},
    }
    installation.script("debug", script, storage=storage)
    if ending:
        with pytest.raises(ComponentError):
            installation.run("debug", mode="debug")
    else:
        installation.run("debug", mode="debug")
    assert installation.tables() == []
    assert installation.state("debug") == {}
    assert installation.files("done") == []
    assert {name.name for name in installation.files()} <= {"picture.png", "stage_0.zip", "stage_output.zip"}


@pytest.mark.rules("LC-62", "D16", "CD-11", "DF-10", "DF-17", "US-1", "ST-5")
def test_a_component_that_wants_yaml_gets_and_gives_yaml(installation: Installation, yaml_image: None) -> None:
    installation.component(YAML, {
        "network": "none", "configuration_format": "yaml",
        "definition": {"type": "dockerhub", "uri": "docker-runner-test/yaml", "pull_policy": "never"},
    })  # fmt: skip
    parameters = {"#p": installation.cipher(SECRET, component=YAML), "text": "1e3", "empty": {}}
    installation.configuration("yaml", {"parameters": parameters}, component=YAML)
    result = installation.run("yaml", component=YAML)
    assert result.manifests["run_component"]["usage"] == [{"metric": "calls", "value": 2}]
    assert installation.state("yaml", component=YAML)["component"]["n"] == 1
    begin = installation.lines.index("parameters:")
    told = yaml.safe_load("\n".join(installation.lines[begin : installation.lines.index("{}", begin)]))
    # The log shows the secret's place as text, which YAML would read as a list.
    assert told["parameters"] == {"#p": ["hidden"], "text": "1e3", "empty": {}}
    installation.run("yaml", component=YAML, mode="debug")
    first, output = (entries(installation, file) for file in snapshots(installation))
    for found in (first, output):
        assert yaml.safe_load(found["config.yml"])["parameters"] == {"#p": "[hidden]", "text": "1e3", "empty": {}}
        assert yaml.safe_load(found["in/state.yml"]) == {"n": 1, "#t": "[hidden]"}
        assert "config.json" not in found
        assert not [name for name, text in found.items() if SECRET in text]
