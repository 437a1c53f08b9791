"""Which DAGs of Airflow are jobs: those of the project's configurations and flows, and the one that runs any."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.project.branches import Branch
from docker_runner.project.dag_ids import by_dag_id, only_key
from docker_runner.project.entries import FLOW_COMPONENTS, Key
from docker_runner.settings import Settings
from docker_runner_airflow.api.projects import open_project
from docker_runner_airflow.api.remembered_dags import remembered_keys
from docker_runner_airflow.jobs_dag import JOBS_DAG

LOG = logging.getLogger("docker_runner.api")
_KNOWN_SECONDS = 5.0
"""How long a project is not read again; Airflow needs longer than that to know a new configuration."""
_BETWEEN_IDS = "--"


@dataclass(frozen=True)
class OwnDags:
    """What the DAGs of a project run.

    While the project cannot be read, as when its manifest is broken, they are what Airflow still knows of it, without
    the ids of project and branch: what ran can be looked at all the same.

    Attributes:
        project: the project directory.
        project_id: its id; empty without a manifest.
        branch_id: the branch that this installation runs; empty for the default one of a project without a manifest.
        keys: component and configuration of each DAG; that of the jobs DAG tells its runs.
    """

    project: Path
    project_id: str
    branch_id: str
    keys: Mapping[str, Key]

    @classmethod
    def of(cls, settings: Settings) -> OwnDags:
        """Read the project, or give what was read a moment ago."""
        return _read(settings.project, settings.branch, settings.components, int(time.monotonic() / _KNOWN_SECONDS))

    @classmethod
    def knowing(cls, settings: Settings, dag_id: str) -> OwnDags:
        """Those of the project as it is now, if what was read a moment ago lacks a DAG."""
        found = cls.of(settings)
        return cls.now(settings) if dag_id not in found.ids and _may_be_new(settings, dag_id) else found

    @classmethod
    def now(cls, settings: Settings) -> OwnDags:
        """Those of the project as it is now."""
        _read.cache_clear()
        return cls.of(settings)

    @property
    def ids(self) -> frozenset[str]:
        """Ids of all DAGs whose runs are jobs."""
        return frozenset((JOBS_DAG, *self.keys))

    def is_flow(self, dag_id: str) -> bool:
        """Whether a DAG is that of an orchestration or a flow."""
        return self.keys.get(dag_id, ("", ""))[0] in FLOW_COMPONENTS

    def branch_id_of(self, branch: str) -> str:
        """The id of a branch that a job names by its id or its folder; one that does not exist stays as it is named."""
        found = self._branch(branch) if branch else None
        return found.id if found else branch or self.branch_id

    def names_of_branch(self, branch: str) -> frozenset[str]:
        """How a job may name a branch; an empty name is the branch that this installation runs."""
        found = self._branch(branch)
        names = {branch, *((found.id, found.path) if found else ())} - {""}
        return frozenset(names | {""} if self.branch_id_of(branch) == self.branch_id else names)

    def _branch(self, branch: str) -> Branch | None:
        return _branch(self.project, branch, int(time.monotonic() / _KNOWN_SECONDS))


def _may_be_new(settings: Settings, dag_id: str) -> bool:
    """Whether a DAG can be that of a configuration; reading the project again is dear, and most DAGs are others'."""
    if _BETWEEN_IDS not in dag_id:
        return False
    try:
        project = open_project(settings.project, settings.branch)
        key = only_key(dag_id, project.branch)
        return key is None or project.has(key) or key in project.flows()
    except UserError:
        return False


@lru_cache(maxsize=4)
def _read(folder: Path, branch: str, components: Path, _moment: int) -> OwnDags:
    try:
        project = open_project(folder, branch)
        found = by_dag_id(project.runnable(), project.branch)
    except UserError as error:
        LOG.warning("Jobs are shown without what the project would tell: %s", error)
        return OwnDags(folder, "", "", remembered_keys(components, has_branch=bool(branch)))
    return OwnDags(folder, project.id, project.branch.id, {name: keys[0] for name, keys in found.items()})


@lru_cache(maxsize=64)
def _branch(folder: Path, branch: str, _moment: int) -> Branch | None:
    try:
        return open_project(folder, branch).branch
    except UserError:
        return None
