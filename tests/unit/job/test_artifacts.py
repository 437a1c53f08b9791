"""Which artifacts a row gets, and which it leaves."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.errors import ConfigurationError
from docker_runner.interface.artifacts import pack
from docker_runner.interface.data_folder import DataFolder
from docker_runner.job import artifacts
from docker_runner.job.artifacts import fetch_artifacts, keep_artifacts, kept_uploads, wanted_artifacts
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.settings import Settings
from docker_runner.storage.base import Commit, FileUpload

FULL = {
    "runs": {"enabled": True, "filter": {"limit": 5}},
    "custom": {"enabled": True, "filter": {"component_id": "vendor.other", "config_id": 7}},
    "shared": {"enabled": True},
}
ALL = ("artifact", "branchId-default", "componentId-vendor.ex-foo", "configId-main")


@pytest.fixture
def tools(new_lake: Path, tmp_path: Path) -> Tools:
    shutil.copytree(new_lake, tmp_path / "lake")
    settings = Settings.from_environment({"DOCKER_RUNNER_STORAGE": f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite"})
    return Tools(settings, log=logging.getLogger("docker_runner.test"))


@pytest.fixture
def folders(tmp_path: Path) -> RowWorkspace:
    row = RowWorkspace(tmp_path / "row")
    row.create()
    return row


@pytest.fixture
def data(folders: RowWorkspace) -> DataFolder:
    return folders.make_stage(0)


@pytest.fixture
def row_of(built: ProjectBuilder) -> Callable[..., JobDefinition]:
    """Resolves a row with the given ``artifacts`` node and changes of its identity."""

    def row(wanted: dict[str, Any], **identity: Any) -> JobDefinition:
        built.configuration({"artifacts": wanted})
        (found,) = built.job().rows
        return replace(found, identity=replace(found.identity, **identity))

    return row


@pytest.fixture
def stored(tools: Tools, tmp_path: Path) -> Callable[..., int]:
    """Stores an artifact, packed or not, with the given tags; gives its id."""
    count = iter(range(100))

    def store(text: str, *tags: str, packed: bool = True, name: str = "model.txt") -> int:
        folder = tmp_path / f"stored{next(count)}"
        source = write(folder / "files" / name, text)
        if packed:
            pack(folder / "files", folder / "artifacts.tar.gz")
            source = folder / "artifacts.tar.gz"
        upload = FileUpload(source, source.name, tags)
        return tools.storage.commit(Commit(folder.name, files=(upload,))).files[0].id

    return store


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.rules("AR-2", "CF-32")
@pytest.mark.parametrize(
    ("wanted", "key", "problem"),
    [
        ({"runs": {"enabled": True}}, "artifacts.runs.filter", "at least one of date_since, limit"),
        ({"runs": {"enabled": True, "filter": {"limit": 0}}}, "artifacts.runs.filter", "at least one"),
        ({"runs": {"enabled": True, "filter": {"limit": -1}}}, "artifacts.runs.filter.limit", "from 1 to 50"),
        ({"runs": {"enabled": True, "filter": {"date_since": "x"}}}, "artifacts.runs.filter.date_since", "a moment"),
        ({"runs": {"enabled": True, "filter": {"config_id": "1"}}}, "artifacts.runs.filter", "Unknown key"),
        ({"custom": {"enabled": True, "filter": {"limit": 5}}}, "artifacts.custom.filter", "at least one of branch_id"),
        ({"orchestration": {"enabled": True}}, "artifacts", "Unknown key"),
        ({"options": {"zip": "yes"}}, "artifacts.options.zip", "true or false"),
    ],
)
def test_a_wrong_wish_is_refused_before_anything_runs(
    built: ProjectBuilder, wanted: dict[str, Any], key: str, problem: str
) -> None:
    file = built.configuration({"artifacts": wanted})
    with pytest.raises(ConfigurationError, match=problem) as error:
        built.job()
    assert (error.value.file or "").startswith(str(file))
    assert error.value.key == key


@pytest.mark.rules("AR-2")
def test_what_is_not_enabled_needs_no_filter_and_gets_nothing(row_of: Callable[..., JobDefinition]) -> None:
    row = row_of({"options": {"zip": False}, "runs": {"enabled": False}, "custom": {"filter": {}}, "shared": {}})
    assert wanted_artifacts(row.configuration, row.component.id, row.identity) == []


@pytest.mark.rules("AR-4", "AR-5", "D22")
def test_all_kinds_together_are_asked_for_by_their_tags(row_of: Callable[..., JobDefinition]) -> None:
    row = row_of(FULL, branch_id="5", is_dev_branch=True, orchestration_id="o9")
    found = wanted_artifacts(row.configuration, row.component.id, row.identity)
    assert [(item.kind, item.query.tags, item.query.without_tags, item.query.limit) for item in found] == [
        ("runs", ("artifact", "branchId-5", "componentId-vendor.ex-foo", "configId-main"), ("shared",), 5),
        ("custom", ("artifact", "branchId-5", "componentId-vendor.other", "configId-7"), ("shared",), 50),
        ("shared", ("artifact", "branchId-5", "shared", "orchestrationId-o9"), (), 50),
    ]


@pytest.mark.rules("AR-5")
@pytest.mark.parametrize(
    ("filter_of", "since", "limit", "branch"),
    [
        ({"date_since": "2026-01-31", "branch_id": "9"}, datetime(2026, 2, 1, tzinfo=UTC), 50, "9"),
        ({"date_since": "2026-01-31T23:59:00Z", "branch_id": "default"}, datetime(2026, 2, 1, tzinfo=UTC), 50, "3"),
        ({"date_since": "2026-01-31T23:59:00-02:00", "branch_id": 9}, datetime(2026, 2, 2, tzinfo=UTC), 50, "9"),
        ({"limit": 7, "config_id": "main"}, None, 7, "3"),
        ({"limit": 500, "config_id": "main"}, None, 50, "3"),
    ],
)
def test_a_filter_counts_whole_days_and_at_most_fifty(
    row_of: Callable[..., JobDefinition], filter_of: dict[str, Any], since: datetime | None, limit: int, branch: str
) -> None:
    row = row_of({"custom": {"enabled": True, "filter": filter_of}}, branch_id="3")
    (found,) = wanted_artifacts(row.configuration, row.component.id, row.identity)
    assert (found.query.created_since, found.query.limit) == (since, limit)
    assert f"branchId-{branch}" in found.query.tags


@pytest.mark.rules("AR-5")
def test_without_an_orchestration_nothing_is_shared(row_of: Callable[..., JobDefinition]) -> None:
    row = row_of({"shared": {"enabled": True}})
    assert wanted_artifacts(row.configuration, row.component.id, row.identity) == []


@pytest.mark.rules("AR-3", "AR-4", "AR-5")
def test_artifacts_of_earlier_jobs_lie_in_one_folder_per_job(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    ids = [
        stored("oldest", *ALL, "jobId-1"),
        stored("older", *ALL, "jobId-2"),
        stored("newer", *ALL, "jobId-2"),
        stored("other", "artifact", "branchId-default", "componentId-vendor.other", "configId-7", "jobId-8"),
        stored("shared", *ALL, "jobId-9", "shared", "orchestrationId-o9"),
    ]
    stored("of another branch", "artifact", "branchId-1", *ALL[2:], "jobId-3")
    stored("of another configuration", *ALL[:3], "configId-x", "jobId-4")
    stored("of another orchestration", *ALL, "jobId-5", "shared", "orchestrationId-x")
    stored("no artifact", *ALL[1:], "jobId-6")
    assert sorted(fetch_artifacts(row_of(FULL, orchestration_id="o9"), data, folders, tools)) == ids
    assert content(data.artifacts / "in") == {
        "runs/jobs/job-1/model.txt": "oldest",
        "runs/jobs/job-2/model.txt": "newer",
        "custom/jobs/job-8/model.txt": "other",
        "shared/jobs/job-9/model.txt": "shared",
    }
    told = [message for message in caplog.messages if message.startswith("Fetched")]
    assert told == [f"Fetched artifacts of kind {kind}" for kind in ("runs: 3", "custom: 1", "shared: 1")]
    last = {"runs": {"enabled": True, "filter": {"limit": 1}}}
    assert fetch_artifacts(row_of(last), data, folders, tools) == [ids[2]]
    assert content(data.artifacts / "in") == {"runs/jobs/job-2/model.txt": "newer"}
    tomorrow = {"runs": {"enabled": True, "filter": {"date_since": "today"}}}
    assert fetch_artifacts(row_of(tomorrow), data, folders, tools) == []
    yesterday = {"runs": {"enabled": True, "filter": {"date_since": "yesterday"}}}
    assert len(fetch_artifacts(row_of(yesterday), data, folders, tools)) == 3
    assert list(folders.folder.glob("artifacts-fetched/*")) == []


@pytest.mark.rules("AR-3", "AR-5")
def test_what_is_wrong_with_one_artifact_is_a_warning(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = stored("good", *ALL, "jobId-1")
    stored("no job", *ALL)
    stored("two jobs", *ALL, "jobId-1", "jobId-2")
    stored("not packed", *ALL, "jobId-4", packed=False)
    wanted = {"runs": {"enabled": True, "filter": {"limit": 50}}}
    assert fetch_artifacts(row_of(wanted), data, folders, tools) == [good]
    assert content(data.artifacts / "in") == {"runs/jobs/job-1/model.txt": "good"}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 3
    assert all("is left out" in text for text in warnings)


@pytest.mark.rules("AR-5")
def test_artifacts_of_one_job_that_do_not_fit_together_are_a_warning(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored("a file in a folder", *ALL, "jobId-1", name="a/b")
    stored("a file", *ALL, "jobId-1", name="a")
    wanted = {"runs": {"enabled": True, "filter": {"limit": 50}}}
    assert len(fetch_artifacts(row_of(wanted), data, folders, tools)) == 1
    assert content(data.artifacts / "in") == {"runs/jobs/job-1/a/b": "a file in a folder"}
    assert "has a folder where this one has a file" in caplog.text


@pytest.mark.rules("AR-6")
def test_the_consumers_own_option_decides_about_unpacking(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
) -> None:
    stored("packed", *ALL, "jobId-1")
    stored("plain", *ALL, "jobId-2", packed=False)
    wanted = {"options": {"zip": False}, "runs": {"enabled": True, "filter": {"limit": 50}}}
    assert len(fetch_artifacts(row_of(wanted), data, folders, tools)) == 2
    assert sorted(str(path.relative_to(data.artifacts)) for path in data.artifacts.rglob("in/**/*.*")) == [
        "in/runs/jobs/job-1/artifacts.tar.gz",
        "in/runs/jobs/job-2/model.txt",
    ]


@pytest.mark.rules("DF-3", "AR-3")
@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_an_earlier_image_put_in_place_leads_nowhere(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    tmp_path: Path,
    kind: str,
) -> None:
    wanted = {"runs": {"enabled": True, "filter": {"limit": 1}}}
    assert fetch_artifacts(row_of(wanted), data, folders, tools) == []
    assert not (data.artifacts / "in").exists()
    outside = tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        (data.artifacts / "in").symlink_to(outside)
    else:
        write(data.artifacts / "in", "x")
    stored("good", *ALL, "jobId-1")
    assert len(fetch_artifacts(row_of(wanted), data, folders, tools)) == 1
    assert content(data.artifacts / "in") == {"runs/jobs/job-1/model.txt": "good"}
    assert list(outside.iterdir()) == []


@pytest.mark.rules("AR-6", "AR-7")
def test_what_a_component_leaves_is_put_aside_as_it_is_at_that_moment(
    row_of: Callable[..., JobDefinition], data: DataFolder, folders: RowWorkspace, tools: Tools
) -> None:
    row = row_of({"options": {"zip": False}})
    keep_artifacts(row, data, folders, tools)
    assert kept_uploads(folders) == ()
    write(data.artifacts / "out/current/a", "a")
    write(data.artifacts / "out/current/deep/b", "b")
    write(data.artifacts / "out/shared/c", "c")
    keep_artifacts(row, data, folders, tools)
    write(data.artifacts / "out/current/a", "changed by a later image")
    found = kept_uploads(folders)
    assert [(item.name, item.source.read_text(), item.tags) for item in found] == [
        ("a", "a", (*ALL, "jobId-42")),
        ("b", "b", (*ALL, "jobId-42")),
    ]
    keep_artifacts(replace(row, identity=replace(row.identity, orchestration_id="o9")), data, folders, tools)
    assert [(item.name, item.tags[4:]) for item in kept_uploads(folders)] == [
        ("a", ("jobId-42",)),
        ("b", ("jobId-42",)),
        ("c", ("jobId-42", "shared", "orchestrationId-o9")),
    ]
    keep_artifacts(row_of({}), data, folders, tools)
    assert [item.name for item in kept_uploads(folders)] == ["artifacts.tar.gz"]


@pytest.mark.rules("AR-6", "LC-51")
@pytest.mark.parametrize("packed", [True, False])
def test_what_is_too_large_is_a_warning(
    row_of: Callable[..., JobDefinition],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
) -> None:
    assert artifacts.LARGEST_ARCHIVE_BYTES == 2**30
    monkeypatch.setattr(artifacts, "LARGEST_ARCHIVE_BYTES", 10)
    write(data.artifacts / "out/current/a", "x" * 11)
    keep_artifacts(row_of({"options": {"zip": packed}}), data, folders, tools)
    assert kept_uploads(folders) == ()
    assert "larger than 1 GiB" in caplog.text
    assert [path for path in folders.folder.rglob("artifacts-kept/*/**/*") if path.is_file()] == []


@pytest.mark.rules("AR-6", "LC-51")
def test_a_component_may_remove_the_folders_and_leave_odd_names(
    row_of: Callable[..., JobDefinition],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
) -> None:
    row = row_of({"options": {"zip": False}})
    (data.artifacts / "out/current").rmdir()
    keep_artifacts(row, data, folders, tools)
    odd = write(data.artifacts / "out/current/ok", "").parent / "n\udcff\n"
    odd.write_text("")
    (odd.parent / "link").symlink_to("/etc/passwd")
    keep_artifacts(row, data, folders, tools)
    assert [item.name for item in kept_uploads(folders)] == ["ok"]
    assert "characters that Storage refuses" in caplog.text
    assert "left out: link" in caplog.text


@pytest.mark.rules("AR-1", "AR-7", "CD-58")
@pytest.mark.parametrize(
    ("change", "problem"), [({"features": ("queuev2",)}, "feature artifacts"), ({}, "belong to a configuration")]
)
def test_without_the_feature_or_a_configuration_there_are_none_and_a_warning(
    row_of: Callable[..., JobDefinition],
    stored: Callable[..., int],
    data: DataFolder,
    folders: RowWorkspace,
    tools: Tools,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    problem: str,
) -> None:
    stored("good", *ALL, "jobId-1")
    write(data.artifacts / "out/current/a", "x")
    row = row_of({"runs": {"enabled": True, "filter": {"limit": 1}}}, **change)
    if not change:
        row = replace(row, config_id="")
    assert fetch_artifacts(row, data, folders, tools) == []
    keep_artifacts(row, data, folders, tools)
    assert kept_uploads(folders) == ()
    assert len([record for record in caplog.records if problem in record.getMessage()]) == 2
