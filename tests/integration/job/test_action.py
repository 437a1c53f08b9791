"""Synchronous actions: what a component answers, and what it is kept from."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from tests.installation import Installation, container_names

from docker_runner.errors import ApplicationError, ComponentError, ConfigurationError, UserError
from docker_runner.job import action as action_module
from docker_runner.job.action import run_action
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project

pytestmark = pytest.mark.engine

ACTIONS = f"test.actions-{os.getpid()}"


@pytest.fixture(autouse=True)
def component(installation: Installation) -> None:
    installation.component(ACTIONS, {"network": "none", "synchronous_actions": ["look", "run"], "process_timeout": 5})


def call(installation: Installation, script: str, *, action: str = "look", **nodes: Any) -> Any:
    parameters = {"script": script, **nodes.pop("parameters", {})}
    found = ComponentRegistry(installation.settings.components).get(ACTIONS)
    configuration = {"parameters": parameters, **nodes}
    project = Project(installation.settings.project)
    return run_action(found, action, configuration, installation.tools(), project=project)


def left_behind(installation: Installation) -> list[str]:
    """Containers of this process's actions and folders of runs that are there now."""
    return [name for name in container_names() if ACTIONS in name] + installation.workspaces


@pytest.mark.rules("LC-70", "LC-74", "LC-75", "CD-19", "CT-40")
def test_the_answer_is_what_the_component_prints(installation: Installation) -> None:
    answer = call(installation, "print(json.dumps({'action': c['action'], 'ř': [1, None, {}]}))")
    assert answer == {"action": "look", "ř": [1, None, {}]}
    assert left_behind(installation) == []


@pytest.mark.rules("LC-72")
def test_an_action_gets_nothing_from_storage_and_stores_nothing(installation: Installation) -> None:
    installation.load("in.c-main.t", "id\n1\n")
    script = (
        "import os\n"
        "seen = sorted(os.path.join(p, f) for p, _, fs in os.walk('/data') for f in fs)\n"
        "for name in ('tables/t.csv', 'files/f', 'state.json', 'usage.json'):\n"
        "    open('/data/out/' + name, 'w').write('[broken')\n"
        "open('/data/artifacts/out/current/a', 'w')\n"
        "print(json.dumps([seen, c['storage']['input']['tables'][0]['source'], os.environ['KBC_CONFIGVERSION'],"
        " len(os.environ['KBC_CONFIGID']), os.environ['KBC_COMPONENT_RUN_MODE'], 'processors' in c]))"
    )
    storage = {"input": {"tables": [{"source": "in.c-main.t"}]}, "output": {"default_bucket": "out.c-main"}}
    item = {"definition": {"component": "nobody.knows"}}
    answer = call(
        installation, script, storage=storage, processors={"before": [item], "after": [item]},
        artifacts={"runs": {"enabled": True, "filter": {"limit": 1}}},
    )  # fmt: skip
    assert answer == [["/data/config.json"], "in.c-main.t", "", 40, "run", False]
    assert installation.tables() == ["in.c-main.t"]
    assert installation.files() == []
    assert left_behind(installation) == []


