"""What containers are told through their environment, seen from inside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.run import run_job
from docker_runner.job.workspace import Workspace

pytestmark = pytest.mark.engine

TELLER = "test.teller"
TOKEN = "12-345-t0ken0fTheProject"
SHOW = "import os, json; print('env', json.dumps({k: v for k, v in os.environ.items() if k.startswith('KBC_')}))"
ODD = 'He said "it\'s $HOME `id`" \\ x=y; žluť\nnext'
VARIABLES = {
    "DOCKER_RUNNER_KBC_TOKEN": TOKEN,
    "DOCKER_RUNNER_KBC_URL": "https://connection.example.com",
    "DOCKER_RUNNER_KBC_PROJECT_NAME": "My project",
    "DOCKER_RUNNER_KBC_TOKEN_DESCRIPTION": ODD,
}


def told(installation: Installation) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("env ")) for line in installation.lines if line.startswith("env ")]


@pytest.mark.rules(*(f"EV-{number}" for number in (1, 2, 3, 4, 5, 6, 9, 10, 12)), "PR-8")
def test_a_container_knows_who_it_is_and_a_processor_whom_it_works_for(installation: Installation) -> None:
    installation.component(TELLER, {"network": "none"})
    item = {"definition": {"component": TELLER}, "parameters": {"script": SHOW}}
    content = {"parameters": {"script": SHOW}, "processors": {"before": [item]}}
    installation.configuration("knows", content, rows={"r 1": {}})
    job = installation.job("knows")
    run_job(job, installation.tools())
    before, main = told(installation)
    assert (before["KBC_COMPONENTID"], main["KBC_COMPONENTID"]) == (TELLER, SCRIPT)
    assert before == {**main, "KBC_COMPONENTID": TELLER}
    assert main["KBC_CONFIGVERSION"] == job.rows[0].config_version != ""
    assert {name: main[f"KBC_{name}"] for name in ("RUNID", "PROJECTID", "DATADIR", "CONFIGID", "CONFIGROWID")} == {
        "RUNID": "run-1", "PROJECTID": "", "DATADIR": "/data/", "CONFIGID": "knows", "CONFIGROWID": "r 1",
    }  # fmt: skip
    assert main["KBC_PROJECT_FEATURE_GATES"] == "queuev2,artifacts,new-native-types"
    assert main["KBC_COMPONENT_RUN_MODE"] == "run"
    assert "KBC_TOKEN" not in main


@pytest.mark.rules("EV-4", "EV-5", "PR-8")
def test_without_an_id_each_image_gets_one_from_its_own_parameters(installation: Installation) -> None:
    def item(**more: Any) -> dict[str, Any]:
        return {"definition": {"component": SCRIPT}, "parameters": {"script": SHOW, **more}}

    processors = {"before": [item(mine=1)], "after": [item(mine=2), item()]}
    installation.run("", config_data={"parameters": {"script": SHOW}, "processors": processors})
    ids = [env["KBC_CONFIGID"] for env in told(installation)]
    assert [len(text) for text in ids] == [40] * 4
    first, main, second, same = ids
    assert main == same
    assert len({first, main, second}) == 3
    assert {env["KBC_CONFIGVERSION"] for env in told(installation)} == {""}


@pytest.mark.rules("EV-11", "CF-24")
def test_every_image_is_told_the_data_type_support_of_the_main_component(installation: Installation) -> None:
    installation.component(TELLER, {"network": "none"}, dataTypesConfiguration={"dataTypesSupport": "hints"})
    item = {"definition": {"component": SCRIPT}, "parameters": {"script": SHOW}}
    installation.script("types", SHOW, component=TELLER, processors={"after": [item]})
    installation.run("types", component=TELLER)
    assert [env["KBC_DATA_TYPE_SUPPORT"] for env in told(installation)] == ["hints", "hints"]
    installation.lines.clear()
    storage = {"output": {"data_type_support": "authoritative"}}
    installation.script("types", SHOW, component=TELLER, storage=storage)
    installation.run("types", component=TELLER)
    installation.variables["DOCKER_RUNNER_FEATURES"] = "queuev2"
    installation.run("types", component=TELLER)
    assert [env.get("KBC_DATA_TYPE_SUPPORT") for env in told(installation)] == ["authoritative", None]


@pytest.mark.rules("EV-13", "EV-14", "EV-18", "LG-20", "PR-8")
def test_the_token_reaches_the_images_that_ask_for_it_and_nothing_else(installation: Installation) -> None:
    installation.variables |= VARIABLES
    installation.component(TELLER, {"network": "none", "forward_token": True, "forward_token_details": True})
    script = (
        f"import os; assert os.environ['KBC_TOKEN'] == {TOKEN[::-1]!r}[::-1]\n{SHOW}\n"
        "open('/data/out/files/leak', 'w').write('x')"
    )
    item = {"definition": {"component": SCRIPT}, "parameters": {"script": SHOW}}
    installation.script("asks", script, component=TELLER, processors={"after": [item]})
    seen: list[str] = []
    job, tools = installation.job("asks", component=TELLER), installation.tools()

    def look(_row: str, _step: str, _seconds: float) -> None:
        folder = Workspace(tools.settings.workspaces, job.id).folder
        seen.extend(str(path) for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes())

    result = run_job(job, tools, on_step=look)
    asked, other = told(installation)
    assert {name: asked[f"KBC_{name}"] for name in ("TOKEN", "URL", "PROJECTNAME", "TOKENID", "TOKENDESC")} == {
        "TOKEN": "[hidden]", "URL": "https://connection.example.com", "PROJECTNAME": "My project", "TOKENID": "345",
        "TOKENDESC": ODD,
    }  # fmt: skip
    assert not {"KBC_TOKEN", "KBC_URL", "KBC_PROJECTNAME", "KBC_TOKENID", "KBC_TOKENDESC"} & other.keys()
    assert seen == []
    assert not [line for line in installation.lines if TOKEN in line]
    assert TOKEN not in json.dumps(result.manifests)
    assert TOKEN not in job.to_json()


@pytest.mark.rules("EV-13", "EV-14", "LC-5")
def test_without_a_token_nothing_begins_and_the_variables_are_named(installation: Installation) -> None:
    installation.component(TELLER, {"network": "none", "forward_token": True})
    item = {"definition": {"component": TELLER}, "parameters": {"script": SHOW}}
    installation.script("asks", SHOW, processors={"after": [item]})
    with pytest.raises(UserError, match=r"test\.teller.*set DOCKER_RUNNER_KBC_TOKEN and DOCKER_RUNNER_KBC_URL"):
        installation.run("asks")
    assert installation.lines == []
    assert installation.workspaces == []
    done = installation.command("validate")
    assert done.returncode == 1
    assert f"The component {TELLER} works with a Keboola Storage token" in done.stdout
    done = installation.command("validate", **VARIABLES)
    assert done.returncode == 0
    assert f"ok      {SCRIPT}/asks\n" in done.stdout


@pytest.mark.rules("LC-5", "LC-43", "EN-9")
def test_a_secret_that_cannot_be_read_stops_the_run_before_its_first_row(installation: Installation) -> None:
    installation.cipher("any")
    rows: dict[str, dict[str, Any]] = {"a": {}, "b": {"parameters": {"#p": "KBC::ProjectSecure::broken"}}}
    installation.configuration("secret", {"parameters": {"script": "print('has run')"}}, rows=rows)
    with pytest.raises(
        UserError, match=r"/secret row b: parameters\.#p: The cipher was not made with one of this installation's keys"
    ):
        installation.run("secret")
    assert installation.lines == []


@pytest.mark.rules("DF-19", "AU-3", "LC-42")
def test_a_config_file_that_cannot_be_made_is_the_users_error_before_any_container(installation: Installation) -> None:
    content = {"parameters": {"script": "print('has run')"}, "authorization": {"oauth_api": {"id": "123"}}}
    installation.configuration("oauth", content)
    with pytest.raises(ConfigurationError, match=r"authorization\.oauth_api\.id: "):
        installation.run("oauth")
    assert "has run" not in installation.lines
    assert installation.workspaces == []
