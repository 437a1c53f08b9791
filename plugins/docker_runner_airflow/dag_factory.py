"""From configurations to DAGs: one DAG for each configuration and each flow of a project.

The bundle of :mod:`docker_runner_airflow.bundle` gives Airflow files that build a hundred of them each. A small project
can do without it; a DAG file of one's own needs two lines::

    from docker_runner_airflow.dag_factory import build_dags

    globals().update(build_dags())

Every task process parses its DAG file again. Airflow tells which DAG the task belongs to, and only that one is built,
so a task starts as fast with thousands of configurations as with one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from docker_runner.errors import RunnerError
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.dag_ids import by_dag_id, collision, only_key
from docker_runner.project.entries import FLOW_COMPONENTS, Key
from docker_runner.project.shards import shard_count, shard_of
from docker_runner.settings import Settings
from docker_runner_airflow.configuration_dag import BROKEN_TAG, START, ConfigurationDag, broken_documentation, storable
from docker_runner_airflow.flow_dag import flow_dag

if TYPE_CHECKING:
    from airflow.sdk import DAG

_LONGEST_TAG = 100
BROKEN = "broken_configuration"


def build_dags(settings: Settings | None = None, *, shard: int | None = None) -> dict[str, DAG]:
    """Build the DAGs of a project, by their ids; at task time only the one that the task belongs to.

    A configuration that cannot be read becomes a DAG that carries the error; every other DAG is untouched.

    Args:
        settings: which project; the environment's by default.
        shard: build only the configurations of this shard, see :mod:`docker_runner.project.shards`.
    """
    from airflow.sdk import get_parsing_context

    settings = settings or Settings.from_environment()
    wanted = get_parsing_context().dag_id
    with _nothing_collected():
        # A task's DAG was made before, by the DAG processor, from the whole project.
        project = Project(settings.project, branch=settings.branch, was_read=wanted is not None)
        registry = CachedRegistry(settings)
        return {
            name: _dag_or_error(name, keys, project=project, registry=registry, is_for_task=wanted is not None)
            for name, keys in _wanted(project, wanted, shard).items()
        }


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Hold the garbage collector back: nearly all that is made here stays.

    A large manifest alone would have it look through everything that a worker has loaded before it forked the task,
    which takes longer than the DAG, and copies its memory.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _wanted(project: Project, wanted: str | None, shard: int | None) -> dict[str, list[Key]]:
    """The configurations of which DAGs are made, by the DAGs' ids: of a task one, nearly always told by the id itself.

    Ids that several configurations share are found wherever those lie, and belong to the shard of the first.
    """
    if wanted is not None:
        # A task's DAG may have moved into another shard since it was scheduled.
        key = only_key(wanted, project.branch)
        if key and (key in project.flows() if key[0] in FLOW_COMPONENTS else project.has(key)):
            return {wanted: [key]}
        found = by_dag_id(project.runnable(), project.branch)
        return {wanted: found[wanted]} if wanted in found else {}
    runnable = project.runnable()
    found = by_dag_id(runnable, project.branch)
    if shard is None:
        return found
    count = shard_count(len(runnable))
    return {name: keys for name, keys in found.items() if shard_of(keys[0], count) == shard}


class CachedRegistry(ComponentRegistry):
    """A registry that reads each definition once: many configurations share a component."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.components)
        self._known: dict[str, Component] = {}

    def get(self, component_id: str) -> Component:
        """Read a component's definition, or give the one that was read before."""
        if component_id not in self._known:
            self._known[component_id] = super().get(component_id)
        return self._known[component_id]


def _dag_or_error(
    name: str, keys: list[Key], *, project: Project, registry: ComponentRegistry, is_for_task: bool
) -> DAG:
    key = keys[0]
    if len(keys) > 1:
        return _error_dag(name, key, collision(keys))
    build = _builder(name, key, project=project, registry=registry, is_for_task=is_for_task)
    try:
        return build()
    except RunnerError as error:
        return _error_dag(name, key, str(error))
    except Exception as error:  # What Airflow refuses, e.g. a cron expression, must not hide the other DAGs.
        refused = f"Airflow refuses to make a DAG of {'/'.join(key)}: {error}"
        return _error_dag(name, key, refused)


def _builder(
    name: str, key: Key, *, project: Project, registry: ComponentRegistry, is_for_task: bool
) -> Callable[[], DAG]:
    if key[0] in FLOW_COMPONENTS:
        return lambda: flow_dag(name, project.flow(*key), branch=project.branch)
    return lambda: ConfigurationDag(
        name, project=project, registry=registry, component_id=key[0], config_id=key[1]
    ).build(with_problems=not is_for_task)


def _error_dag(name: str, key: Key, error: str) -> DAG:
    """A DAG that shows what is wrong with its configuration and fails at once with it when it is run."""
    from airflow.sdk import DAG

    from docker_runner_airflow.operators import BrokenOperator
    from docker_runner_airflow.runner_operator import RETRY_POLICY

    dag = DAG(
        name,
        doc_md=broken_documentation(error),
        description=storable(error)[:200],
        tags=[key[0][:_LONGEST_TAG], BROKEN_TAG],
        schedule=None,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,
        default_args={"retry_policy": RETRY_POLICY},
    )
    BrokenOperator(dag=dag, task_id=BROKEN, error=error, component_id=key[0], config_id=key[1])
    return dag
