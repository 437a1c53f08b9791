"""The corpus of configurations as a user sees it: one call of ``docker-runner validate``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.corpus.cases import COMPONENT, SECRET, Case, put, read_cases
from tests.corpus.world import World, check_message


def command(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("docker-runner")
    environment = {**os.environ, **world.environment}
    return subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.rules("CF-33", "CF-34")
def test_validate_tells_of_every_broken_configuration_what_is_wrong_and_ends_with_code_1(world: World) -> None:
    cases = read_cases("configurations")
    for case in cases:
        put(world.folder / "project" / "main" / "extractor" / COMPONENT / case.name / "config.json", case.content)
    done = command(world, "validate", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert SECRET not in done.stdout
    found = {item["name"]: item["problems"] for item in json.loads(done.stdout)["checked"]}
    assert found[f"{COMPONENT}/main"] == []
    for case in cases:
        messages = [" ".join(map(str, problem.values())) for problem in found[f"{COMPONENT}/{case.name}"]]
        assert any(fits(case, message) for message in messages), (case.name, messages)


def fits(case: Case, message: str) -> bool:
    """Whether a message tells what the case asks for."""
    try:
        check_message(case, message)
    except AssertionError:
        return False
    return True
