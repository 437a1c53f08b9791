"""What a container is told: the content of its config file, with its secrets in plain text.

What people may keep of it has ciphers in their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docker_runner.encryption import Scope, refuse_plain_secrets, secret_values
from docker_runner.interface.config_file import main_config, processor_config, refuse_misuse
from docker_runner.job.credentials import tokens_of
from docker_runner.job.definition import Job, JobDefinition, Stage
from docker_runner.job.tools import Tools


def stage_config(
    stage: Stage, row: JobDefinition, tools: Tools, *, action: str = "run"
) -> tuple[dict[str, Any], list[str]]:
    """The decrypted content of a stage's config file (DF-11, DF-12), and the secrets in it (DF-18).

    Image parameters are decrypted for the component that they belong to (DF-21).

    Raises:
        ConfigurationError: a secret cannot be decrypted (EN-9), or is misused (DF-20).
    """
    component = stage.component
    image_parameters = tools.encryptor.decrypt(
        component.data["image_parameters"], Scope(component=component.id), file=f"definition of {component.id}"
    )
    source = row.configuration if stage.is_main else stage.parameters
    file = f"configuration {row.title}"
    content = tools.encryptor.decrypt(source, row.scope, file=file, plain=action != "run")
    refuse_misuse(content, image_parameters, file=file, key=_key(stage))
    config = _content(stage, content, image_parameters, action=action)
    return config, [*secret_values(content), *tokens_of(content), *secret_values(image_parameters)]


def sealed_config(stage: Stage, row: JobDefinition) -> dict[str, Any]:
    """The content of a stage's config file with its secrets as they are kept: ciphers (LC-65, AU-8).

    Raises:
        ConfigurationError: a secret is none (EN-10).
    """
    image_parameters = stage.component.data["image_parameters"]
    source = row.configuration if stage.is_main else stage.parameters
    refuse_plain_secrets(image_parameters, file=f"definition of {stage.component.id}")
    refuse_plain_secrets(source, file=f"configuration {row.title}")
    return _content(stage, source, image_parameters)


def _content(stage: Stage, source: Any, image_parameters: Any, *, action: str = "run") -> dict[str, Any]:
    if stage.is_main:
        return main_config(source, image_parameters, action=action)
    return processor_config(source, image_parameters)


def secrets_of(job: Job, tools: Tools) -> Iterator[str]:
    """The secrets in all config files of a job: what one row knows, another must not show (LG-20, LG-23).

    A job that runs no images decrypts none, and need not be able to.

    Raises:
        ConfigurationError: as of :func:`stage_config`.
    """
    for row in job.rows:
        for stage in row.images:
            yield from stage_config(stage, row, tools)[1]


def _key(stage: Stage) -> str:
    """Where a stage's content stands in the configuration as written."""
    if stage.is_main:
        return ""
    position, _, number = stage.name.partition("_")
    return f"processors.{position}[{int(number) - 1}].parameters"
