"""A folder of runs that machines share is told from one that each has for itself."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.job.shared_folder import identity_of, refuse_other_folder


def test_all_who_see_a_folder_see_one_identity_and_another_folder_has_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(lambda _: identity_of(tmp_path / "shared"), range(32)))
    assert len(seen) == 1
    assert all(len(identity) == 32 for identity in seen)
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [".identity"]
    assert identity_of(tmp_path / "own") not in seen


def test_who_finds_no_identity_takes_that_of_whoever_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def while_it_makes_one() -> uuid.UUID:
        monkeypatch.undo()
        seen.append(identity_of(tmp_path))
        return uuid.UUID(int=1)

    monkeypatch.setattr(uuid, "uuid4", while_it_makes_one)
    seen.append(identity_of(tmp_path))
    assert seen == [identity_of(tmp_path)] * 2


def test_only_another_folder_is_refused_with_what_to_set(tmp_path: Path) -> None:
    identity = identity_of(tmp_path)
    refuse_other_folder(tmp_path, identity)
    refuse_other_folder(tmp_path, None)
    with pytest.raises(UserError, match=f"{tmp_path} is not shared .* Set DOCKER_RUNNER_WORKSPACES"):
        refuse_other_folder(tmp_path, "x" * 32)
