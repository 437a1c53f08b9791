"""What the package ``keboola.component`` expects of its runner, asked through the package itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.workbench import Workbench

pytestmark = pytest.mark.engine

COMPONENT = "test.app-contract"
STORAGE = {
    "input": {
        "tables": [
            {
                "source": "in.c-main.t",
                "destination": "t.csv",
                "where_column": "id",
                "where_values": ["1"],
                "column_types": [
                    {
                        "source": "id",
                        "type": "VARCHAR",
                        "destination": "ID",
                        "length": 5,
                        "nullable": False,
                        "convert_empty_values_to_null": False,
                    }
                ],
            }
        ],
        "files": [{"tags": ["note"]}],
    },
    "output": {
        "tables": [{"source": "copy.csv", "destination": "out.c-main.copy", "primary_key": ["id"]}],
        "files": [{"source": "contract.json", "tags": ["contract"]}],
    },
}


def asked(workbench: Workbench, *, mode: str = "run", **more: Any) -> dict[str, Any]:
    """Run the component that asks the package everything; give its answers."""
    image_parameters = {"answer": 42, "#proof": workbench.secret(COMPONENT, "proof")}
    workbench.register("app-contract", {"image_parameters": image_parameters})
    data = workbench.secret(COMPONENT, json.dumps({"access_token": "t0ken"}))
    credentials = {
        "id": "main",
        "created": "2026-01-31T12:00:00+0100",
        "#data": data,
        "oauthVersion": "2.0",
        "appKey": "app",
        "#appSecret": workbench.secret(COMPONENT, "app-s3cret"),
    }
    content = {
        "parameters": {"question": "?", "debug": True},
        "storage": STORAGE,
        "authorization": {"oauth_api": {"id": "main", "version": 3, "credentials": credentials}},
        **more,
    }
    workbench.configuration("main", content, component=COMPONENT)
    workbench.load("in.c-main.t", "id,v\n1,a\n2,b\n", primary_key=("id",))
    workbench.store("note.txt", "n", "note")
    workbench.run("main", component=COMPONENT, mode=mode)
    answers: dict[str, Any] = workbench.json("contract.json") if mode == "run" else {}
    return answers


@pytest.mark.rules("EV-1", "EV-3", "EV-4", "EV-6", "EV-7", "EV-9", "EV-11", "EV-21", "DF-1", "DF-3", "DF-11", "DF-21")
def test_the_package_finds_its_whole_world_as_on_the_platform(workbench: Workbench) -> None:
    found = asked(workbench)
    environment = found["environment"]
    assert environment["data_dir"] == found["data_folder"] == "/data/"
    assert environment["run_id"] == "run-1"
    assert (environment["config_id"], environment["component_id"]) == ("main", COMPONENT)
    assert environment["stack_id"], "without a stack the package believes that it runs on somebody's desk"
    assert "queuev2" in environment["project_features"]
    assert environment["data_type_support"] == "none"
    assert found["legacy_queue"] is False
    assert found["legacy_manifests"] is True
    # Nothing that would make the package talk to services that are not there.
    assert [environment[name] for name in ("token", "url", "logger_addr", "real_user")] == [None] * 4
    assert found["action"] == "run"
    assert found["image_parameters"] == {"answer": 42, "#proof": "proof"}
    assert found["workspace"] == {}
    assert found["state"] == {}
    for folder in ("in/tables", "in/files", "in/user", "out/tables", "out/files", "artifacts/out/current"):
        assert folder in found["folders"]
    assert found["writable"] == ["/data/out/tables", "/data/out/files", "/tmp"]
    assert workbench.left_behind() == []


@pytest.mark.rules("CF-35", "DF-22", "IM-6", "IM-7", "IM-9")
def test_the_package_understands_every_mapping_that_it_is_shown(workbench: Workbench) -> None:
    found = asked(workbench)
    [table] = found["input_tables"]
    assert (table["source"], table["destination"]) == ("in.c-main.t", "t.csv")
    assert table["full_path"] == "/data/in/tables/t.csv"
    assert (table["where_values"], table["where_operator"]) == (["1"], "eq")
    assert [column["source"] for column in table["column_types"]] == ["id"]
    [output] = found["output_tables"]
    assert (output["source"], output["destination"]) == ("copy.csv", "out.c-main.copy")
    assert (output["incremental"], output["primary_key"]) == (False, ["id"])
    assert (output["delimiter"], output["enclosure"]) == (",", '"')
    assert found["input_files"][0]["tags"] == ["note"]
    assert found["output_files"] == [
        {"source": "contract.json", "is_public": False, "is_permanent": False, "tags": ["contract"]}
    ]
    assert workbench.rows("out.c-main.copy") == [{"id": "1"}]


@pytest.mark.rules("AU-4", "DF-18", "LG-20")
def test_the_package_finds_oauth_credentials_and_nobody_else_does(workbench: Workbench) -> None:
    found = asked(workbench)
    assert found["oauth"]["data"] == {"access_token": "t0ken"}
    assert (found["oauth"]["appKey"], found["oauth"]["appSecret"]) == ("app", "app-s3cret")
    assert found["oauth"]["oauthVersion"] == "2.0"
    said = "\n".join(workbench.lines)
    assert "t0ken" not in said
    assert "app-s3cret" not in said


@pytest.mark.rules("EV-10", "LC-60", "LC-62", "LC-64")
def test_in_debug_mode_the_package_records_and_only_snapshots_are_kept(workbench: Workbench) -> None:
    asked(workbench, mode="debug")
    snapshots = workbench.files("debug", COMPONENT)
    assert {file.name for file in snapshots} == {"stage_0.zip", "stage_output.zip"}
    assert workbench.tables() == ["in.c-main.t"]
    assert workbench.state("main", component=COMPONENT) == {}
    assert b"app-s3cret" not in b"".join(workbench.content(file) for file in snapshots)
    assert workbench.left_behind() == []


@pytest.mark.rules("CF-24", "EV-21", "OM-90")
@pytest.mark.parametrize("support", ["hints", "authoritative"])
def test_a_configuration_that_asks_for_types_gets_new_manifests(workbench: Workbench, support: str) -> None:
    storage = {"output": {**STORAGE["output"], "tables": [], "data_type_support": support}}
    found = asked(workbench, storage=storage)
    assert found["legacy_manifests"] is False
    assert found["environment"]["data_type_support"] == support
