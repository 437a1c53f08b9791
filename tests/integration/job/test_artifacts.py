"""Artifacts from one run to another, through real containers and a real Storage."""

from __future__ import annotations

import tarfile
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ComponentError, ConfigurationError

pytestmark = pytest.mark.engine

OTHER = "test.other"
LEAVE = (
    "import os\n"
    "os.makedirs('/data/artifacts/out/current/deep')\n"
    "open('/data/artifacts/out/current/model', 'w').write(os.environ['KBC_RUNID'])\n"
    "open('/data/artifacts/out/current/deep/note', 'w').write('n')\n"
    "open('/data/artifacts/out/shared/common', 'w').write('s')\n"
)
LOOK = (
    "import pathlib\n"
    "folder = pathlib.Path('/data/artifacts/in')\n"
    "for p in folder.rglob('*'):\n"
    "    if p.is_file(): print('found', p.relative_to(folder), p.read_text())\n"
    "print('folder', folder.exists())\n"
)
RUNS = {"runs": {"enabled": True, "filter": {"limit": 5}}}


def found(installation: Installation) -> list[str]:
    lines = sorted(line.removeprefix("found ") for line in installation.lines if line.startswith("found "))
    installation.lines.clear()
    return lines


@pytest.mark.rules("AR-1", "AR-3", "AR-5", "AR-6", "AR-7", "AR-8", "LC-8", "DF-3")
@pytest.mark.parametrize("mode", ["run", "debug"])
def test_the_artifacts_of_a_run_are_there_in_the_next_one(installation: Installation, mode: str) -> None:
    installation.script("model", LOOK + LEAVE, artifacts=RUNS)
    first = installation.run("model", run_id="first", mode=mode)
    assert "folder False" in installation.lines
    assert found(installation) == []
    assert "artifacts" not in first.manifests["run_component"]
    (stored,) = installation.files("artifact")
    assert first.manifests["unload_output"]["artifacts"] == {"uploaded": [stored.id]}
    assert stored.name == "artifacts.tar.gz"
    assert set(stored.tags) == {
        "artifact", "branchId-default", f"componentId-{SCRIPT}", "configId-model", "jobId-first",
    }  # fmt: skip
    with tarfile.open(installation.download(stored)) as archive:
        assert archive.getnames() == ["deep", "deep/note", "model"]
    second = installation.run("model", run_id="second", mode=mode)
    assert found(installation) == ["runs/jobs/job-first/deep/note n", "runs/jobs/job-first/model first"]
    assert second.manifests["run_component"]["artifacts"] == {"downloaded": [stored.id]}
    installation.run("model", run_id="third", mode=mode)
    assert [line.split()[0] for line in found(installation)] == [
        "runs/jobs/job-first/deep/note", "runs/jobs/job-first/model",
        "runs/jobs/job-second/deep/note", "runs/jobs/job-second/model",
    ]  # fmt: skip


@pytest.mark.rules("AR-4", "AR-5", "AR-6", "D22")
def test_kinds_can_be_combined_and_shared_ones_stay_in_their_orchestration(installation: Installation) -> None:
    installation.component(OTHER, {"network": "none"})
    installation.script("model", LEAVE)
    installation.run("model", run_id="first", orchestration_id="o1")
    assert len(installation.files("shared", "orchestrationId-o1")) == 1
    artifacts = {
        **RUNS,
        "custom": {"enabled": True, "filter": {"component_id": SCRIPT, "config_id": "model"}},
        "shared": {"enabled": True},
    }
    installation.script("uses", LOOK + LEAVE, component=OTHER, artifacts=artifacts)
    installation.run("uses", component=OTHER, run_id="second", orchestration_id="o1")
    assert found(installation) == [
        "custom/jobs/job-first/deep/note n", "custom/jobs/job-first/model first", "shared/jobs/job-first/common s",
    ]  # fmt: skip
    installation.run("uses", component=OTHER, run_id="third", orchestration_id="o2")
    assert [line.split()[0] for line in found(installation)] == [
        "custom/jobs/job-first/deep/note", "custom/jobs/job-first/model",
        "runs/jobs/job-second/deep/note", "runs/jobs/job-second/model",
    ]  # fmt: skip


@pytest.mark.rules("AR-5", "BR-1")
def test_a_branch_sees_only_its_own(installation: Installation) -> None:
    for branch in ("main", "dev"):
        content = {"parameters": {"script": LOOK + LEAVE}, "artifacts": RUNS}
        installation.configuration("model", content, branch=branch)
    installation.run("model", run_id="first")
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    installation.run("model", run_id="second")
    assert found(installation) == []
    assert [file.tags[1] for file in installation.files("artifact")] == ["branchId-default", "branchId-dev"]


@pytest.mark.rules("AR-6", "ST-10", "D6", "LC-51")
@pytest.mark.parametrize("ending", ["raise SystemExit(1)", "open('/data/out/tables/lost.manifest', 'w').write('{}')"])
def test_a_row_that_fails_leaves_no_artifacts(installation: Installation, ending: str) -> None:
    installation.script("model", LEAVE + ending, storage={"output": {"default_bucket": "out.c-main"}})
    with pytest.raises((ComponentError, ConfigurationError)):
        installation.run("model")
    assert installation.files("artifact") == []


@pytest.mark.rules("AR-6")
def test_without_zip_each_file_is_stored_beside_the_rows_own_files(installation: Installation) -> None:
    script = LEAVE + "open('/data/out/files/own.txt', 'w').write('own')"
    installation.script("model", script, artifacts={"options": {"zip": False}})
    manifest = installation.run("model").manifests["unload_output"]
    assert [file["name"] for file in manifest["files"]] == ["own.txt"]
    assert [(file.name, installation.download(file).read_text()) for file in installation.files("artifact")] == [
        ("note", "n"), ("model", "run-1"),
    ]  # fmt: skip
    assert manifest["artifacts"] == {"uploaded": [file.id for file in installation.files("artifact")]}


@pytest.mark.rules("AR-1", "PR-11", "DF-5")
def test_artifacts_are_the_main_images_affair(installation: Installation) -> None:
    installation.component(OTHER, {"network": "none"})

    def processor(script: str) -> dict[str, Any]:
        return {"definition": {"component": OTHER}, "parameters": {"script": script}}

    installation.script("model", LEAVE)
    installation.run("model", run_id="first")
    before = "import os; print('before', os.path.exists('/data/artifacts/in'))"
    after = "for f in ('model', 'more'): open('/data/artifacts/out/current/' + f, 'w').write('changed')"
    processors = {"before": [processor(before)], "after": [processor(after)]}
    installation.script("model", LOOK + LEAVE, artifacts=RUNS, processors=processors)
    manifests = installation.run("model", run_id="second").manifests
    assert "before False" in installation.lines
    assert len(found(installation)) == 2
    assert [name for name, manifest in manifests.items() if "artifacts" in manifest] == [
        "run_component", "unload_output",
    ]  # fmt: skip
    with tarfile.open(installation.download(installation.files("artifact")[-1])) as archive:
        assert archive.getnames() == ["deep", "deep/note", "model"]
        content = archive.extractfile("model")
        assert content is not None
        assert content.read() == b"second"


@pytest.mark.rules("AR-1", "CD-58")
def test_without_the_projects_feature_there_are_no_artifacts(installation: Installation) -> None:
    installation.variables["DOCKER_RUNNER_FEATURES"] = "queuev2"
    installation.script("model", LOOK + LEAVE, artifacts=RUNS)
    installation.run("model")
    assert installation.files("artifact") == []
    assert "Artifacts are left out: the project does not have the feature artifacts." in installation.lines
