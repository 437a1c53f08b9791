"""OAuth credentials: kept here, encrypted, or by Keboola's OAuth broker (AU-3, AU-4).

Both give a record whose ``#`` values are ciphers for one component of one project, so that a run carries no plain
secret but in the config file of its container.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote

from docker_runner.documents import checked, read_json
from docker_runner.encryption import Encryptor, Scope
from docker_runner.errors import ApplicationError, NotFoundError, UserError
from docker_runner.replacing import replace_text

if TYPE_CHECKING:
    from requests import Response

Record = dict[str, Any]
_SCHEMA = "oauth-credentials"
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 20
_LONGEST_ANSWER_SECONDS = 60
_LONGEST_ANSWER_BYTES = 1_000_000
_LONGEST_MESSAGE = 500
_LONGEST_NAME = 240
_BAD_REQUEST, _SERVER_ERROR = 400, 500


class Credentials(Protocol):
    """Where credentials come from."""

    def get(self, component_id: str, credentials_id: str) -> Record:
        """One record, its ``#`` values encrypted.

        Raises:
            UserError: there is none, or it is refused.
            ApplicationError: who keeps it cannot be asked now.
        """


def credentials_at(place: str, encryptor: Encryptor, *, project_id: str, token: str = "") -> Credentials:
    """Open the credentials of an installation.

    Args:
        place: a folder, or the ``https://`` address of a broker.
        encryptor: encrypts what a broker gives in plain text.
        project_id: whose secrets they are.
        token: what the broker is asked with.
    """
    if is_broker(place):
        return BrokerCredentials(place, token, encryptor, project_id=project_id)
    return StoredCredentials(Path(place))


def is_broker(place: str) -> bool:
    """Whether credentials are asked of a service instead of read from a folder."""
    return place.startswith(("http://", "https://"))


class StoredCredentials:
    """Credentials in a folder: one file for each component and id, readable by its owner only.

    Args:
        folder: the folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, component_id: str, credentials_id: str) -> Record:
        """One record, its ``#`` values encrypted.

        Raises:
            NotFoundError: there is none.
            ConfigurationError: its file is spoilt.
        """
        file = self.path(component_id, credentials_id)
        if not file.exists():
            raise self._missing(component_id, credentials_id)
        record: Record = checked(read_json(file), _SCHEMA, file=file)
        return record

    def put(self, component_id: str, credentials_id: str, record: Mapping[str, Any]) -> None:
        """Store a record whose ``#`` values are encrypted, in place of one with the same id."""
        file = self.path(component_id, credentials_id)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_text(file, json.dumps(record, indent=2, ensure_ascii=False) + "\n", mode=0o600)

    def remove(self, component_id: str, credentials_id: str) -> None:
        """Remove a record.

        Raises:
            NotFoundError: there is none.
        """
        file = self.path(component_id, credentials_id)
        # One that is spoilt can be removed too.
        if not file.exists():
            raise self._missing(component_id, credentials_id)
        file.unlink()

    def _missing(self, component_id: str, credentials_id: str) -> NotFoundError:
        known = ", ".join(stored for component, stored in self.ids() if component == component_id)
        return NotFoundError(
            f"There are no OAuth credentials {credentials_id!r} for {component_id} (stored: {known or 'none'}): "
            f"add them with `docker-runner oauth add {component_id} {credentials_id}`."
        )

    def ids(self) -> Iterator[tuple[str, str]]:
        """Component and id of every record."""
        for file in self.files():
            yield unquote(file.parent.name), unquote(file.stem)

    def files(self) -> list[Path]:
        """The files of all records."""
        return sorted(self._folder.glob("*/*.json"))

    def path(self, component_id: str, credentials_id: str) -> Path:
        """The file of a record, whether or not there is one.

        Raises:
            UserError: component or id is empty, or too long for the name of a file.
        """
        if not component_id or not credentials_id:
            raise UserError("OAuth credentials have a component and an id, neither of them empty.")
        # A name of dots only would leave the folder; quote() keeps dots.
        names = [quote(name, safe="").replace(".", "%2E", int(name.startswith("."))) for name in
                 (component_id, credentials_id)]  # fmt: skip
        for name, what in zip(names, ("component", "id"), strict=True):
            if len(name) > _LONGEST_NAME:
                raise UserError(f"The {what} of these OAuth credentials is far too long ({len(name)} characters).")
        return self._folder / names[0] / f"{names[1]}.json"


