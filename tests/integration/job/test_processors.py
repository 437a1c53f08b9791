"""Processors around a component, in real containers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ComponentError, ConfigurationError, UserError
from docker_runner.interface.result import CrashedComponentError

pytestmark = pytest.mark.engine

PROCESSOR = "test.processor"
COPY = "import shutil; shutil.copytree('/data/in/tables', '/data/out/tables', dirs_exist_ok=True)\n"
LIST = (
    "import os; print(c['parameters'].get('name', 'main'), *sorted("
    "os.path.join(p, f)[9:] for p, _, fs in os.walk('/data/in') for f in fs))\n"
)
MAPPING = {
    "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
    "output": {"tables": [{"source": "t.csv", "destination": "out.c-main.t"}]},
}


@pytest.fixture(autouse=True)
def component(installation: Installation) -> None:
    installation.component(PROCESSOR, {"network": "none"})


def processor(script: str, name: str = "p", *, component: str = PROCESSOR, **definition: Any) -> dict[str, Any]:
    return {"definition": {"component": component, **definition}, "parameters": {"script": script, "name": name}}


def add(mark: str) -> str:
    """A script that appends a mark to each row of t.csv."""
    return (
        "t = open('/data/in/tables/t.csv').read().replace('\"', '').splitlines()\n"
        f"open('/data/out/tables/t.csv', 'w').write('\\n'.join([t[0], *(line + {mark!r} for line in t[1:])]) + '\\n')\n"
        f"print('ran', {mark!r})\n"
    )


@pytest.mark.rules("PR-1", "PR-2", "PR-5", "LC-32", "LC-35", "PR-17", "DF-4")
def test_a_chain_runs_in_order_and_each_image_gets_what_the_one_before_left(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\nx\n")
    processors = {
        "before": [processor(add("1")), processor(add("2"))], "after": [processor(add("4")), processor(add("5"))],
    }  # fmt: skip
    installation.script("chain", add("3"), storage=MAPPING, processors=processors)
    result = installation.run("chain")
    assert [line for line in installation.lines if line.startswith("ran ")] == [f"ran {n}" for n in range(1, 6)]
    assert installation.rows("out.c-main.t") == [{"id": "x12345"}]
    images = result.manifests["pull_images"]["images"]
    assert list(images) == ["docker-runner-test/script:latest"]
    assert [result.manifests[name]["component"] for name in ("before_1", "run_component", "after_2")] == [
        PROCESSOR, SCRIPT, PROCESSOR,
    ]  # fmt: skip


@pytest.mark.rules("PR-5", "PR-6", "PR-11", "ST-4", "ST-5", "DF-2", "DF-4", "DF-5", "DF-10")
def test_what_is_not_copied_is_lost_and_only_the_component_has_a_state(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    leave = (
        "open('/data/out/state.json', 'w').write('{\"from\": \"processor\"}')\n"
        "open('/data/out/usage.json', 'w').write('[]')\n"
        "open('/data/in/user/mine', 'w'); open('/tmp/mine', 'w')\n"
        "import os; os.makedirs('/data/elsewhere', exist_ok=True); open('/data/elsewhere/x', 'a').write('x')\n"
        "print('tmp', os.listdir('/tmp'))\n"
    )
    copy = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')\n"
    state = "open('/data/out/state.json', 'w').write('{\"from\": \"component\"}')\n"
    processors = {
        "before": [processor(LIST + copy + leave, "before")],
        "after": [processor(LIST + copy + leave, "after"), processor(LIST + copy + leave, "last")],
    }
    installation.store_state("chain", {"component": {"from": "storage"}})
    script = LIST + "print('state', open('/data/in/state.json').read())\n" + copy + leave + state
    installation.script("chain", script, storage=MAPPING, processors=processors)
    installation.run("chain")
    assert [line for line in installation.lines if line.split()[0] in ("before", "main", "after", "last")] == [
        "before tables/t.csv tables/t.csv.manifest",
        "main state.json tables/t.csv usage.json",
        "after tables/t.csv usage.json",
        "last tables/t.csv usage.json",
    ]
    assert 'state {"from": "storage"}' in installation.lines
    assert installation.lines.count("tmp ['mine']") == 4
    assert installation.state("chain")["component"] == {"from": "component"}
    assert installation.rows("out.c-main.t") == [{"id": "1"}]


@pytest.mark.rules("DF-10", "DF-11", "DF-12", "DF-13", "DF-15", "DF-21", "DF-22", "PR-7", "PR-15", "CD-42", "D1")
def test_each_image_gets_a_config_file_of_its_own(installation: Installation) -> None:
    own = {"#secret": installation.cipher("of the processor", component=PROCESSOR), "x": []}
    installation.component(PROCESSOR, {"network": "none", "image_parameters": own})
    installation.component(SCRIPT, {"network": "none", "image_parameters": {"y": {}}})
    show = "print('config', json.dumps(c))"
    item = {
        "definition": {"component": PROCESSOR},
        "parameters": {"script": show + "; print(len(c['image_parameters']['#secret']))"},
    }
    content = {
        "parameters": {"script": show, "empty": {}, "none": []}, "runtime": {"tag": "latest"}, "variables_id": None,
        "image_parameters": {"mine": 1}, "processors": {"before": [item]},
        "storage": {"input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]}},
    }  # fmt: skip
    installation.configuration("configs", content, branch="dev")
    installation.load("in.c-main.t", "id\n1\n")
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    installation.run("configs")
    before, main = (
        json.loads(line.removeprefix("config ")) for line in installation.lines if line.startswith("config ")
    )
    assert before == {
        "parameters": item["parameters"], "image_parameters": {"#secret": "[hidden]", "x": []}, "action": "run",
        "storage": {}, "authorization": {},
    }  # fmt: skip
    assert "16" in installation.lines
    assert {name: main[name] for name in ("parameters", "image_parameters", "action", "authorization")} == {
        "parameters": content["parameters"], "image_parameters": {"y": {}}, "action": "run", "authorization": {},
    }  # fmt: skip
    assert main["shared_code_row_ids"] == []
    assert not {"processors", "runtime"} & main.keys()
    (table,) = main["storage"]["input"]["tables"]
    assert (table["source"], table["columns"], table["where_operator"]) == ("in.c-main.t", [], "eq")


@pytest.mark.rules("PR-10", "PR-2", "LC-46", "LC-47")
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize(("code", "error"), [(1, ComponentError), (5, CrashedComponentError)])
def test_a_processor_that_fails_ends_the_row(
    installation: Installation, position: str, code: int, error: type[Exception]
) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    fails = f"import sys; print('broken', file=sys.stderr); sys.exit({code})"
    processors = {position: [processor(fails), processor("print('too late')")]}
    script = COPY + "print('main'); open('/data/out/state.json', 'w').write('{}')"
    installation.script("fails", script, storage=MAPPING, processors=processors)
    with pytest.raises(error, match="broken"):
        installation.run("fails")
    assert "too late" not in installation.lines
    assert ("main" in installation.lines) is (position == "after")
    assert installation.tables() == ["in.c-main.t"]
    assert installation.state("fails") == {}


@pytest.mark.rules("PR-9", "CT-11", "CF-14", "CT-13", "CD-13")
def test_limits_and_network_are_those_of_the_processors_own_component(installation: Installation) -> None:
    installation.component(PROCESSOR, {"network": "none", "memory": "48m", "process_timeout": 60})
    installation.component(SCRIPT, {"network": "bridge", "memory": "96m"})
    show = (
        "import os, pathlib\n"
        "paths = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')\n"
        "limit = next(pathlib.Path(p).read_text().strip() for p in paths if os.path.exists(p))\n"
        "print('limits', int(limit) // 10**6, len(os.listdir('/sys/class/net')))\n"
    )
    installation.script("limits", show, processors={"after": [processor(show)]}, runtime={"process_timeout": 30})
    installation.run("limits")
    limits = [line.split()[1:] for line in installation.lines if line.startswith("limits ")]
    assert [memory for memory, _ in limits] == ["95", "47"] or [memory for memory, _ in limits] == ["96", "48"]
    assert int(limits[0][1]) > int(limits[1][1])
    installation.component(PROCESSOR, {"network": "none", "process_timeout": 1})
    installation.script("limits", "pass", processors={"after": [processor("import time; time.sleep(60)")]})
    with pytest.raises(UserError, match="timeout of 1 second"):
        installation.run("limits")


@pytest.mark.rules("PR-12", "LC-31")
def test_a_component_without_storage_runs_without_its_processors(installation: Installation) -> None:
    installation.component("test.none", {"network": "none", "staging_storage": {"input": "none"}})
    processors = {"before": [processor("print('has run')")]}
    installation.script("alone", "print('main')", component="test.none", processors=processors)
    installation.run("alone", component="test.none")
    assert "main" in installation.lines
    assert "has run" not in installation.lines
    assert "Processors are left out: test.none works without Storage." in installation.lines


@pytest.mark.rules("PR-3", "PR-4", "PR-14", "D20")
def test_a_processor_that_cannot_run_is_told_before_any_container(installation: Installation) -> None:
    installation.component(
        "test.before", {"network": "none"}, processorConfiguration={"allowedProcessorPosition": "before"}
    )
    for item, problem in (
        (processor("1", component="test.unknown"), r"processors\.after\[0\]\.definition\.component: .*test\.unknown"),
        (processor("1", component="test.before"), r"processors\.after\[0\].*may only stand before"),
        (processor("1", tag="no-such-tag"), r"docker-runner-test/script:no-such-tag"),
    ):
        installation.script("wrong", "print('has run')", processors={"after": [item]}, runtime={"tag": "latest"})
        with pytest.raises(UserError, match=problem):
            installation.run("wrong")
    assert "has run" not in installation.lines


@pytest.mark.rules("DF-20", "CD-42")
def test_a_configuration_may_not_use_a_secret_of_a_processor(installation: Installation) -> None:
    own = {"#secret": installation.cipher("same", component=PROCESSOR)}
    installation.component(PROCESSOR, {"network": "none", "image_parameters": own})
    item = processor("print('has run')")
    item["parameters"]["deep"] = {"#mine": installation.cipher("same")}
    installation.script("misuse", "1", processors={"after": [item]})
    with pytest.raises(
        ConfigurationError,
        match=r"configuration test\.script/misuse: processors\.after\[0\]\.parameters\.deep\.#mine: This",
    ):
        installation.run("misuse")


@pytest.mark.rules("LG-20", "LG-23", "DF-18")
def test_a_processor_cannot_show_a_secret_of_the_component(installation: Installation) -> None:
    secret = "s3cret-of-main"
    script = (
        "p = c['parameters']['#p']; open('/data/out/files/f', 'w').write(p)\n"
        "json.dump({'#new': p[::-1]}, open('/data/out/state.json', 'w'))"
    )
    show = "s = open('/data/in/files/f').read(); print('old', s); print('new', s[::-1])"
    content = {
        "parameters": {"script": script, "#p": installation.cipher(secret)}, "processors": {"after": [processor(show)]},
    }  # fmt: skip
    installation.configuration("secret", content)
    installation.run("secret")
    assert [line for line in installation.lines if line.startswith(("old ", "new "))] == [
        "old [hidden]",
        "new [hidden]",
    ]


@pytest.mark.rules("DF-18", "CD-42", "LG-20")
def test_no_image_can_show_a_secret_of_its_own_definition(installation: Installation) -> None:
    for name in (SCRIPT, PROCESSOR):
        own = {"deep": [{"#own": installation.cipher(f"s3cret-of-{name}", component=name)}]}
        installation.component(name, {"network": "none", "image_parameters": own})
    show = "print('own', len(c['image_parameters']['deep'][0]['#own']), c['image_parameters']['deep'][0]['#own'])"
    installation.script("own", show, processors={"before": [processor(show)]})
    installation.run("own")
    assert [line for line in installation.lines if line.startswith("own ")] == [
        f"own {len(f's3cret-of-{name}')} [hidden]" for name in (PROCESSOR, SCRIPT)
    ]
