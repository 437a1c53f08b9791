"""OAuth credentials of a job: fetched once, before anything runs, and kept encrypted like the configuration (AU-3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from docker_runner.documents import id_at
from docker_runner.errors import ApplicationError, ConfigurationError, UserError
from docker_runner.job.definition import JobDefinition
from docker_runner.job.tools import Tools
from docker_runner.oauth import Credentials, credentials_at

_KEY = "authorization.oauth_api.id"
_NAME_OF_TOKEN = re.compile(r"token(?!_?type)|secret|password|key|code", re.IGNORECASE)
# Shorter texts, e.g. a kind of token, are none, and would hide parts of ordinary words.
_SHORTEST_TOKEN = 8


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


def tokens_of(configuration: Mapping[str, Any]) -> Iterator[str]:
    """The tokens inside the provider's answer in decrypted credentials: a component that prints one must not show it.

    The answer as a whole is a secret (AU-4); its parts that are none, such as a scope, may be shown.
    """
    authorization = configuration.get("authorization") or {}
    credentials = (authorization.get("oauth_api") or {}).get("credentials") or {}
    data = credentials.get("#data") if isinstance(credentials, Mapping) else None
    try:
        answer = json.loads(data) if isinstance(data, str) else None
    except ValueError:
        return
    yield from _tokens_in(answer)


def _tokens_in(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for item in document:
            yield from _tokens_in(item)
    elif isinstance(document, Mapping):
        for key, value in document.items():
            if isinstance(value, str) and len(value) >= _SHORTEST_TOKEN and _NAME_OF_TOKEN.search(key):
                yield value
            else:
                yield from _tokens_in(value)


def credentials_id_of(configuration: Mapping[str, Any]) -> str:
    """The id of credentials that must be fetched; empty when a configuration needs none or brings its own."""
    authorization = configuration.get("authorization")
    oauth = authorization.get("oauth_api") if isinstance(authorization, Mapping) else None
    if not isinstance(oauth, Mapping) or oauth.get("credentials"):
        return ""
    return id_at(oauth, "id")
