"""What belongs to a development branch carries its id."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from docker_runner.errors import UserError
from docker_runner.mapping.branches import branch_table, branch_tags, refuse_foreign_buckets
from docker_runner.storage.base import MetadataItem, Storage


@pytest.mark.rules("BR-4")
def test_a_bucket_gets_the_branch_after_its_mark() -> None:
    assert branch_table("in.c-main.t", "123") == "in.c-123-main.t"
    assert branch_table("in.main.t", "123") == "in.123-main.t"
    assert branch_table("in.c-main.t", "") == "in.c-main.t"


@pytest.mark.rules("BR-8", "OF-7")
def test_tags_get_the_branch_in_front() -> None:
    assert branch_tags(["a", "runId: 1"], "123") == ("123-a", "123-runId: 1")
    assert branch_tags(["a"], "") == ("a",)


@pytest.mark.rules("BR-5")
def test_a_bucket_of_another_branch_or_of_none_is_not_written_into(lake: Storage, load: Callable[..., None]) -> None:
    for bucket, branch in (("out.c-123-own", "123"), ("out.c-123-other", "77"), ("out.c-123-none", "")):
        marks = (MetadataItem("KBC.createdBy.branch.id", branch, "system"),) if branch else ()
        load("id\n1\n", f"{bucket}.t", created_metadata=marks)

    def refuse(*buckets: str, branch: str = "123") -> None:
        refuse_foreign_buckets(buckets, branch=branch, storage=lake)

    refuse("out.c-123-own", "out.c-123-new")
    with pytest.raises(UserError, match=r"out\.c-123-other belongs to the branch 77, so a run in the branch 123"):
        refuse("out.c-123-own", "out.c-123-other")
    with pytest.raises(UserError, match=r"out\.c-123-none belongs to no development branch"):
        refuse("out.c-123-none")
    refuse("out.c-123-other", "out.c-123-none", branch="")


@pytest.mark.rules("BR-5")
def test_a_bucket_that_two_branches_have_marked_is_neithers(lake: Storage, load: Callable[..., None]) -> None:
    made, updated = ("KBC.createdBy.branch.id", "123"), ("KBC.lastUpdatedBy.branch.id", "77")
    marks = tuple(MetadataItem(key, branch, "system") for key, branch in (made, updated))
    load("id\n1\n", "out.c-123-both.t", created_metadata=marks)
    with pytest.raises(UserError, match=r"belongs to the branches 123 and 77"):
        refuse_foreign_buckets(["out.c-123-both"], branch="123", storage=lake)
