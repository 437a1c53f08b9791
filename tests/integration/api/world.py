"""What the API server of the tests serves: the sample, and configurations that run any code, in two branches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.installation import SCRIPT, Installation

REPOSITORY = Path(__file__).parents[3]
BRANCH = "dev"
SAMPLE = {
    "transformation/sample.daily-delays/new-york": "sample.daily-delays/new-york-delays",
    "application/sample.airport-report/new-york": "sample.airport-report/new-york-reports",
}
ACTION = "import json; print(json.dumps({'action': c['action'], 'got': c['parameters'].get('got')}))"
"""Code of an action that answers with what it was asked."""


def build_world(installation: Installation) -> None:
    """Write components and configurations."""
    for file in (REPOSITORY / "include" / "components").glob("*.json"):
        shutil.copy(file, installation.folder / "components")
    for source, target in SAMPLE.items():
        kind = source.partition("/")[0]
        for branch in ("main", BRANCH):
            folder = installation.folder / "project" / branch / kind / target
            shutil.copytree(REPOSITORY / "include" / "project" / "main" / source, folder)
    installation.component(SCRIPT, {"network": "none", "synchronous_actions": ["say", "run"]})
    for branch in ("main", BRANCH):
        folder = installation.folder / "project" / branch
        (folder / "meta.json").write_text(json.dumps({"name": branch, "isDefault": branch == "main"}))
        installation.configuration("plain", {"parameters": {"script": "print('hello')"}}, branch=branch)
    rows: dict[str, dict[str, Any]] = {name: {"parameters": {"script": f"print({name!r})"}} for name in ("one", "two")}
    installation.configuration("rows", {}, rows=rows)
    file = installation.script("disabled", "print('hello')")
    (file.parent / "meta.json").write_text(json.dumps({"name": "disabled", "isDisabled": True}))
