"""What belongs to a development branch carries its id."""

from __future__ import annotations

import pytest

from docker_runner.mapping.branches import branch_table, branch_tags


@pytest.mark.rules("BR-4")
def test_a_bucket_gets_the_branch_after_its_mark() -> None:
    assert branch_table("in.c-main.t", "123") == "in.c-123-main.t"
    assert branch_table("in.main.t", "123") == "in.123-main.t"
    assert branch_table("in.c-main.t", "") == "in.c-main.t"


@pytest.mark.rules("BR-8", "OF-7")
def test_tags_get_the_branch_in_front() -> None:
    assert branch_tags(["a", "runId: 1"], "123") == ("123-a", "123-runId: 1")
    assert branch_tags(["a"], "") == ("a",)
