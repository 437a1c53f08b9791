"""Ids of DAGs: stable, and different for what is different."""

from __future__ import annotations

import pytest

from docker_runner.project.branches import Branch
from docker_runner.project.dag_ids import by_dag_id, collision, dag_id, only_key

MAIN, DEV = Branch("1", "main", is_default=True), Branch("2", "dev", is_default=False)


def test_an_id_is_that_of_component_and_configuration() -> None:
    assert dag_id("vendor.ex", "a") == dag_id("vendor.ex", "a", MAIN) == "vendor.ex--a"
    assert dag_id("vendor.ex", "a b") == "vendor.ex--a_20_b"


def test_the_same_configuration_in_two_branches_is_two_dags() -> None:
    assert dag_id("vendor.ex", "a", DEV) == "2--vendor.ex--a"


def test_long_ids_are_shortened_and_stay_different() -> None:
    long = dag_id("vendor.ex", "x" * 300)
    assert len(long) <= 200
    assert long != dag_id("vendor.ex", "x" * 301)
    assert len(dag_id("vendor.ex", "x" * 300, DEV)) <= 200


def test_configurations_whose_dags_would_have_one_id_are_found() -> None:
    keys = [("a", "b--c"), ("a--b", "c"), ("a", "d")]
    assert by_dag_id(keys, MAIN) == {"a--b--c": keys[:2], "a--d": keys[2:]}
    assert collision(keys[:2]) == "a/b--c and a--b/c would be DAGs of one id: give one of them another id."


@pytest.mark.parametrize("branch", [MAIN, DEV])
def test_an_id_tells_its_configuration_only_when_no_other_can_have_it(branch: Branch) -> None:
    plain = [("vendor.ex", "a"), ("vendor.ex", "a-b_c"), ("keboola.flow", "1")]
    assert [only_key(dag_id(*key, branch), branch) for key in plain] == plain
    unclear = [("a", "b--c"), ("a-", "b"), ("a", "-b"), ("a", "x y"), ("a", "x_20_y"), ("a", "x" * 300)]
    assert {only_key(dag_id(*key, branch), branch) for key in unclear} == {None}
    assert only_key("neither", branch) is None
    assert only_key(dag_id("a", "b", MAIN if branch is DEV else DEV), branch) is None
