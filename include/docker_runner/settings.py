"""Where this installation keeps things, read once from the environment.

| variable | meaning | default |
| --- | --- | --- |
| ``DOCKER_RUNNER_HOME`` | folder for everything the runner keeps | ``.local`` in the current folder |
| ``DOCKER_RUNNER_PROJECT`` | project directory with the configurations | ``include/project`` |
| ``DOCKER_RUNNER_COMPONENTS`` | folder with one ``<id>.json`` per component | ``include/components`` |
| ``DOCKER_RUNNER_STORAGE`` | URI of the Storage (docs/storage.md) | ``ducklake:sqlite:<home>/storage/catalog.sqlite`` |
| ``DOCKER_RUNNER_STORAGE_TOKEN`` | Storage token whose permissions count for jobs and commands | none: full rights |
| ``DOCKER_RUNNER_STORAGE_TOKEN_CONN_ID`` | Airflow connection whose password is that token | none |
| ``DOCKER_RUNNER_STORAGE_KEEP_DAYS`` | days for which earlier states of tables are kept | ``7`` |
| ``DOCKER_RUNNER_WORKSPACES`` | folder for the folders of runs | ``<home>/workspaces`` |
| ``DOCKER_RUNNER_UID`` | user and group id of containers when the runner is root | ``1000`` |
| ``DOCKER_RUNNER_KEYS`` | encryption keys, comma separated, the first one encrypts | the file ``<home>/keys`` |
| ``DOCKER_RUNNER_KEYS_VARIABLE`` | Airflow variable with the keys, from any secrets backend | none |
| ``DOCKER_RUNNER_OAUTH`` | folder with OAuth credentials, or address of Keboola's OAuth broker | ``<home>/oauth`` |
| ``DOCKER_RUNNER_DOCKER_CONN_ID`` | Airflow connections with logins to registries, comma separated | none |
| ``DOCKER_RUNNER_BRANCH`` | folder of the project's branch that is run | the default branch |
| ``DOCKER_RUNNER_FEATURES`` | features of the project, comma separated | ``queuev2,artifacts,new-native-types`` |
| ``DOCKER_RUNNER_VAULT`` | JSON file with the values of ``{{ vault.… }}`` | ``<home>/vault.json`` |
| ``DOCKER_RUNNER_MAX_EXPORT_BYTES`` | size of the largest table that a component may get | ``100000000000`` |
| ``DOCKER_RUNNER_DEFER_AFTER`` | seconds until a task leaves its container to the triggerer; -1 is never | ``30`` |
| ``DOCKER_RUNNER_API_MAX_BODY_BYTES`` | size of the largest request of the HTTP API | ``5000000`` |
| ``DOCKER_RUNNER_API_RATE`` | requests that one caller may send to a process of the API | ``1200/minute`` |
| ``DOCKER_RUNNER_API_ACTIONS`` | synchronous actions that a process of the API runs at a time | ``8`` |
| ``DOCKER_RUNNER_KBC_URL`` | Keboola Storage for components that talk to it themselves | none |
| ``DOCKER_RUNNER_KBC_TOKEN`` | token for it, given to components with ``forward_token`` only | none |
| ``DOCKER_RUNNER_KBC_TOKEN_DESCRIPTION`` | what such components are told of the token | none |
| ``DOCKER_RUNNER_KBC_PROJECT_NAME`` | what such components are told of the project | none |

Without ``queuev2`` Keboola's Python client leaves ``write_always`` out of manifests; without ``artifacts`` there are no
artifacts, without ``new-native-types`` every column is a text.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from docker_runner.errors import UserError
from docker_runner.storage.tokens import PresentedToken

STORAGE_TOKEN = "DOCKER_RUNNER_STORAGE_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_MAX_EXPORT_BYTES = 100_000_000_000
DEFAULT_DEFER_AFTER = 30.0
DEFAULT_STORAGE_KEEP_DAYS = 7
MOST_KEEP_DAYS = 36_500
DEFAULT_API_MAX_BODY_BYTES = 5_000_000
DEFAULT_API_RATE = "1200/minute"
DEFAULT_API_ACTIONS = 8
DEFAULT_CONTAINER_UID = 1000
# Docker takes no larger one.
_MOST_UID = 2**31 - 1
_MOST_BYTES = 10**18
_MOST_ACTIONS = 10_000
_MOST_SECONDS = 10**8
_SHOWN_CHARACTERS = 60
DEFAULT_FEATURES = ("queuev2", "artifacts", "new-native-types")


@dataclass(frozen=True)
class ForwardedToken:
    """The Keboola Storage token that components with ``forward_token`` get (EV-13, EV-14); empty when there is none."""

    token: str = field(default="", repr=False)
    url: str = ""
    description: str = ""
    project_name: str = ""

    @property
    def id(self) -> str:
        """The token's own id, between the project's id and the secret; empty in a token of another form."""
        match = re.fullmatch(r"\d+-(\d+)-\S+", self.token)
        return match[1] if match else ""


@dataclass(frozen=True)
class Settings:
    """Where this installation keeps things; see the module's table.

    Attributes:
        storage_token: None for full rights. A variable that is there and empty is an empty token, which is refused
            where it is used: a secret that went missing must not become full rights.
    """

    home: Path
    project: Path
    components: Path
    storage: str
    workspaces: Path
    container_uid: int
    vault: Path
    oauth: str
    storage_token: PresentedToken | None = None
    storage_token_conn_id: str = ""
    docker_conn_id: str = ""
    keys_variable: str = ""
    branch: str = ""
    features: tuple[str, ...] = DEFAULT_FEATURES
    max_export_bytes: int = DEFAULT_MAX_EXPORT_BYTES
    storage_keep_days: int = DEFAULT_STORAGE_KEEP_DAYS
    forwarded_token: ForwardedToken = ForwardedToken()
    api_max_body_bytes: int = DEFAULT_API_MAX_BODY_BYTES
    api_rate: str = DEFAULT_API_RATE
    api_actions: int = DEFAULT_API_ACTIONS

    @property
    def installation(self) -> str:
        """Identity of this installation on an engine that several share: who works in the same folders is the same."""
        return hashlib.sha256(str(self.workspaces.resolve()).encode()).hexdigest()[:12]

    defer_after: float | None = DEFAULT_DEFER_AFTER

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environment: variables to read; the process's own by default.

        Raises:
            UserError: a variable has a value that cannot be used.
        """
        env = os.environ if environment is None else environment
        home = Path(env.get("DOCKER_RUNNER_HOME") or ".local").absolute()
        return cls(
            home=home,
            project=Path(env.get("DOCKER_RUNNER_PROJECT") or "include/project").absolute(),
            components=Path(env.get("DOCKER_RUNNER_COMPONENTS") or "include/components").absolute(),
            storage=env.get("DOCKER_RUNNER_STORAGE") or f"ducklake:sqlite:{home}/storage/catalog.sqlite",
            workspaces=Path(env.get("DOCKER_RUNNER_WORKSPACES") or home / "workspaces").absolute(),
            container_uid=_number(
                env,
                "DOCKER_RUNNER_UID",
                DEFAULT_CONTAINER_UID,
                what="the number of an unprivileged user",
                most=_MOST_UID,
            ),
            vault=Path(env.get("DOCKER_RUNNER_VAULT") or home / "vault.json").absolute(),
            storage_token=(PresentedToken(env[STORAGE_TOKEN], origin=STORAGE_TOKEN) if STORAGE_TOKEN in env else None),
            storage_token_conn_id=env.get("DOCKER_RUNNER_STORAGE_TOKEN_CONN_ID", ""),
            oauth=_oauth(env.get("DOCKER_RUNNER_OAUTH") or str(home / "oauth")),
            docker_conn_id=env.get("DOCKER_RUNNER_DOCKER_CONN_ID", ""),
            keys_variable=env.get("DOCKER_RUNNER_KEYS_VARIABLE", ""),
            branch=env.get("DOCKER_RUNNER_BRANCH", ""),
            features=_features(env.get("DOCKER_RUNNER_FEATURES")),
            max_export_bytes=_number(
                env, "DOCKER_RUNNER_MAX_EXPORT_BYTES", DEFAULT_MAX_EXPORT_BYTES, what="a number of bytes", least=0
            ),
            storage_keep_days=_number(
                env,
                "DOCKER_RUNNER_STORAGE_KEEP_DAYS",
                DEFAULT_STORAGE_KEEP_DAYS,
                what="a number of days",
                most=MOST_KEEP_DAYS,
            ),
            defer_after=_defer_after(env.get("DOCKER_RUNNER_DEFER_AFTER")),
            api_max_body_bytes=_number(
                env, "DOCKER_RUNNER_API_MAX_BODY_BYTES", DEFAULT_API_MAX_BODY_BYTES, what="a number of bytes"
            ),
            api_rate=_rate(env.get("DOCKER_RUNNER_API_RATE")),
            api_actions=_number(
                env, "DOCKER_RUNNER_API_ACTIONS", DEFAULT_API_ACTIONS, what="a number of actions", most=_MOST_ACTIONS
            ),
            forwarded_token=ForwardedToken(
                token=env.get("DOCKER_RUNNER_KBC_TOKEN", ""),
                url=env.get("DOCKER_RUNNER_KBC_URL", ""),
                description=env.get("DOCKER_RUNNER_KBC_TOKEN_DESCRIPTION", ""),
                project_name=env.get("DOCKER_RUNNER_KBC_PROJECT_NAME", ""),
            ),
        )


