"""Configurations and everything that belongs to a project: what cannot run says where it is wrong and what is right."""

from __future__ import annotations

import pytest
from tests.corpus.cases import COMPONENT, Case, params, put
from tests.corpus.world import PROCESSOR, World, check_told


@pytest.mark.parametrize("case", params("configurations"))
def test_a_broken_configuration(world: World, case: Case) -> None:
    world.config(case.content)
    check_told(case, world.job)


@pytest.mark.parametrize("case", params("rows"))
def test_a_broken_row(world: World, case: Case) -> None:
    world.config(case.get("root", {}))
    world.config({}, "rows/r1/config.json")
    world.config(case["text"] if case.get("text") else case["row"], "rows/r2/config.json")
    world.config(case.get("meta", {"name": "r2"}), "rows/r2/meta.json")
    error = check_told(case, world.job)
    # What is wrong may stand in the root, and be wrong only because of the row.
    assert case.get("where", "rows/r2") in str(error)


@pytest.mark.parametrize("case", params("variables"))
def test_broken_variables(world: World, case: Case) -> None:
    _write_variables(world, case)
    world.config(case["configuration"])
    check_told(case, world.job)


@pytest.mark.parametrize("case", params("shared_code"))
def test_broken_shared_code(world: World, case: Case) -> None:
    _write_variables(world, case)
    world.config(case["configuration"])
    code = "main/_shared/keboola.shared-code/code"
    world.file(f"{code}/config.json", {})
    for name, piece in case.get("pieces", {}).items():
        world.file(f"{code}/rows/{name}/config.json", piece)
    check_told(case, world.job)


@pytest.mark.parametrize("case", params("components"))
def test_a_broken_component_definition(world: World, case: Case) -> None:
    world.component(content=case.content)
    assert f"{COMPONENT}.json" in str(check_told(case, world.job))


@pytest.mark.parametrize("case", params("projects"))
def test_a_broken_project_directory(world: World, case: Case) -> None:
    for path, content in case["files"].items():
        world.file(path, content)
    check_told(case, world.job)


@pytest.mark.parametrize("case", params("processors"))
def test_a_broken_processor(world: World, case: Case) -> None:
    world.config(case["configuration"])
    if case.get("processor") is not None:
        world.component(PROCESSOR, case["processor"])
    check_told(case, world.job)


@pytest.mark.parametrize("case", params("requests"))
def test_a_request_that_cannot_be_met(world: World, case: Case) -> None:
    for row in ("r1", "r2"):
        world.config({}, f"rows/{row}/config.json")
    if case.get("variables"):
        world.config({"variables": [{"name": "a", "type": "string"}]}, "variables/config.json")
    check_told(case, lambda: world.job(**case["request"]))


def _write_variables(world: World, case: Case) -> None:
    if case.get("variables") is not None:
        world.config(case["variables"], "variables/config.json")
    for name, values in case.get("values", {}).items():
        world.config(values, f"variables/values/{name}/config.json")


@pytest.mark.parametrize("case", params("vaults"))
def test_a_vault_that_cannot_be_used(world: World, case: Case) -> None:
    world.config({"parameters": {"a": "{{ vault.token }}", "b": "{{ vault.other }}"}})
    if "vault" in case.parts:
        put(world.settings.vault, case["vault"])
    check_told(case, world.job)