@pytest.mark.rules("LC-70")
@pytest.mark.parametrize(
    ("action", "problem"), [("run", "run a configuration"), ("other", "no action 'other'.*: look")]
)
def test_only_actions_that_the_component_declares_can_be_called(
    installation: Installation, action: str, problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        call(installation, "print(1)", action=action)


@pytest.mark.rules("LC-71", "EN-9")
def test_secrets_may_come_plain_or_encrypted_and_are_hidden_in_the_answer(installation: Installation) -> None:
    plain, encrypted = 'pl"in\\s3cret', "c1pher-s3cret"
    script = (
        "import sys; p = c['parameters']; n = p['#number']\n"
        "print('told', p['#plain'], p['#cipher'], file=sys.stderr)\n"
        "print(json.dumps({'lengths': [len(p['#plain']), len(p['#cipher']), n], 'said': 'x' + p['#plain'] + 'y',"
        " p['#cipher']: int(n), 'free': 1}))"
    )
    parameters = {"#plain": plain, "#cipher": installation.cipher(encrypted, component=ACTIONS), "#number": 4711}
    assert call(installation, script, parameters=parameters) == {
        "lengths": [len(plain), len(encrypted), "[hidden]"], "said": "x[hidden]y", "[hidden]": "[hidden]", "free": 1,
    }  # fmt: skip
    assert "told [hidden] [hidden]" in installation.lines
    assert not [line for line in installation.lines if plain in line or encrypted in line]
    wrong = {"#cipher": installation.cipher(encrypted, component="another.component")}
    with pytest.raises(ConfigurationError, match=r"parameters\.#cipher: The cipher was made for another component"):
        call(installation, "print(1)", parameters=wrong)


@pytest.mark.rules("LC-73", "D8")
def test_an_action_that_takes_too_long_is_stopped(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert action_module.TIME_LIMIT_SECONDS == 30
    monkeypatch.setattr(action_module, "TIME_LIMIT_SECONDS", 1)
    began = time.monotonic()
    with pytest.raises(UserError, match="timeout of 1 second"):
        call(installation, "import time; time.sleep(600)", runtime={"process_timeout": 500})
    assert time.monotonic() - began < 240
    assert left_behind(installation) == []


@pytest.mark.rules("LC-74", "LC-76")
@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        (
            "import sys; print('{}'); sys.exit('Wrong password s3cret.')",
            ComponentError,
            r"^Wrong password \[hidden\]\.$",
        ),
        ("import sys; print('s3cret', file=sys.stderr); sys.exit(3)", ApplicationError, r"\(3\) \[hidden\]"),
    ],
)
def test_exit_codes_count_as_in_a_run(
    installation: Installation, script: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(installation, script, parameters={"#p": "s3cret"})
    assert left_behind(installation) == []


@pytest.mark.rules("LC-75", "D8")
@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("print(' ')", UserError, "did not answer"),
        ("print('not s3cret {')", ApplicationError, r"not JSON.*It wrote: not \[hidden\] {"),
        ("print('1 2')", ApplicationError, "not JSON"),
        ("print('{\"a\": NaN}')", ApplicationError, "not JSON"),
    ],
)
def test_an_answer_that_is_none_is_told(
    installation: Installation, script: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(installation, script, parameters={"#p": "s3cret"})
    assert left_behind(installation) == []


@pytest.mark.rules("LC-75")
def test_an_answer_is_read_to_its_end_up_to_a_limit(installation: Installation) -> None:
    assert call(installation, "print(json.dumps('x' * 3_000_000))") == "x" * 3_000_000
    with pytest.raises(ApplicationError, match="more than 10000000 characters"):
        call(installation, "import sys\nfor _ in range(101): sys.stdout.write('x' * 100_000)")


@pytest.mark.rules("LC-75", "LC-76")
def test_the_command_prints_the_answer_and_nothing_else(installation: Installation) -> None:
    file = installation.folder / "look.json"
    file.write_text(json.dumps({"parameters": {"script": "print(json.dumps({'ř': 1}))"}}))
    for config, given in ((str(file), ""), ("-", file.read_text())):
        done = installation.command("action", ACTIONS, "look", "--config", config, input=given)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"ř": 1}), done.stderr
    for config, given, said in (
        ("-", '{"parameters": {"script": "exit(1)"}}', "without an error message"),
        ("-", "[]", "standard input: The configuration must be a map"),
        ("-", "{", "standard input"),
        ("-", '{"storage": 5}', "storage"),
        ("nowhere.json", "", "nowhere.json"),
    ):
        done = installation.command("action", ACTIONS, "look", "--config", config, input=given)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    done = installation.command("action", ACTIONS, "look", "--config", "-", input='{"parameters": {"script": "1"}}')
    assert done.returncode == 1
    done = installation.command(
        "action", ACTIONS, "look", "--config", "-", input='{"parameters": {"script": "exit(2)"}}'
    )
    assert done.returncode == 2