def _features(text: str | None) -> tuple[str, ...]:
    """The features as listed; an empty list is none, no variable is the default."""
    if text is None:
        return DEFAULT_FEATURES
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _oauth(text: str) -> str:
    """A folder, or the address of a service; secrets go over the network encrypted only."""
    if text.startswith("http://") and not re.match(r"http://(localhost|127\.0\.0\.1|\[::1\])[:/]", f"{text}/"):
        raise UserError(f"DOCKER_RUNNER_OAUTH must be an https:// address or a folder, not {text!r}.")
    return text if text.startswith(("http://", "https://")) else str(Path(text).absolute())


def _number(
    env: Mapping[str, str], variable: str, default: int, *, what: str, least: int = 1, most: int = _MOST_BYTES
) -> int:
    """A whole number between two; one that is too large would fail only where it is used."""
    text = env.get(variable)
    if not text:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST_BYTES))
    if not is_number or not least <= int(text) <= most:
        raise UserError(f"{variable} must be {what}, {least} to {most}, e.g. {default}, not {_shown(text)}.")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def _rate(text: str | None) -> str:
    """How often one caller may call."""
    rate = text or DEFAULT_API_RATE
    if not re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour)", rate):
        raise UserError(
            f"DOCKER_RUNNER_API_RATE must be like {DEFAULT_API_RATE}, per second, minute or hour, not {_shown(rate)}."
        )
    return rate


def _defer_after(text: str | None) -> float | None:
    """Seconds after which a container is left to the triggerer; None is never."""
    try:
        seconds = float(text) if text else DEFAULT_DEFER_AFTER
    except ValueError:
        seconds = math.nan
    if 0 <= seconds <= _MOST_SECONDS:
        return seconds
    if seconds == -1:
        return None
    raise UserError(
        f"DOCKER_RUNNER_DEFER_AFTER must be a number of seconds, e.g. 30, or -1 for never, not {_shown(text or '')}."
    )
