"""Which DAGs of Airflow are jobs while the project cannot be read: those that are called like configurations.

Jobs that ran must not vanish because somebody has broken the manifest. Airflow still knows their DAGs, and a DAG's id
begins with a component's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from docker_runner.project.component import ComponentRegistry
from docker_runner.project.dag_ids import dag_id
from docker_runner.project.entries import FLOW_COMPONENTS, Key

_BETWEEN_IDS = "--"
# An id that was changed to be one of a DAG does not tell what it was.
_CHANGED = re.compile(r"_[0-9a-f]+_|--[0-9a-f]{16}$")


def remembered_keys(components: Path, *, has_branch: bool) -> dict[str, Key]:
    """Component and configuration of the DAGs that Airflow knows; the configuration is empty where the id hides it.

    Args:
        components: folder of the components' definitions.
        has_branch: the installation names the branch that it runs: ids may begin with one.
    """
    from airflow.models import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        ids = session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.contains(_BETWEEN_IDS))).all()
    begins = {dag_id(name, ""): name for name in (*ComponentRegistry(components).ids(), *FLOW_COMPONENTS)}
    return dict(_keys(ids, begins, has_branch=has_branch))


def _keys(ids: Iterable[str], begins: Mapping[str, str], *, has_branch: bool) -> Iterable[tuple[str, Key]]:
    for name in ids:
        own = name
        if has_branch and _begin(own) not in begins:
            own = name.partition(_BETWEEN_IDS)[2]
        component_id = begins.get(_begin(own))
        if component_id is not None:
            config_id = own.removeprefix(_begin(own))
            yield name, (component_id, "" if _CHANGED.search(config_id) else config_id)


def _begin(name: str) -> str:
    return "".join(name.partition(_BETWEEN_IDS)[:2])
