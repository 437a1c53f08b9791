"""A container gets the CPUs of its size, as far as the engine's machine has them, which need not be the worker's."""

from __future__ import annotations

from typing import Any

import pytest
from docker import APIClient
from tests.installation import SCRIPT, Installation

from docker_runner.job.preview import preview
from docker_runner.job.request import JobRequest
from docker_runner.project.configuration import Project

pytestmark = pytest.mark.engine

SHOW = """
import glob
files = glob.glob('/sys/fs/cgroup/cpu.max') + glob.glob('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')
print('quota', open(files[0]).read().split()[0])
"""


@pytest.mark.rules("CT-15")
@pytest.mark.parametrize(("size", "counted"), [("medium", 3), ("xsmall", 1)])
def test_a_run_and_its_plan_count_the_cpus_of_the_engines_machine(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, size: str, counted: int
) -> None:
    asked: list[APIClient] = []

    def info(client: APIClient) -> dict[str, Any]:
        asked.append(client)
        return {"NCPU": 3}

    monkeypatch.setattr(APIClient, "info", info)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    installation.configuration("main", {"parameters": {"script": SHOW}, "runtime": {"backend": {"type": size}}})
    installation.run("main")
    assert f"quota {counted * 100_000}" in installation.lines
    assert len(asked) == 1
    stored = Project(installation.settings.project).configuration(SCRIPT, "main")
    told = preview(installation.job("main"), stored, JobRequest.from_params({}), installation.tools())
    cpus = told["rows"][0]["run"][0]["limits"]["cpus"]
    assert cpus["value"] == counted
    assert ("the engine's machine has 3" in cpus["from"]) == (counted == 3)
