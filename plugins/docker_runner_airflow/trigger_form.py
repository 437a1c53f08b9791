"""What a person is asked for when starting a run: the fields of Airflow's trigger form, checked before anything begins.

Airflow stores the fields of each DAG; each costs it half a millisecond whenever the DAG is parsed, so there are only
those that a configuration has a use for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docker_runner.documents import id_text, read_json
from docker_runner.encryption import KINDS
from docker_runner.errors import RunnerError
from docker_runner.job.request import FORCE_RUN, MODES
from docker_runner.project.entries import VARIABLES_COMPONENT

if TYPE_CHECKING:
    from airflow.sdk import Param

    from docker_runner.project.configuration import Configuration, Project

# All that a stored configuration can be run in: a sandbox is for one that comes with its run.
FORM_MODES: Mapping[str, str] = {
    "run": "Run",
    FORCE_RUN: "Run although it is disabled",
    "debug": "Debug: keep snapshots of the data folder, store no results",
    "dry-run": "Dry run: keep the data folder of one row in the end, store no results",
    "input": "Input: keep the data folder of one row as the component would get it, run nothing",
}

# Airflow keeps what a run is asked with, in plain text: a secret that is not encrypted is refused before that (EN-10).
_ONLY_CIPHERS: Mapping[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "patternProperties": {
                "^#": {
                    "$ref": "#/$defs/node",
                    "type": ["string", "object", "array", "null"],
                    "pattern": rf"^(KBC::({'|'.join(KINDS.values())})(KV|GKMS)?::.+|{{{{\s*[A-Za-z0-9_.-]+\s*}}}})?$",
                }
            },
            "additionalProperties": {"$ref": "#/$defs/node"},
            "items": {"$ref": "#/$defs/node"},
        }
    },
}


GIVEN = "configuration"
"""The field of the form for any run with a configuration that comes with it."""


def form_fields(configuration: Configuration, project: Project, *, takes_configuration: bool) -> dict[str, Param]:
    """The fields of a configuration's form, by the names that a run is asked with.

    Args:
        configuration: rows and variables are asked for only where it has them.
        project: has the definitions of its variables.
        takes_configuration: a run may bring a whole configuration in place of the stored one.
    """
    from airflow.sdk import Param

    fields = {
        "mode": _mode_field(FORM_MODES),
        "tag": Param(
            "", type="string", title="Image tag", maxLength=128, pattern=r"^[\w.-]*$",
            description="Tag of the component's image, instead of the one that is registered or configured.",
        ),
    }  # fmt: skip
    if configuration.rows:
        ids = [row.id for row in configuration.rows]
        names = {row.id: f"{row.name} (disabled)" if row.is_disabled else row.name for row in configuration.rows}
        fields["rows"] = Param(
            [], type="array", items={"type": "string", "enum": ids}, examples=ids, values_display=names, title="Rows",
            description="Which rows to run, disabled ones too; none means all that are not disabled.",
        )  # fmt: skip
    if variables_id := id_text(configuration.configuration.get("variables_id")):
        fields |= _variable_fields(variables_id, project)
    if takes_configuration:
        fields["config_data"] = _configuration_field()
    return fields


def job_fields() -> dict[str, Param]:
    """The fields of the form for a run of any configuration."""
    from airflow.sdk import Param

    any_component = {"sandbox": "Sandbox: keep the data folder that the given configuration describes"}
    return {
        "component": Param("", type="string", title="Component", description="Id of a registered component."),
        "config": Param(
            "", type="string", title="Stored configuration",
            description="Its id; with a given configuration too, the results belong to the stored one.",
        ),
        "branch": Param(
            "", type="string", title="Branch",
            description="Folder or id of a branch of the project; none means the one that this installation runs.",
        ),
        "mode": _mode_field({mode: {**FORM_MODES, **any_component}[mode] for mode in MODES}),
        # Not config_data: what the HTTP API puts there is checked already, and may be large.
        GIVEN: _configuration_field(),
    }  # fmt: skip


def _mode_field(modes: Mapping[str, str]) -> Param:
    from airflow.sdk import Param

    return Param(
        "run", type="string", enum=list(modes), values_display=dict(modes), title="Mode", description="How to run it."
    )


def _configuration_field() -> Param:
    from airflow.sdk import Param

    return Param(
        {}, type="object", title="Configuration",
        description="A whole configuration (the content of a config.json) to run instead of the stored one; "
        "its secrets must be ciphers.",
        **_ONLY_CIPHERS,
    )  # fmt: skip


def _variable_fields(variables_id: str, project: Project) -> dict[str, Param]:
    """Values by name, and the stored ones to choose from; what is wrong with them shows when they are used."""
    from airflow.sdk import Param

    names: list[str] = []
    stored: list[str] = []
    try:
        entry = project.entry(VARIABLES_COMPONENT, variables_id)
        stored = [row_id for row_id, _ in entry.rows]
        names = _names(read_json(entry.folder / "config.json"))
    except RunnerError:
        pass
    known: dict[str, Any] = {"propertyNames": {"enum": names}} if names else {}
    shown = f" Variables: {', '.join(names)}." if names else ""
    return {
        "variables": Param(
            {}, type="object", additionalProperties={"type": ["string", "number", "boolean"]}, title="Variables",
            description=f'Values of variables by name, e.g. {{"{names[0] if names else "name"}": "value"}}; '
            f"none means stored ones.{shown}",
            **known,
        ),
        "values": Param(
            "", type="string", enum=["", *stored], title="Stored values of variables",
            description="Id of the stored values to use; none means the default.",
        ),
    }  # fmt: skip


def _names(definition: Any) -> list[str]:
    variables = definition.get("variables") if isinstance(definition, Mapping) else None
    items = variables if isinstance(variables, list) else []
    return [item["name"] for item in items if isinstance(item, Mapping) and isinstance(item.get("name"), str)]
