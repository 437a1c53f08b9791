"""Generated projects of any size, in the format of the ``kbc`` CLI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMPONENT = "sample.daily-delays"
PROCESSORS = {
    "before": [
        {"definition": {"component": "sample.processor-skip-rows"}, "parameters": {"column": "c", "values": ["x"]}}
    ],
    "after": [
        {"definition": {"component": "sample.processor-add-column"}, "parameters": {"column": "n", "value": "1"}}
    ],
}
ROWS = ("first", "second", "third")


def has_rows(number: int) -> bool:
    """Every fourth configuration has three rows."""
    return number % 4 == 0


def has_variables(number: int) -> bool:
    """Every second one has variables with stored values."""
    return number % 2 == 0


def has_schedule(number: int) -> bool:
    """Two of three have a schedule."""
    return number % 3 != 0


def cron(number: int) -> str:
    """When a configuration runs by itself."""
    return f"{number % 60} {number % 24} * * *"


def generate(folder: Path, count: int) -> Path:
    """Write a project with ``count`` configurations, all with processors and tables in and out; give its folder.

    Some have rows, variables and schedules; as a DAG one has nine tasks, or 24 with rows.
    """
    configurations: list[dict[str, Any]] = []
    for number in range(count):
        name = f"configuration-{number:05d}"
        path = f"transformation/{COMPONENT}/{name}"
        target = folder / "main" / path
        target.mkdir(parents=True)
        rows = ROWS if has_rows(number) else ()
        _write(target / "config.json", _content(number))
        _write(target / "meta.json", {"name": f"Configuration {number}", "isDisabled": False})
        (target / "description.md").write_text(f"# Configuration {number}\n\nOne of many.\n")
        for row in rows:
            _write(target / "rows" / row / "config.json", {"parameters": {"row": row}})
            _write(target / "rows" / row / "meta.json", {"name": f"The {row} row", "isDisabled": False})
        item = {"branchId": 1, "componentId": COMPONENT, "id": name, "path": path}
        configurations.append({**item, "rows": [{"id": row, "path": f"rows/{row}"} for row in rows]})
        configurations.extend(_belongings(target, number, name))
    manifest = {
        "version": 2,
        "project": {"id": 1, "apiHost": "example.com"},
        "branches": [{"id": 1, "path": "main"}],
        "configurations": configurations,
    }
    (folder / ".keboola").mkdir()
    _write(folder / ".keboola" / "manifest.json", manifest)
    return folder


def _content(number: int) -> dict[str, Any]:
    return {
        "parameters": {"delayed_from_minutes": "{{ delayed }}" if has_variables(number) else 15},
        "storage": {
            "input": {"tables": [{"source": "in.c-nycflights.flights", "destination": "flights.csv", "limit": 10}]},
            "output": {"tables": [{"source": "daily_delays.csv", "destination": f"out.c-bench.t{number}"}]},
        },
        "processors": PROCESSORS,
    }


def _belongings(target: Path, number: int, name: str) -> list[dict[str, Any]]:
    """Variables and schedule of a configuration, as the manifest lists them."""
    items: list[dict[str, Any]] = []
    owner = {"componentId": COMPONENT, "configId": name}
    if has_variables(number):
        _write(target / "variables" / "config.json", {"variables": [{"name": "delayed", "type": "string"}]})
        _write(target / "variables" / "meta.json", {"name": "Variables"})
        values = target / "variables" / "values" / "default"
        _write(values / "config.json", {"values": [{"name": "delayed", "value": "15"}]})
        _write(values / "meta.json", {"name": "Default"})
        relation = {"type": "variablesFor", **owner}
        row = {"id": "default", "path": "values/default", "relations": [{"type": "variablesValuesFor"}]}
        one = {"componentId": "keboola.variables", "id": f"v{number}", "path": "variables", "relations": [relation]}
        items.append({"branchId": 1, **one, "rows": [row]})
    if has_schedule(number):
        schedule = {"cronTab": cron(number), "timezone": "UTC", "state": "enabled"}
        _write(
            target / "schedules" / "daily" / "config.json", {"schedule": schedule, "target": {**owner, "mode": "run"}}
        )
        _write(target / "schedules" / "daily" / "meta.json", {"name": "Daily"})
        relation = {"type": "schedulerFor", **owner}
        one = {"componentId": "keboola.scheduler", "id": f"s{number}", "path": "schedules/daily"}
        items.append({"branchId": 1, **one, "relations": [relation], "rows": []})
    return items


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
