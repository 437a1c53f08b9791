"""Limits, names and labels of containers."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.engine.containers import ContainerOutcome
from docker_runner.engine.images import PreparedImage
from docker_runner.interface.data_folder import DataFolder
from docker_runner.interface.result import CrashedComponentError, FailedComponentError, OutOfMemoryError
from docker_runner.job.containers import (
    StageRun,
    container_name,
    job_labels,
    judge_stage,
    size_limits,
    spec_of,
    time_limit,
)
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.settings import Settings


def resolved(built: ProjectBuilder, runtime: dict[str, Any], **data: Any) -> JobDefinition:
    built.component(**data)
    built.configuration({"runtime": runtime})
    return built.job().rows[0]


@pytest.mark.rules("CT-13", "CT-14", "CT-15", "CT-16", "TV-2")
@pytest.mark.parametrize(
    ("memory", "backend", "megabytes", "cpus"),
    [
        ("256m", {"type": "small"}, 256, 2),
        ("256m", None, 256, 2),
        ("256m", [], 256, 2),
        ("512m", {"type": "medium"}, 1024, 4),
        ("2g", {"type": "large"}, 14200, 14),
        ("100m", {"type": "xsmall"}, 50, 1),
        ("2g", {"type": "xsmall"}, 1000, 1),
        ("256m", {"type": "huge"}, 256, 1),
    ],
)
def test_memory_and_cpus_follow_the_size(
    built: ProjectBuilder, memory: str, backend: Any, megabytes: int, cpus: int
) -> None:
    row = resolved(built, {"backend": backend}, memory=memory)
    assert size_limits(row.main, row) == (megabytes * 10**6, cpus)


@pytest.mark.rules("CT-30")
@pytest.mark.parametrize(("size", "told"), [(None, "0256m"), ("medium", "512m"), ("xsmall", "128m")])
def test_a_component_out_of_memory_is_told_the_limit_that_counted(
    built: ProjectBuilder, tmp_path: Path, size: str | None, told: str
) -> None:
    row = resolved(built, {"backend": {"type": size}}, memory="0256m")
    image = PreparedImage("vendor/image:1", "sha256:1")
    run = StageRun(row.main, built.job(), row, DataFolder(tmp_path), tmp_path, image)
    with pytest.raises(OutOfMemoryError, match=rf"limit of {told}\."):
        judge_stage(run, ContainerOutcome("id", 137, True, False, 1.0, "", ""))


@pytest.mark.parametrize(
    ("size", "oom", "seconds", "remedy"),
    [
        ("small", True, 1.0, "runtime.backend.type medium or large."),
        ("large", True, 1.0, "The definition of vendor.ex-foo gives it more (memory)."),
        ("small", False, 1.0, "runtime.backend.type medium or large."),
        ("small", False, 61.0, "runtime.process_timeout allows it more, up to 86400 seconds."),
    ],
)
def test_who_meets_a_limit_is_told_what_raises_it(
    built: ProjectBuilder, tmp_path: Path, size: str, oom: bool, seconds: float, remedy: str
) -> None:
    row = resolved(built, {"backend": {"type": size}}, process_timeout=60)
    image = PreparedImage("vendor/image:1", "sha256:1")
    run = StageRun(row.main, built.job(), row, DataFolder(tmp_path), tmp_path, image)
    with pytest.raises(FailedComponentError) as told:
        judge_stage(run, ContainerOutcome("id", 137, oom, False, seconds, "", ""))
    assert str(told.value).startswith("Component vendor.ex-foo (image:1) ")
    assert str(told.value).endswith(remedy)


@pytest.mark.rules("CT-33")
def test_a_crash_names_its_configuration_behind_the_words_of_the_component(
    built: ProjectBuilder, tmp_path: Path
) -> None:
    row = resolved(built, {})
    image = PreparedImage("vendor/image:1", "sha256:1")
    run = StageRun(row.main, built.job(), row, DataFolder(tmp_path), tmp_path, image)
    with pytest.raises(CrashedComponentError) as told:
        judge_stage(run, ContainerOutcome("id", 2, False, False, 1.0, "", "Backend fell over"))
    assert str(told.value) == f"image:1 container 'id' failed: (2) Backend fell over [{row.title}]"
    assert row.title.startswith("vendor.ex-foo/")


@pytest.mark.rules("CT-11", "CT-12", "CF-14", "D9", "PR-9")
@pytest.mark.parametrize(
    ("own", "wanted", "limit"),
    [(3600, None, 3600), (3600, 60, 60), (60, 7200, 7200), (60, 100_000, 86_400), (0, None, 0), (0, 5, 5)],
)
def test_the_configuration_may_change_the_time_limit_up_to_a_day(
    built: ProjectBuilder, own: int, wanted: int | None, limit: int
) -> None:
    row = resolved(built, {"process_timeout": wanted}, process_timeout=own)
    assert time_limit(row.main, row) == limit


@pytest.mark.rules("CT-11", "PR-9")
def test_a_processor_keeps_its_own_time_limit(built: ProjectBuilder) -> None:
    built.component("vendor.processor", process_timeout=9)
    item = {"definition": {"component": "vendor.processor"}}
    built.configuration({"runtime": {"process_timeout": 60}, "processors": {"before": [item]}})
    (row,) = built.job().rows
    assert [time_limit(stage, row) for stage in row.stages] == [9, 60]


@pytest.mark.rules("CD-13", "CD-50", "CD-51", "CD-52", "CT-6", "CT-7")
def test_features_of_a_component_change_its_container(built: ProjectBuilder, tmp_path: Path) -> None:
    settings = Settings.from_environment({"DOCKER_RUNNER_HOME": str(tmp_path)})
    tools = Tools(settings, connect=lambda: SimpleNamespace(cpus=4))  # type: ignore[arg-type,return-value]
    image = PreparedImage("vendor/image:1", "sha256:1")

    def changed(*features: str) -> tuple[Any, ...]:
        built.component(memory="64m", network="none", root={"features": list(features)})
        job = built.job()
        run = StageRun(job.rows[0].main, job, job.rows[0], DataFolder(tmp_path), tmp_path, image)
        spec = spec_of(run, environment={}, tools=tools)
        assert (spec.memory_bytes, spec.network) == (64_000_000, "none")
        return spec.user is None, spec.memory_swap_bytes, dict(spec.sysctls)

    built.configuration()
    assert changed() == (False, None, {})
    assert changed("container-root-user") == (True, None, {})
    assert changed("no-swap") == (False, 64_000_000, {})
    assert changed("container-tcpkeepalive-60s-override") == (False, None, {"net.ipv4.tcp_keepalive_time": "60"})


@pytest.mark.rules("CT-2", "CT-3")
def test_names_and_labels_say_whose_container_it_is(built: ProjectBuilder) -> None:
    built.component("vendor.processor")
    twice = [{"definition": {"component": "vendor.processor"}}] * 2
    built.configuration({"processors": {"after": twice}}, rows={"ř 1": {}, "b": {}})
    job = built.job()
    names = [container_name(stage, job, row, installation="here") for row in job.rows for stage in row.stages]
    assert re.fullmatch(r"vendor\.ex-foo\.main-b-0-vendor-ex-foo-[0-9a-f]{8}", names[0])
    assert len(set(names)) == 6
    assert all(re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name) for name in names)
    assert container_name(job.rows[0].main, built.job(), job.rows[0], installation="here") == names[0]
    # Another installation on the same engine runs a configuration of the same ids.
    assert container_name(job.rows[0].main, job, job.rows[0], installation="there") != names[0]
    prefix = "com.keboola.docker-runner."
    assert job_labels(job, job.rows[0], container=names[0], installation="here") == {
        f"{prefix}jobId": "vendor.ex-foo.main", f"{prefix}runId": "42", f"{prefix}rowId": "b",
        f"{prefix}containerName": names[0], f"{prefix}projectId": "",
        f"{prefix}installation": "here",
    }  # fmt: skip
