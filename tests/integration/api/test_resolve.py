"""The configuration that a job would use, over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation
from tests.integration.api.clients import Api, error_of, serving

from docker_runner.project.configuration import Project
from docker_runner_airflow.api import resolve_calls
from docker_runner_airflow.api.callers import Authentication, Caller

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PROJECTS = Path(__file__).parents[2] / "projects"
PYTHON = "keboola.python-transformation-v2"
RESOLVE = "/configuration/resolve"


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A project as the kbc CLI writes it, with variables, shared code and a development branch."""
    installation = Installation(tmp_path_factory.mktemp("bakery"))
    shutil.rmtree(installation.folder / "project")
    shutil.copytree(PROJECTS / "bakery", installation.folder / "project")
    shutil.copytree(PROJECTS / "components", installation.folder / "components", dirs_exist_ok=True)
    with serving(installation) as api:
        yield api


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(Installation(tmp_path_factory.mktemp("resolve"))) as api:
        yield api


def version(api: Api, config: str, *, component: str = SCRIPT) -> str:
    return Project(api.installation.settings.project).configuration(component, config).version


def resolve(api: Api, config: str, *, component: str = SCRIPT, path: str = RESOLVE, **attributes: Any) -> Any:
    if path == RESOLVE:
        attributes.setdefault("configVersion", version(api, config, component=component))
    else:
        attributes.setdefault("configVersion", 1)
    return api.post(path, {"componentId": component, "configId": config, **attributes})


@pytest.mark.rules("API-22", "API-40", "API-41", "API-42", "API-44")
def test_variables_shared_code_and_defaults_are_put_in(bakery: Api) -> None:
    before = sorted(path for path in bakery.installation.folder.rglob("*") if "home" not in path.parts)
    answer = resolve(bakery, "700300", component=PYTHON)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {
        "id", "name", "description", "version", "created", "creatorToken", "changeDescription", "isDeleted",
        "isDisabled", "configuration", "rows", "state",
    }  # fmt: skip
    assert (found["id"], found["rows"], found["state"], found["isDeleted"]) == ("700300", [], [], False)
    assert found["version"] == version(bakery, "700300", component=PYTHON)
    text = json.dumps(found["configuration"])
    assert "{{" not in text
    stored = Project(bakery.installation.settings.project).configuration(PYTHON, "700300")
    # Of the schema, not of the file.
    assert found["configuration"]["storage"]["input"]["tables"][0]["where_operator"] == "eq"
    assert "where_operator" not in stored.configuration["storage"]["input"]["tables"][0]
    assert "{{" in json.dumps(stored.configuration)
    assert before == sorted(path for path in bakery.installation.folder.rglob("*") if "home" not in path.parts)


@pytest.mark.rules("API-40", "VR-4")
def test_values_of_variables_may_come_with_the_request(bakery: Api) -> None:
    stored = resolve(bakery, "700300", component=PYTHON).json()["configuration"]
    values = {"values": [{"name": "shop", "value": "harbour"}, {"name": "digits", "value": 2}]}
    answer = resolve(bakery, "700300", component=PYTHON, variableValuesData=values)
    assert answer.status_code == 200, answer.text
    found = answer.json()["configuration"]
    assert found != stored
    assert found["storage"]["output"]["tables"][0]["destination"] == "out.c-sales.daily_harbour"
    both = resolve(bakery, "700300", component=PYTHON, variableValuesData=values, variableValuesId="1")
    assert "not both" in error_of(both, 400)
    gone = resolve(bakery, "700300", component=PYTHON, variableValuesId="gone")
    assert "no stored values 'gone'" in error_of(gone, 400)


@pytest.mark.rules("API-23", "API-41", "API-42")
def test_rows_are_laid_over_a_root_that_stays_as_it_is(bakery: Api) -> None:
    for path in ("/branch/main/configuration/resolve", "/branch/4101/configuration/resolve"):
        found = resolve(bakery, "700200", component="acme.ex-till", path=path, configVersion="of old").json()
        stored = Project(bakery.installation.settings.project).configuration("acme.ex-till", "700200")
        assert found["configuration"] == stored.configuration
        assert [row["id"] for row in found["rows"]] == [row.id for row in stored.rows]
        for row, source in zip(found["rows"], stored.rows, strict=True):
            assert row["state"] == []
            assert row["configuration"]["parameters"]["till"] == source.configuration["parameters"]["till"]
            assert row["configuration"]["parameters"]["api"]["#token"].startswith("KBC::ProjectSecure::")
            assert row["configuration"]["processors"] == stored.configuration["processors"]
    other = resolve(
        bakery, "700200", component="acme.ex-till", path="/branch/4177/configuration/resolve", configVersion=1
    ).json()
    assert other["version"] != found["version"]
    gone = resolve(bakery, "700200", component="acme.ex-till", path="/branch/9/configuration/resolve", configVersion=1)
    assert "There is no branch with the path or id '9'" in error_of(gone, 404)


