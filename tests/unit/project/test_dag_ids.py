"""Ids of DAGs: stable, and different for what is different."""

from __future__ import annotations

from docker_runner.project.branches import Branch
from docker_runner.project.dag_ids import colliding, dag_id

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


def test_ids_that_collide_are_found() -> None:
    keys = [("a", "b--c"), ("a--b", "c"), ("a", "d"), ("a", "b--c")]
    assert colliding(keys, MAIN) == {("a--b", "c"): ("a", "b--c")}
