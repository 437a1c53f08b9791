"""OAuth credentials of a job: fetched once, before anything runs, and kept encrypted like the configuration (AU-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from docker_runner.documents import id_at
from docker_runner.errors import ApplicationError, ConfigurationError, UserError
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.oauth import Credentials, credentials_at

_KEY = "authorization.oauth_api.id"


def with_credentials(row: JobDefinition, tools: Tools) -> JobDefinition:
    """Put the credentials that a row names into its configuration; those that it brings itself stay (AU-2, AU-3).

    Raises:
        ConfigurationError: they do not exist or are refused; names the key.
        ApplicationError: who keeps them cannot be asked.
    """
    credentials_id = credentials_id_of(row.configuration)
    if not credentials_id:
        return row
    settings = tools.settings
    place = credentials_at(
        settings.oauth, tools.encryptor, project_id=row.identity.project_id, token=settings.forwarded_token.token
    )
    file = f"configuration {row.title}"
    try:
        record = found_credentials(place, row.component.id, credentials_id, file=file)
    except ApplicationError as error:
        raise ApplicationError(f"{file}: {_KEY}: {error}") from None
    authorization = row.configuration["authorization"]
    oauth = {**authorization["oauth_api"], "credentials": record}
    return replace(row, configuration={**row.configuration, "authorization": {**authorization, "oauth_api": oauth}})


def found_credentials(
    place: Credentials, component_id: str, credentials_id: str, *, file: str | None = None
) -> dict[str, Any]:
    """Credentials as they are kept.

    Raises:
        ConfigurationError: they do not exist or are refused; names the key that asks for them.
    """
    try:
        return place.get(component_id, credentials_id)
    except ConfigurationError:
        raise
    except UserError as error:
        raise ConfigurationError(str(error), file=file, key=_KEY) from None


def credentials_id_of(configuration: Mapping[str, Any]) -> str:
    """The id of credentials that must be fetched; empty when a configuration needs none or brings its own."""
    authorization = configuration.get("authorization")
    oauth = authorization.get("oauth_api") if isinstance(authorization, Mapping) else None
    if not isinstance(oauth, Mapping) or oauth.get("credentials"):
        return ""
    return id_at(oauth, "id")
