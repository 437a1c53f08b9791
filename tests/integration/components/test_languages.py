"""The contract needs no package and no particular language: YAML files, and a shell script as a processor."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workbench import Workbench, metadata

from docker_runner.errors import ComponentError

pytestmark = pytest.mark.engine


def yaml_app(workbench: Workbench, factor: Any = 10) -> str:
    component = workbench.register("app-yaml", {"configuration_format": "yaml"})
    storage = {
        "input": {
            "tables": [{"source": "in.c-main.amounts", "destination": "amounts"}],
            "files": [{"tags": ["note"]}],
        },
        "output": {"tables": [{"source": "amounts", "destination": "out.c-main.amounts", "primary_key": ["id"]}]},
    }
    secret = workbench.secret(component, "señor: #1")
    workbench.configuration(
        "main", {"parameters": {"factor": factor, "#word": secret}, "storage": storage}, component=component
    )
    return component


@pytest.mark.rules("CD-11", "DF-10", "DF-17", "OM-7", "OM-70", "OM-77", "IM-45", "IF-28", "ST-5", "US-1", "US-2")
def test_a_component_that_speaks_yaml_gets_and_gives_everything_in_yaml(workbench: Workbench) -> None:
    component = yaml_app(workbench)
    workbench.load("in.c-main.amounts", "id,amount\n1,5\n2,7\n", primary_key=("id",))
    workbench.store("note.txt", "remember", "note")
    for _ in range(2):
        result = workbench.run("main", component=component)
    assert workbench.rows("out.c-main.amounts") == [{"id": "1", "amount": "50"}, {"id": "2", "amount": "70"}]
    table = workbench.storage.table("out.c-main.amounts")
    assert (table.primary_key, metadata(table)["factor"]) == (("id",), "10")
    state = workbench.plain(component, workbench.state("main", component=component)["component"])
    assert state == {"runs": 2, "#seen": "señor: #1"}
    assert result.manifests["run_component"]["usage"] == [{"metric": "tables", "value": 1}]
    copies = workbench.files("copy")
    assert len(copies) == 2
    assert "note" in copies[0].tags
    assert workbench.content(copies[0]) == b"remember"
    assert workbench.left_behind() == []


@pytest.mark.rules("CT-32", "CD-11")
def test_its_mistakes_are_user_errors_like_any_others(workbench: Workbench) -> None:
    component = yaml_app(workbench, factor="ten")
    workbench.load("in.c-main.amounts", "id,amount\n1,5\n")
    with pytest.raises(ComponentError, match=r"^The parameter factor must be a whole number\.$"):
        workbench.run("main", component=component)
    assert workbench.left_behind() == []


def chain(workbench: Workbench, shout: bool = True) -> str:
    """A package's component between processors: a shell script before it, and one of the sample's behind it."""
    component = workbench.register("wr-ledger")
    shell = workbench.register("processor-shell", type="processor")
    sample = {"type": "dockerhub", "uri": "docker-runner/processor-add-column", "pull_policy": "never"}
    workbench.component("sample.processor-add-column", {"definition": sample, "network": "none"})
    processors = {
        "before": [{"definition": {"component": shell}, "parameters": {"shout": shout}}],
        "after": [
            {
                "definition": {"component": "sample.processor-add-column"},
                "parameters": {"column": "source", "value": "ledger"},
            }
        ],
    }
    storage = {
        "input": {"tables": [{"source": "in.c-main.amounts", "destination": "amounts.csv"}]},
        "output": {"default_bucket": "out.c-ledger"},
    }
    secret = workbench.secret(component, "open sesame")
    workbench.configuration(
        "main",
        {"parameters": {"#password": secret}, "storage": storage, "processors": processors},
        component=component,
    )
    workbench.load("in.c-main.amounts", "account,amount\nann,1\nbo,2\n", primary_key=("account",))
    return component


@pytest.mark.rules("PR-1", "PR-2", "PR-5", "PR-6", "PR-7", "DF-4", "DF-12", "EV-6", "OM-32", "OM-60")
def test_a_shell_script_works_between_storage_and_a_python_component(workbench: Workbench) -> None:
    component = chain(workbench)
    for _ in range(2):
        workbench.run("main", component=component)
    rows = [{"account": name, "amount": amount, "source": "ledger"} for name, amount in (("ANN", "1"), ("BO", "2"))]
    assert workbench.rows("out.c-ledger.written") == rows
    assert workbench.storage.table("out.c-ledger.written").primary_key == ("account",)
    assert workbench.state("main", component=component)["component"] == {"written": 2}
    assert "test.processor-shell shouted." in workbench.lines
    assert workbench.left_behind() == []


@pytest.mark.rules("PR-10", "CT-32")
def test_a_failing_shell_script_fails_the_run_with_its_own_words(workbench: Workbench) -> None:
    component = chain(workbench, shout=False)
    done = workbench.command("run", f"{component}/main")
    assert done.returncode == 1
    assert "Error: The parameter shout must be true." in done.stderr
    assert workbench.tables() == ["in.c-main.amounts"]
    assert workbench.left_behind() == []
