"""What can only be found while a configuration runs: it ends with one user error, and Storage stays as it was."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from tests.corpus.cases import Case, params, put
from tests.corpus.world import PreparedRun, World, check_told

from docker_runner.interface.state import read_out_state
from docker_runner.interface.usage import read_usage

OUTPUT = {"default_bucket": "out.c-main"}
TABLE = "id,v\n1,a\n"


@pytest.mark.parametrize("case", params("ciphers"))
def test_a_secret_that_cannot_be_read(world: World, case: Case) -> None:
    world.component(**case.get("component", {}))
    world.config(case["configuration"])
    world.expect(case, lambda: PreparedRun(world, world.job()).do("write_config"))


@pytest.mark.parametrize("case", params("inputs"))
def test_input_that_cannot_be_loaded(world: World, case: Case) -> None:
    tables, files = case.get("tables", []), case.get("files", [])
    world.config({"storage": {"input": {"tables": tables, "files": files}}})
    step = "load_tables" if tables else "load_files" if files else "write_config"
    with world.shared.with_state(case["state"]) if "state" in case.parts else nullcontext():
        world.expect(case, lambda: PreparedRun(world, world.job()).do(step))


@pytest.mark.parametrize("case", params("results"))
def test_a_state_or_usage_that_cannot_be_read(world: World, case: Case) -> None:
    world.component(configuration_format=case.get("format", "json"))
    ((name, content),) = case["out"].items()
    file = put(world.folder / "out" / name, content)
    read = read_usage if name.startswith("usage") else read_out_state
    check_told(case, lambda: read(file))


@pytest.mark.parametrize("case", params("folders"))
def test_an_output_folder_that_cannot_be_taken_over(world: World, case: Case) -> None:
    _unload(world, case, out=case["out"])


@pytest.mark.parametrize("case", params("table_manifests"))
def test_a_table_manifest_that_cannot_be_used(world: World, case: Case) -> None:
    out = case.get("out") or {"tables/t.csv": TABLE}
    _unload(world, case, out={**out, **_manifest(case, "tables/t.csv")})


@pytest.mark.parametrize("case", params("file_manifests"))
def test_a_file_manifest_that_cannot_be_used(world: World, case: Case) -> None:
    error = _unload(world, case, out={"files/a.txt": "x", **_manifest(case, "files/a.txt")})
    assert "out/files/a.txt.manifest" in str(error)


@pytest.mark.parametrize("case", params("csv"))
def test_a_table_that_cannot_be_loaded(world: World, case: Case) -> None:
    out = case.get("out") or {"tables/t.csv": case["csv"]}
    _unload(world, case, out={**out, **_manifest(case, "tables/t.csv")})


@pytest.mark.parametrize("case", params("typed"))
def test_a_typed_table_that_cannot_be_loaded(world: World, case: Case) -> None:
    manifest = {
        "schema": [_column(name, given) for name, given in case["schema"].items()],
        "incremental": case.get("incremental", False),
        **({"destination": case["table"]} if "table" in case.parts else {}),
    }
    out = {"tables/n.csv": case["csv"], "tables/n.csv.manifest": manifest}
    _unload(world, case, out=out, output={"data_type_support": case.get("support", "authoritative")})


def _column(name: str, given: Any) -> dict[str, Any]:
    """A column of a schema: ``null`` has no type, a text is the base type, a map has more."""
    if given is None:
        return {"name": name}
    options = {"type": given} if isinstance(given, str) else given
    base = {key: value for key, value in options.items() if key in ("type", "length", "default")}
    rest = {key: value for key, value in options.items() if key not in base}
    return {"name": name, "data_type": {"base": base}, **rest}


def _manifest(case: Case, name: str) -> dict[str, Any]:
    return {f"{name}.manifest": case["manifest"]} if "manifest" in case.parts else {}


def _unload(world: World, case: Case, *, out: dict[str, Any], output: dict[str, Any] | None = None) -> Exception:
    world.component(configuration_format=case.get("format", "json"))
    world.config({"storage": {"output": {**OUTPUT, **case.get("output", {}), **(output or {})}}})
    run = PreparedRun(world, world.job())
    run.ended(out)
    return world.expect(case, lambda: run.do("unload_output"))
