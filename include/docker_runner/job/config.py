"""What a container is told: the content of its config file, with its secrets in plain text."""

from __future__ import annotations

from typing import Any

from docker_runner.encryption import Scope, secret_values
from docker_runner.interface.config_file import main_config, processor_config, refuse_misuse
from docker_runner.job.definition import JobDefinition, Stage
from docker_runner.job.tools import Tools


def stage_config(stage: Stage, row: JobDefinition, tools: Tools) -> tuple[dict[str, Any], list[str]]:
    """The decrypted content of a stage's config file (DF-11, DF-12), and the secrets in it (DF-18).

    Image parameters are decrypted for the component that they belong to (DF-21).

    Raises:
        ConfigurationError: a secret cannot be decrypted (EN-9), or is misused (DF-20).
    """
    component = stage.component
    image_parameters = tools.encryptor.decrypt(
        component.data["image_parameters"], Scope(component=component.id), file=f"definition of {component.id}"
    )
    scope = Scope(component=row.component.id, project=row.identity.project_id, configuration=row.config_id)
    source = row.configuration if stage.is_main else stage.parameters
    content = tools.encryptor.decrypt(source, scope, file=f"configuration {row.component.id}/{row.config_id}")
    refuse_misuse(content, image_parameters)
    config = main_config(content, image_parameters) if stage.is_main else processor_config(content, image_parameters)
    return config, [*secret_values(content), *secret_values(image_parameters)]
