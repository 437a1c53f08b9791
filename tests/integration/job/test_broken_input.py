"""Broken input through ``docker-runner run`` with real containers: one message, nothing stored, nothing left."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.corpus.cases import SECRET, Case, as_json, put, read_cases
from tests.installation import SCRIPT, Installation

OUTPUTS = {
    "csv": [
        "too-few-fields", "a-quote-is-not-closed", "not-utf8", "header-lacks-a-column", "truncated-gzip",
        "a-slice-with-too-few-fields", "two-tables-are-wrong", "an-enclosure-inside-an-unenclosed-field",
    ],
    "folders": ["manifest-without-table", "mapped-table-is-missing", "good-tables-beside-a-bad-file"],
    "table_manifests": ["unknown-key", "schema-and-columns", "delete-rule-of-no-such-column"],
    "file_manifests": ["not-json", "tags-are-a-text"],
    "results": ["state-is-not-json", "state-is-a-list", "usage-is-a-map", "usage-value-is-null"],
}  # fmt: skip
CONFIGURATIONS = [
    "not-json", "cut-off", "unknown-root-key", "a-table-is-a-text", "parallelism-is-a-word", "not-utf8",
    "input-table-with-an-unknown-option",
]  # fmt: skip


def chosen(kind: str, names: list[str]) -> list[Any]:
    cases = {case.name: case for case in read_cases(kind)}
    # All of the corpus is tried without containers; of those that are here make test takes every second one.
    later = (pytest.mark.thorough,)
    return [
        pytest.param(cases[name], id=f"{kind}-{name}", marks=later if number % 2 else ())
        for number, name in enumerate(names)
    ]


def check_refused(installation: Installation, case: Case) -> None:
    """One message that tells what the case asks for; Storage, folders and containers are as they were."""
    tables, files = installation.tables(), installation.files()
    rows = installation.rows("out.c-main.t")
    done = installation.command("run", f"{SCRIPT}/{case.name}")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Error: ") == 1
    message = done.stderr[done.stderr.index("Error: ") :]
    for words in (case["place"], *case["says"]):
        assert words in message
    for words in ("Traceback", SECRET):
        assert words not in message
    assert (installation.tables(), installation.files()) == (tables, files)
    assert installation.rows("out.c-main.t") == rows
    assert installation.state(case.name) == {}
    assert installation.workspaces == []


def writing(out: dict[str, Any]) -> str:
    """A script that leaves the given files in ``/data/out``."""
    lines = ["import base64, os"]
    for path, content in out.items():
        data = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
        data = as_json(content).encode() if data is None else data
        lines += [
            f"os.makedirs(os.path.dirname('/data/out/{path}'), exist_ok=True)",
            f"open('/data/out/{path}', 'wb').write(base64.b64decode('{base64.b64encode(data).decode()}'))",
        ]
    return "\n".join(lines)


@pytest.fixture
def loaded(installation: Installation) -> Installation:
    installation.load("out.c-main.t", "id,v\n1,a\n2,b\n", primary_key=("id",))
    return installation


@pytest.mark.parametrize("case", [case for kind, names in OUTPUTS.items() for case in chosen(kind, names)])
def test_broken_output_of_a_component(loaded: Installation, case: Case) -> None:
    name = "tables/t.csv" if case.kind != "file_manifests" else "files/a.txt"
    out = case.get("out") or {name: case.get("csv", "id,v\n1,a\n")}
    if "manifest" in case.parts:
        out = {**out, f"{name}.manifest": case["manifest"]}
    output = {"default_bucket": "out.c-main", **case.get("output", {})}
    loaded.script(case.name, writing(out), storage={"output": output})
    check_refused(loaded, case)


@pytest.mark.parametrize("case", chosen("configurations", CONFIGURATIONS))
def test_a_broken_configuration(loaded: Installation, case: Case) -> None:
    file = loaded.configuration(case.name, {})
    put(file, case.content)
    check_refused(loaded, case)
