"""Environment variables of a container (section 5 of the contract)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from docker_runner.errors import UserError
from docker_runner.project.component import Component
from docker_runner.settings import ForwardedToken

# Clients take a run without a stack for one on a developer's machine, and then write other manifests (EV-21).
_NO_STACK = "local"
_MODES_TOLD = ("run", "debug")


@dataclass(frozen=True)
class RunIdentity:
    """Who runs: ids that every container of a run is told.

    Attributes:
        run_id: the run with the one that started it in front, if any: ``<parent>.<own>`` (LC-86).
        job_id: the run's own id, by which its files are found; the ``run_id`` when nothing started it.
        mode: of the job; see :class:`docker_runner.job.definition.Mode`.
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
    orchestration_id: str = ""
    job_id: str = ""

    def __post_init__(self) -> None:
        if not self.job_id:
            object.__setattr__(self, "job_id", self.run_id)


def container_environment(
    component: Component,
    identity: RunIdentity,
    *,
    parameters: Any,
    data_type_support: str,
    token: ForwardedToken,
) -> dict[str, str]:
    """The variables of one container (EV-1..EV-16).

    Args:
        component: the component of the image that runs; a processor sees its own id (EV-6).
        identity: ids of the run.
        parameters: parameters of that image's config file; without a configuration id they give ``KBC_CONFIGID``.
        data_type_support: that of the main component, told when the project has typed tables (EV-11).
        token: what components with ``forward_token`` or ``forward_token_details`` are told (EV-13, EV-14).
    """
    variables = {
        "KBC_RUNID": identity.run_id,
        "KBC_PROJECTID": identity.project_id,
        "KBC_DATADIR": "/data/",
        "KBC_CONFIGID": identity.config_id or _hash_of(parameters),
        "KBC_CONFIGVERSION": identity.config_version,
        "KBC_COMPONENTID": component.id,
        "KBC_STACKID": identity.stack_id or _NO_STACK,
        "KBC_STAGING_FILE_PROVIDER": "local",
        "KBC_PROJECT_FEATURE_GATES": ",".join(identity.features),
        # Components know of results that are stored, and of such that are not.
        "KBC_COMPONENT_RUN_MODE": identity.mode if identity.mode in _MODES_TOLD else "debug",
    }
    if identity.row_id:
        variables["KBC_CONFIGROWID"] = identity.row_id
    if identity.branch_id:
        variables["KBC_BRANCHID"] = identity.branch_id
    if "new-native-types" in identity.features:
        variables["KBC_DATA_TYPE_SUPPORT"] = data_type_support
    return variables | _forwarded(component, token)


def _forwarded(component: Component, token: ForwardedToken) -> dict[str, str]:
    """What a component is told of the Keboola Storage token, by its own definition (EV-13, EV-14, PR-8)."""
    variables: dict[str, str] = {}
    if component.data["forward_token"]:
        variables |= {"KBC_TOKEN": token.token, "KBC_URL": token.url}
    if component.data["forward_token_details"]:
        variables |= {
            "KBC_PROJECTNAME": token.project_name,
            "KBC_TOKENID": token.id,
            "KBC_TOKENDESC": token.description,
        }
    return variables


def refuse_missing_token(component: Component, token: ForwardedToken) -> None:
    """Refuse a component that must be given a token, or be told of it, where there is none (EV-13, EV-14).

    Raises:
        UserError: names the variables to set.
    """
    needed: dict[str, str] = {}
    if component.data["forward_token"]:
        needed |= {"DOCKER_RUNNER_KBC_TOKEN": token.token, "DOCKER_RUNNER_KBC_URL": token.url}
    if component.data["forward_token_details"]:
        needed |= {"DOCKER_RUNNER_KBC_TOKEN": token.token, "DOCKER_RUNNER_KBC_PROJECT_NAME": token.project_name}
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise UserError(
            f"The component {component.id} works with a Keboola Storage token (forward_token), "
            f"and none is configured here: set {' and '.join(missing)}."
        )


def _hash_of(parameters: Any) -> str:
    return hashlib.sha1(json.dumps(parameters, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
