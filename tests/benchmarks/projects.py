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


def generate(folder: Path, count: int) -> Path:
    """Write a project with ``count`` configurations of nine steps each; give its folder."""
    configurations = []
    for number in range(count):
        name = f"configuration-{number:05d}"
        path = f"transformation/{COMPONENT}/{name}"
        configurations.append({"branchId": 1, "componentId": COMPONENT, "id": name, "path": path, "rows": []})
        content = {
            "parameters": {"delayed_from_minutes": 15},
            "storage": {
                "input": {"tables": [{"source": "in.c-nycflights.flights", "destination": "flights.csv", "limit": 10}]},
                "output": {"tables": [{"source": "daily_delays.csv", "destination": f"out.c-bench.t{number}"}]},
            },
            "processors": PROCESSORS,
        }
        target = folder / "main" / path
        target.mkdir(parents=True)
        _write(target / "config.json", content)
        _write(target / "meta.json", {"name": f"Configuration {number}", "isDisabled": False})
        (target / "description.md").write_text(f"# Configuration {number}\n\nOne of many.\n")
    manifest = {
        "version": 2,
        "project": {"id": 1, "apiHost": "example.com"},
        "branches": [{"id": 1, "path": "main"}],
        "configurations": configurations,
    }
    (folder / ".keboola").mkdir()
    _write(folder / ".keboola" / "manifest.json", manifest)
    return folder


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