@pytest.mark.rules("API-43", "D17", "VR-14")
def test_ciphers_and_what_the_vault_keeps_are_not_given_out(api: Api) -> None:
    installation = api.installation
    vault = installation.folder / "home" / "vault.json"
    cipher = installation.cipher("c1pher-s3cret")
    vault.write_text(json.dumps({"host": "vault-s3cret.example", "password": cipher, "days": "7"}))
    parameters = {
        "#p": cipher, "#v": "{{ vault.password }}", "host": "https://{{vault.host}}/{{ name }}", "n": "{{ name }}",
    }  # fmt: skip
    tables = [{"source": "in.c-one.t", "days": "{{ vault.days }}"}]
    variables = {"variables_id": "v"}
    installation.configuration("v", {"variables": [{"name": "name", "type": "string"}]}, component="keboola.variables")
    nodes = {"parameters": parameters, "storage": {"input": {"tables": tables}}, **variables}
    installation.configuration("hidden", nodes)
    values = {"values": [{"name": "name", "value": "x"}]}
    answer = resolve(api, "hidden", variableValuesData=values)
    assert answer.status_code == 200, answer.text
    found = answer.json()["configuration"]
    assert found["parameters"] == {
        "#p": cipher, "#v": "{{ vault.password }}", "host": "https://{{ vault.host }}/x", "n": "x",
    }  # fmt: skip
    assert found["storage"]["input"]["tables"][0]["days"] == "{{ vault.days }}"
    assert "s3cret" not in answer.text
    wrong = {"input": {"tables": [{"source": "in.c-one.t", "where_operator": "{{ vault.host }}"}]}}
    installation.configuration("wrong", {"storage": wrong, "parameters": {"#p": cipher}})
    answer = resolve(api, "wrong")
    assert "where_operator" in error_of(answer, 400)
    assert "{{ vault.host }}" in answer.text
    assert "s3cret" not in answer.text
    installation.configuration("missing", {"parameters": {"a": "{{ vault.nobody }}"}})
    assert "no value: vault.nobody" in error_of(resolve(api, "missing"), 400)
    installation.configuration("plain", {"parameters": {"#a": "pl4in-s3cret"}})
    answer = resolve(api, "plain")
    message = error_of(answer, 400)
    assert "parameters.#a" in message
    assert "not encrypted" in message
    assert "s3cret" not in answer.text


@pytest.mark.rules("API-40", "CF-4")
def test_another_version_than_the_present_one_is_refused(api: Api) -> None:
    file = api.installation.configuration("versions", {"parameters": {"a": 1}})
    before = version(api, "versions")
    file.write_text('{"parameters": {"a": 2}}')
    now = version(api, "versions")
    message = error_of(resolve(api, "versions", configVersion=before), 404)
    assert f"has no version {before!r}" in message
    assert f"the present one, which is {now!r}" in message
    assert resolve(api, "versions", configVersion=now).json()["configuration"]["parameters"] == {"a": 2}


@pytest.mark.rules("API-40", "API-3")
def test_what_is_wrong_with_a_request_or_a_configuration_is_told(api: Api) -> None:
    installation = api.installation
    installation.configuration("broken", {"storage": {"input": {"tables": [{"destination": "t.csv"}]}}})
    installation.configuration("rows", {}, rows={"r1": {"parameters": {}}, "r2": {"storage": {"input": 5}}})
    (installation.configuration("invalid", {}).parent / "config.json").write_text("{")
    body = {"componentId": SCRIPT, "configId": "gone", "configVersion": "1"}
    for name in body:
        without = {key: value for key, value in body.items() if key != name}
        assert error_of(api.post(RESOLVE, without), 400) == f"{name} is missing."
        assert f"{name}: Must not be empty" in error_of(api.post(RESOLVE, {**body, name: ""}), 400)
    assert "Unknown attribute configurationId" in error_of(api.post(RESOLVE, {**body, "configurationId": "1"}), 400)
    assert f"There is no configuration {SCRIPT}/gone" in error_of(api.post(RESOLVE, body), 404)
    for config, said in (
        ("broken", "storage.input.tables[0]"),
        ("rows", "rows/r2/config.json:1: storage.input"),
        ("invalid", "config.json"),
    ):
        message = error_of(resolve(api, config, configVersion="1", path="/branch/main/configuration/resolve"), 400)
        assert f"main/other/{SCRIPT}/{config}/" in message
        assert said in message
        assert str(installation.folder) not in message


@pytest.mark.rules("API-22")
def test_any_token_may_look(api: Api) -> None:
    api.installation.configuration("seen", {"parameters": {}})
    body = {"componentId": SCRIPT, "configId": "seen", "configVersion": version(api, "seen")}
    assert api.post(RESOLVE, body, token=api.reader).status_code == 200


@pytest.mark.rules("API-2")
@pytest.mark.parametrize(("known", "dag"), [(True, f"{SCRIPT}--seen"), (False, "docker_runner_jobs")])
def test_users_see_what_they_may_see_of_the_dag(
    api: Api, monkeypatch: pytest.MonkeyPatch, *, known: bool, dag: str
) -> None:
    api.installation.configuration("seen", {"parameters": {}})
    body = {"componentId": SCRIPT, "configId": "seen", "configVersion": version(api, "seen")}
    allowed = {("other", "GET", False)}
    # Airflow has no user who may see some of the DAGs only, unless it has another auth manager than its simple one.
    monkeypatch.setattr(Authentication, "_caller", _user)
    monkeypatch.setattr(Caller, "may", lambda _, dag, method, *, of_run: (dag, method, of_run) in allowed)
    monkeypatch.setattr(resolve_calls, "_is_known", lambda _: known)
    assert f"may not see the DAG {dag}:" in error_of(api.post(RESOLVE, body), 403)
    # Nor are they told what there is.
    gone = error_of(api.post(RESOLVE, {**body, "configId": "gone"}), 403)
    assert "may not see" in gone
    allowed.add((dag, "GET", False))
    assert api.post(RESOLVE, body).status_code == 200


async def _user(*_: Any) -> Caller:
    return Caller()
