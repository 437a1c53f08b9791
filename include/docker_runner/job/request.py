"""What is asked for when a job is started: from the command line, a trigger form or another system (LC-80)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.encryption import is_cipher
from docker_runner.errors import UserError
from docker_runner.job.definition import Mode
from docker_runner.project.sandbox import FORMATS
from docker_runner.project.variables import VariableValues

FORCE_RUN = "forceRun"
MODES = ("run", FORCE_RUN, "debug", "sandbox", "input", "dry-run")
_KEYS = (
    "mode", "tag", "rows", "variables", "values", "config_data", "backend", "orchestration_id", "storage_token",
    "parent_run_id", "format", "api",
)  # fmt: skip
# It becomes part of a variable of containers, of labels and of tags.
_RUN_ID = re.compile(r"[A-Za-z0-9_.:+~/@-]{1,250}")
_BACKEND_KEYS = ("type", "containerType", "context")


@dataclass(frozen=True)
class JobRequest:
    """What a person or another system asks for when starting a run.

    Attributes:
        mode: how it is run.
        force: run the configuration although it is disabled (LC-84).
        tag: image tag of the component instead of the registered one (LC-82).
        rows: ids of the rows to run; empty for all that are not disabled.
        variables: values by name, or the id of stored values.
        config_data: a configuration that comes with the request and is run instead of the stored one (CF-39).
        config_file: where it was read, for errors.
        backend: ``type`` (size) and ``context`` of the backend, which win over the configuration's.
        orchestration_id: what this run is part of; runs of the same one share artifacts (AR-5).
        storage_token: the Storage token whose permissions count for this job, as a cipher for its component.
        parent_run_id: the run that this one is a part of; components see it in front of its own id (LC-86).
        format: format of the config file in a sandbox, ``yaml`` or ``json`` (API-37).
    """

    mode: Mode = Mode.RUN
    force: bool = False
    tag: str = ""
    rows: tuple[str, ...] = ()
    variables: VariableValues = field(default_factory=VariableValues)
    config_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    config_file: Path | str = "configData"
    backend: Mapping[str, str] = field(default_factory=dict)
    orchestration_id: str = ""
    storage_token: str = field(default="", repr=False)
    parent_run_id: str = ""
    format: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, config_file: Path | str = "configData") -> JobRequest:
        """Read a request, whose keys are those of :data:`_KEYS`.

        What stands in ``api`` is not the run's: the HTTP API keeps there what else it was asked for.

        Args:
            params: the request; what is missing, null or empty is not asked for.
            config_file: where ``config_data`` was read, for errors.

        Raises:
            UserError: the mode is unknown (LC-21), a value has a wrong form (CF-38) or does not go with the mode, or a
                key is unknown.
        """
        for name in params:
            if name not in _KEYS:
                near = difflib.get_close_matches(str(name), _KEYS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}."
                raise UserError(f"A run has no setting {name!r}; {hint}")
        mode = params.get("mode") or Mode.RUN.value
        if mode not in MODES:
            raise UserError(f"The mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, not {mode!r}.")
        if not isinstance(params.get("api"), Mapping | None):
            raise UserError("api must be a map: it is what the HTTP API keeps of a request beside the run.")
        request = cls(
            mode=Mode.RUN if mode == FORCE_RUN else Mode(mode),
            force=mode == FORCE_RUN,
            tag=_text(params, "tag"),
            rows=_rows(params.get("rows") or ()),
            variables=VariableValues(
                inline=_map(params.get("variables"), "Variables must be a map of names and values."),
                row_id=_text(params, "values"),
            ),
            config_data=_map(params.get("config_data"), "The configuration of a run must be a map."),
            config_file=config_file,
            backend=_backend(_map(params.get("backend"), "The backend must be a map of type and context.")),
            orchestration_id=_text(params, "orchestration_id"),
            storage_token=_cipher(params, "storage_token"),
            parent_run_id=_run_id(params),
            format=_text(params, "format"),
        )
        request._refuse_what_the_mode_does_not_use()
        return request

    def _refuse_what_the_mode_does_not_use(self) -> None:
        if self.mode is Mode.SANDBOX and not self.config_data:
            raise UserError("The mode sandbox needs a configuration that comes with the run (config_data).")
        if self.format and self.mode is not Mode.SANDBOX:
            raise UserError("Only the mode sandbox takes a format; a component's definition says which one it reads.")
        if self.format not in ("", *FORMATS):
            raise UserError(f"The format must be {' or '.join(FORMATS)}, not {self.format!r}.")
        if self.tag and not self.mode.runs_images:
            raise UserError(f"The mode {self.mode} runs no image: leave out the tag {self.tag!r}.")


def full_run_id(params: Mapping[str, Any], own: str) -> str:
    """What components see as ``KBC_RUNID``: the parent's run id, a dot and the own one, or only the own one (LC-86).

    Args:
        params: a request, which need not be right: errors in it are told under the same id.
        own: the run's own id.
    """
    try:
        parent = _run_id(params)
    except UserError:
        return own
    return f"{parent}.{own}" if parent else own


def _run_id(params: Mapping[str, Any]) -> str:
    text = _text(params, "parent_run_id")
    if text and not _RUN_ID.fullmatch(text):
        raise UserError("parent_run_id must be the id of a run: up to 250 letters, digits and _ . : + ~ / @ -")
    return text


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if isinstance(value, Mapping | list):
        raise UserError(f"{name} must be a text, not a {'map' if isinstance(value, Mapping) else 'list'}.")
    return scalar_text(value)


def _cipher(params: Mapping[str, Any], name: str) -> str:
    """A secret: requests are stored in places where everybody can read them, so it must come encrypted."""
    text = _text(params, name)
    if (text or params.get(name) is not None) and not is_cipher(text):
        raise UserError(f"{name} must be a cipher: encrypt it with `docker-runner encrypt --value`.")
    return text


def _rows(rows: Any) -> tuple[str, ...]:
    if isinstance(rows, str):
        rows = [row for row in re.split(r"[\s,]+", rows) if row]
    if not isinstance(rows, list | tuple) or any(isinstance(row, Mapping | list) for row in rows):
        raise UserError("Rows must be a list of ids.")
    return tuple(scalar_text(row) for row in rows)


def _map(value: Any, problem: str) -> dict[str, Any]:
    if value is None or value in ({}, [], ""):
        return {}
    if not isinstance(value, Mapping):
        raise UserError(problem)
    return dict(value)


def _backend(given: Mapping[str, Any]) -> dict[str, str]:
    """Size and context; the container's size is the backend's type here (LC-83). Other keys are ignored."""
    if any(isinstance(given.get(key), Mapping | list) for key in _BACKEND_KEYS):
        raise UserError("Type and context of the backend must be texts.")
    backend = {
        "type": scalar_text(given.get("containerType")) or scalar_text(given.get("type")),
        "context": scalar_text(given.get("context")),
    }
    return {key: value for key, value in backend.items() if value}
