"""Environment variables of a container (section 5 of the contract)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from docker_runner.project.component import Component


@dataclass(frozen=True)
class RunIdentity:
    """Who runs: ids that every container of a run is told.

    Attributes:
        branch_id: the project's branch, empty when the project has no manifest.
        is_dev_branch: the branch is a development branch, not the default one (BR-1).
        features: features of the project.
    """

    run_id: str
    project_id: str
    stack_id: str
    config_id: str
    config_version: str
    row_id: str
    branch_id: str
    mode: str
    is_dev_branch: bool = False
    features: tuple[str, ...] = ()


def container_environment(component: Component, identity: RunIdentity, *, parameters: Any) -> dict[str, str]:
    """The variables of one container (EV-1..EV-12, EV-16).

    Args:
        component: the component of the image that runs; a processor sees its own id (EV-6).
        identity: ids of the run.
        parameters: parameters of that image's config file; without a configuration id they give ``KBC_CONFIGID``.
    """
    variables = {
        "KBC_RUNID": identity.run_id,
        "KBC_PROJECTID": identity.project_id,
        "KBC_DATADIR": "/data/",
        "KBC_CONFIGID": identity.config_id or _hash_of(parameters),
        "KBC_CONFIGVERSION": identity.config_version,
        "KBC_COMPONENTID": component.id,
        "KBC_STACKID": identity.stack_id,
        "KBC_STAGING_FILE_PROVIDER": "local",
        "KBC_PROJECT_FEATURE_GATES": ",".join(identity.features),
        "KBC_COMPONENT_RUN_MODE": identity.mode,
    }
    if identity.row_id:
        variables["KBC_CONFIGROWID"] = identity.row_id
    if identity.branch_id:
        variables["KBC_BRANCHID"] = identity.branch_id
    return variables


def _hash_of(parameters: Any) -> str:
    return hashlib.sha1(json.dumps(parameters, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
