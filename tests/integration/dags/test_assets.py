"""Tables as Airflow's assets, and what their changes start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def dag_of(installation: Installation, name: str, *, prefix: str = "") -> Any:
    from docker_runner_airflow.dag_factory import build_dags

    return build_dags(installation.settings)[f"{prefix}{SCRIPT}--{name}"]


def mapping(*sources: str, to: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "input": {"tables": [{"source": source} for source in sources]},
        "output": {"tables": [{"source": f"{index}.csv", "destination": name} for index, name in enumerate(to)]},
    }


def names(assets: Any) -> list[str]:
    return [asset.name for asset in assets]


def condition(dag: Any) -> Any:
    """The tables that start a DAG, e.g. ``("any", ["a", "b"])``."""

    def shown(asset: Any) -> Any:
        kind = {"AssetAny": "any", "AssetAll": "all"}.get(type(asset).__name__)
        return (kind, [shown(item) for item in asset.objects]) if kind else asset.name

    return shown(dag.timetable.asset_condition)


def test_tables_that_are_read_and_written_are_assets_of_the_tasks_that_do_it(installation: Installation) -> None:
    storage = mapping("in.c-main.a", "in.c-main.{{ x }}", to=("out.c-main.b", "out.c-{{ x }}.c"))
    installation.configuration("plain", {"storage": storage})
    installation.configuration("rows", {"storage": storage}, rows={"r": {"storage": mapping("in.c-main.own")}})
    dag = dag_of(installation, "plain")
    assert names(dag.get_task("load_tables").inlets) == ["in.c-main.a"]
    assert dag.get_task("load_tables").inlets[0].uri == "docker-runner://storage/in.c-main.a"
    for task in ("unload_output", "unload_always"):
        assert names(dag.get_task(task).outlets) == ["out.c-main.b", f"{SCRIPT}--plain"]
        assert type(dag.get_task(task).outlets[1]).__name__ == "AssetAlias"
    rows = dag_of(installation, "rows")
    assert names(rows.get_task("row_r.load_tables").inlets) == ["in.c-main.own"]
    assert names(rows.get_task("row_r.unload_output").outlets)[0] == "out.c-main.b"


def test_a_merged_run_has_the_tables_of_all_its_rows(installation: Installation) -> None:
    rows = {name: {"storage": mapping(f"in.c-main.{name}", to=(f"out.c-main.{name}",))} for name in ("a", "b")}
    installation.configuration("merged", {"runtime": {"granularity": "merged"}}, rows=rows)
    (task,) = dag_of(installation, "merged").tasks
    assert names(task.inlets) == ["in.c-main.a", "in.c-main.b"]
    assert names(task.outlets) == ["out.c-main.a", "out.c-main.b", f"{SCRIPT}--merged"]


def test_a_change_of_one_or_of_all_of_its_input_tables_starts_a_configuration(installation: Installation) -> None:
    for name in ("any_input", "all_inputs"):
        storage = mapping("in.c-main.a", "in.c-main.b")
        installation.configuration(name, {"runtime": {"trigger": name}, "storage": storage})
    installation.configuration("one", {"runtime": {"trigger": "any_input"}, "storage": mapping("in.c-main.a")})
    dags = {name: dag_of(installation, name) for name in ("any_input", "all_inputs", "one")}
    assert condition(dags["any_input"]) == ("any", ["in.c-main.a", "in.c-main.b"])
    assert condition(dags["all_inputs"]) == ("all", ["in.c-main.a", "in.c-main.b"])
    assert condition(dags["one"]) in ("in.c-main.a", ("all", ["in.c-main.a"]))
    assert all(dag.is_paused_upon_creation for dag in dags.values())


@pytest.mark.rules("BR-3", "BR-4")
def test_in_a_development_branch_the_branchs_own_tables_are_meant(installation: Installation) -> None:
    installation.configuration("x", {})
    content = {
        "runtime": {"trigger": "all_inputs"},
        "storage": mapping("in.c-main.a", "in.c-main.b", to=("out.c-z.t",)),
    }
    installation.configuration("plain", content, branch="dev")
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    dag = dag_of(installation, "plain", prefix="dev--")
    pairs = [("any", [f"in.c-dev-main.{name}", f"in.c-main.{name}"]) for name in ("a", "b")]
    assert condition(dag) == ("all", pairs)
    assert names(dag.get_task("unload_output").outlets)[0] == "out.c-dev-z.t"


@pytest.mark.parametrize(
    ("storage", "error"),
    [
        (mapping("in.c-main.{{ x }}"), "in.c-main.{{ x }}"),
        (mapping("out.c-main.t", to=("out.c-main.t",)), "start itself for ever"),
    ],
)
def test_a_trigger_that_could_never_or_would_always_start_is_an_error(
    installation: Installation, storage: dict[str, Any], error: str
) -> None:
    installation.configuration("broken", {"runtime": {"trigger": "any_input"}, "storage": storage})
    dag = dag_of(installation, "broken")
    assert "broken" in dag.tags
    assert error in str(dag.doc_md)
    assert "runtime.trigger" in str(dag.doc_md)


def test_only_tables_that_were_written_are_told_each_with_what_is_known_of_it(installation: Installation) -> None:
    from airflow.sdk.execution_time.context import OutletEventAccessors

    from docker_runner_airflow.assets import table_asset, tables_at_run_time, tell_written

    installation.configuration("plain", {"storage": mapping(to=("out.c-main.a", "out.c-main.b"))})
    task = dag_of(installation, "plain").get_task("unload_output")
    events = OutletEventAccessors()
    written = [
        {"id": "out.c-main.a", "rows": 1, "table_rows": 5, "bytes": 9, "created": False, "commit": "k", "snapshot": 7},
        {"id": "in.c-main.found", "rows": 2},
    ]
    tell_written(written, task, {"outlet_events": events})
    alias = tables_at_run_time(f"{SCRIPT}--plain")
    assert task.outlets == [alias, table_asset("out.c-main.a")]
    assert events[table_asset("out.c-main.a")].extra == {
        "rows": 1, "table_rows": 5, "bytes": 9, "created": False, "commit": "k", "snapshot": 7,
    }  # fmt: skip
    (dynamic,) = events[alias].asset_alias_events
    assert (dynamic.dest_asset_key.name, dynamic.extra) == ("in.c-main.found", {"rows": 2})
