"""The DAGs of a generated project in the YAML of dag-factory, and a parser of them in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from tests.benchmarks.plain_dags import STEPS
from tests.benchmarks.projects import COMPONENT, ROWS, cron, has_rows, has_schedule, has_variables
from tests.benchmarks.setting import REPOSITORY

PACKAGES = ("apache-airflow==3.3.2", "dag-factory>=1.1,<1.2")
OPERATOR = "airflow.providers.standard.operators.empty.EmptyOperator"


def environment_python(folder: Path) -> Path:
    """The Python of an environment with dag-factory, made with uv when it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = REPOSITORY / ".local" / "uv" / "bin" / "uv"
        command = str(uv) if uv.exists() else "uv"
        subprocess.run([command, "venv", "--quiet", "--python", "3.11", str(folder)], check=True)
        subprocess.run([command, "pip", "install", "--quiet", "--python", str(python), *PACKAGES], check=True)
    return python


def write_yaml(file: Path, numbers: Iterable[int]) -> None:
    """Write the DAGs of some configurations of a generated project, with the same tasks and the same form."""
    dags = {f"{COMPONENT}--yaml-{number:05d}": _dag(number) for number in numbers}
    file.write_text(yaml.safe_dump(dags, sort_keys=False))


def _asset(table: str) -> dict[str, Any]:
    return {"__type__": "airflow.sdk.Asset", "name": table, "uri": f"table://{table}"}


_SOURCE = _asset("in.c-nycflights.flights")


def _table(number: int) -> dict[str, Any]:
    return _asset(f"out.c-bench.t{number}")


def _params(number: int) -> dict[str, Any]:
    def param(default: Any, **options: Any) -> dict[str, Any]:
        return {"__type__": "airflow.sdk.Param", "default": default, **options}

    params = {
        "mode": param("run", type="string", enum=["run", "debug", "forceRun"], description="how to run"),
        "tag": param("", type="string", description="image tag"),
        "config_data": param({}, type="object", description="whole configuration"),
    }
    if has_rows(number):
        params["rows"] = param([], type="array", examples=list(ROWS), description="rows")
    if has_variables(number):
        params["variables"] = param({}, type="object", description="values of variables")
        params["values"] = param("", type="string", description="id of stored values")
    return params


def _dag(number: int) -> dict[str, Any]:
    tasks: dict[str, dict[str, Any]] = {}

    def add(name: str, *after: str, **options: Any) -> None:
        tasks[name] = {"operator": OPERATOR, "dependencies": list(after), **options}

    add("create_workspace")
    add("pull_images", "create_workspace")
    groups: dict[str, dict[str, Any]] = {}
    ends: list[str] = []
    for row in ROWS if has_rows(number) else [""]:
        own: dict[str, Any] = {"task_group_name": f"row_{row}"} if row else {}
        if row:
            groups[f"row_{row}"] = {"tooltip": row}
        before = ["pull_images"] if row else ["create_workspace"]
        for step in STEPS:
            more = ["pull_images"] if step == "write_config" else []
            tables = {"load_tables": {"inlets": [_SOURCE]}, "unload_output": {"outlets": [_table(number)]}}.get(
                step, {}
            )
            add(f"{step}_{row}".rstrip("_"), *before, *more, **own, **tables)
            before = [f"{step}_{row}".rstrip("_")]
        always = f"unload_always_{row}".rstrip("_")
        waits = [f"{step}_{row}".rstrip("_") for step in STEPS[2:]]
        add(always, *waits, trigger_rule="one_failed", outlets=[_table(number)], **own)
        ends += [*before, always]
    add("clean_up", *ends)
    return {
        "description": "One of many.",
        "doc_md": f"# Configuration {number}\n\nOne of many.",
        "params": _params(number),
        "schedule": cron(number) if has_schedule(number) else None,
        "catchup": False,
        "max_active_runs": 1,
        "tags": [COMPONENT],
        "default_args": {"owner": COMPONENT, "retries": 3, "start_date": "2024-01-01"},
        "task_groups": groups,
        "tasks": tasks,
    }