class BrokerCredentials:
    """Credentials that Keboola's OAuth broker keeps, or a service that answers like it (version 3, AU-9).

    Args:
        url: address of the service.
        token: Storage token that it is asked with.
        encryptor: encrypts what the service gives in plain text.
        project_id: whose secrets they are.
    """

    def __init__(self, url: str, token: str, encryptor: Encryptor, *, project_id: str) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._encryptor = encryptor
        self._project_id = project_id

    def get(self, component_id: str, credentials_id: str) -> Record:
        """One record, its ``#`` values encrypted.

        Raises:
            UserError: the service refuses, with its own words (AU-3).
            ApplicationError: the service does not answer, or not as it should.
        """
        if not self._token:
            raise UserError(f"DOCKER_RUNNER_KBC_TOKEN is not set: the OAuth service {self._url} is asked with it.")
        answer = self._asked(f"{self._url}/credentials/{quote(component_id, safe='')}/{quote(credentials_id, safe='')}")
        record = self._json_of(answer)
        if _BAD_REQUEST <= answer.status_code < _SERVER_ERROR:
            raise UserError(
                f"The OAuth service refuses the credentials {credentials_id!r} of {component_id}: {_message(record)}"
            )
        if not answer.ok:
            raise ApplicationError(f"The OAuth service {self._url} failed ({answer.status_code}): {_message(record)}")
        try:
            record = checked(record, _SCHEMA)
        except UserError as error:
            raise ApplicationError(f"The OAuth service {self._url} gives no credentials: {error}") from None
        return encrypted_record(record, self._encryptor, component_id=component_id, project_id=self._project_id)

    def _asked(self, url: str) -> Response:
        """Ask, and ask again while nobody answers, or the answer is a failure that may pass."""
        import requests
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            retry_if_result,
            stop_after_attempt,
            wait_random_exponential,
        )

        attempts = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.3, max=5),
            retry=retry_if_exception_type(requests.RequestException)
            | retry_if_result(lambda answer: answer.status_code >= _SERVER_ERROR),
            # After the last attempt its answer counts, or its error.
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        headers = {"X-StorageApi-Token": self._token, "Accept": "application/json"}
        try:
            # Redirects are not followed: another address must not be told the token.
            return attempts(
                requests.get, url, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
            )
        except requests.RequestException as error:
            reason = type(error).__name__
            raise ApplicationError(f"The OAuth service {self._url} does not answer: {reason}.") from None

    def _json_of(self, answer: Response) -> Any:
        """The document of an answer; None when it is none. Neither its size nor its time is left to the service."""
        from urllib3.exceptions import HTTPError

        begin, content = time.monotonic(), bytearray()
        try:
            with answer:
                # read1 gives what is there: others wait until there is as much as they were asked for.
                while chunk := answer.raw.read1(_LONGEST_ANSWER_BYTES, decode_content=True):
                    content += chunk
                    if len(content) > _LONGEST_ANSWER_BYTES:
                        raise ApplicationError(f"The OAuth service {self._url} gives no credentials: far too much.")
                    if time.monotonic() - begin > _LONGEST_ANSWER_SECONDS:
                        raise ApplicationError(f"The OAuth service {self._url} does not come to the end of its answer.")
        except HTTPError as error:
            raise ApplicationError(f"The OAuth service {self._url} does not answer: {type(error).__name__}.") from None
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return None


def encrypted_record(record: Mapping[str, Any], encryptor: Encryptor, *, component_id: str, project_id: str) -> Record:
    """A record with its ``#`` values encrypted for a component of a project; an answer in a map becomes its text."""
    data = record["#data"]
    text = json.dumps(data, ensure_ascii=False) if isinstance(data, Mapping) else data
    scope = Scope(component=component_id, project=project_id)
    encrypted: Record = encryptor.encrypt({**record, "#data": text}, scope)
    return encrypted


def _message(document: Any) -> str:
    """What a service says went wrong; never the request's own headers or data."""
    found = document if isinstance(document, Mapping) else {}
    message = next((found[key] for key in ("message", "error", "exceptionMessage") if found.get(key)), "")
    return str(message)[:_LONGEST_MESSAGE] or "it does not say why."
