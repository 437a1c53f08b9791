"""Variables: Mustache placeholders in configurations and the values that replace them (VR-1..VR-14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docker_runner.documents import checked, id_at, read_object, scalar_text
from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import VARIABLES_COMPONENT
from docker_runner.project.templates import render
from docker_runner.project.vault import Vault


@dataclass(frozen=True)
class VariableValues:
    """Values given with a run: inline ones, or the id of a row of the variables configuration (VR-4)."""

    inline: Mapping[str, str] = field(default_factory=dict)
    row_id: str = ""


def with_variables(
    configuration: dict[str, Any],
    given: VariableValues,
    *,
    project: Project,
    vault: Vault | None = None,
    stored_values_id: str = "",
) -> tuple[dict[str, Any], dict[str, str]]:
    """Replace the placeholders of a configuration: those of the vault, then those of its variables (LC-4, VR-14).

    Args:
        configuration: effective configuration, shared code inserted.
        given: values given with the run.
        project: where the variables and their stored values are read.
        vault: values that are kept outside the project.
        stored_values_id: id of stored values that are meant when the configuration names none.

    Returns:
        The replaced configuration, and the names and values that were used (VR-12). Without ``variables_id`` only
        placeholders of the vault are replaced (VR-1).

    Raises:
        UserError: values are missing (VR-4, VR-7, D21) or break the configuration (VR-9).
    """
    configuration, secrets, missing = (vault or Vault()).rendered(configuration)
    variables_id = id_at(configuration, "variables_id")
    if not variables_id:
        _refuse_missing(missing)
        if given.inline or given.row_id:
            raise UserError("Values of variables were given, but the configuration has no variables.")
        return configuration, secrets
    declared = _declared(project, variables_id)
    stored_row = id_at(configuration, "variables_values_id") or stored_values_id
    values = _values(given, variables_id, stored_row=stored_row, project=project)
    without = [name for name in declared if name not in values]
    if without:
        raise UserError(f"These variables have no value: {', '.join(without)}. Give a value for each of them.")
    rendered, unknown = render(configuration, values)
    _refuse_missing([*missing, *(name for name in unknown if name not in missing)])
    return rendered, {**secrets, **values}


def _refuse_missing(names: list[str]) -> None:
    if names:
        hint = " Values of vault placeholders stand in the file that DOCKER_RUNNER_VAULT names."
        raise UserError(
            f"These placeholders have no value: {', '.join(names)}."
            + (hint if any(name.startswith("vault.") for name in names) else "")
        )


def _declared(project: Project, variables_id: str) -> list[str]:
    file = project.named(VARIABLES_COMPONENT, variables_id, key="variables_id").folder / "config.json"
    return [item["name"] for item in read_object(file, "variables")["variables"]]


def _values(given: VariableValues, variables_id: str, *, stored_row: str, project: Project) -> dict[str, str]:
    if given.inline and given.row_id:
        raise UserError("Give values of variables either by name or as the id of stored values, not both.")
    if given.inline:
        items = [{"name": name, "value": value} for name, value in given.inline.items()]
        return _as_map(checked({"values": items}, "variable-values", file="values of variables")["values"])
    row_id = given.row_id or stored_row
    if not row_id:
        problem = f"No values were given for the variables {variables_id}, and none are set as default."
        raise ConfigurationError(problem, key="variables_id")
    rows = dict(project.named(VARIABLES_COMPONENT, variables_id, key="variables_id").rows)
    if row_id not in rows:
        problem = (
            f"The variables {variables_id} have no stored values {row_id!r}; there are: {', '.join(rows) or 'none'}."
        )
        raise NotFoundError(problem) if given.row_id else ConfigurationError(problem, key="variables_values_id")
    return _as_map(read_object(rows[row_id] / "config.json", "variable-values")["values"])


def _as_map(items: list[dict[str, Any]]) -> dict[str, str]:
    return {str(item["name"]): scalar_text(item["value"]) for item in items}
