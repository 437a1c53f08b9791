"""Object storage of S3 and what speaks its language, of Google and of Azure: for DuckDB and for stored files.

Endpoint and credentials come from the environment, in the variables that the vendors' own tools read:

====== =================================================================================================
scheme variables
====== =================================================================================================
s3     ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``; without them the AWS
       credential chain (profile, role of the machine or container). ``AWS_REGION``,
       ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for other S3-compatible stores, https or http;
       ``DOCKER_RUNNER_STORAGE_S3_URL_STYLE``: ``path`` or ``vhost``
gs     an HMAC key: ``DOCKER_RUNNER_STORAGE_GCS_KEY_ID``, ``DOCKER_RUNNER_STORAGE_GCS_SECRET``;
       ``STORAGE_EMULATOR_HOST`` for another endpoint
az     ``AZURE_STORAGE_CONNECTION_STRING``, or ``AZURE_STORAGE_ACCOUNT`` and the Azure credential chain
====== =================================================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from docker_runner.errors import StorageError, UserError
from docker_runner.storage.lake import sql

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
URL_STYLE_VARIABLE = "DOCKER_RUNNER_STORAGE_S3_URL_STYLE"
_GCS_KEY, _GCS_SECRET = "DOCKER_RUNNER_STORAGE_GCS_KEY_ID", "DOCKER_RUNNER_STORAGE_GCS_SECRET"
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", _GCS_SECRET, "AZURE_STORAGE_CONNECTION_STRING")
_ERROR = re.compile(r"<Code>(?P<code>[^<]*)</Code>.*?<Message>(?P<message>[^<]*)</Message>", re.DOTALL)


@dataclass(frozen=True)
class ObjectStorage:
    """A bucket, or a prefix in one.

    Attributes:
        url: ``s3://bucket/prefix`` without a slash at the end.
    """

    url: str

    @classmethod
    def parse(cls, url: str) -> ObjectStorage:
        """Read a URL.

        Raises:
            UserError: it is not the URL of a bucket, or the environment lacks what is needed to use it.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise UserError(
                f"data_path {parts.scheme}://… is not the URL of object storage: expected is s3://bucket/prefix, "
                "gs://bucket/prefix or az://container/prefix. Credentials come from the environment."
            )
        storage = cls(url.rstrip("/"))
        storage.secret()  # what the environment lacks is told at once
        return storage

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        """``s3``, ``gs`` or ``az``."""
        return self.url.partition(":")[0]

    @property
    def bucket(self) -> str:
        """The bucket, or Azure's container."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """What all keys begin with, without a slash at the end; empty for the whole bucket."""
        return urlsplit(self.url).path.strip("/")

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB's extensions that are needed."""
        if self.scheme == "az":
            return ("httpfs", "azure")
        # Loading it takes 0.15 s: only for what it is needed for.
        return ("httpfs",) if self._has_own_key() else ("httpfs", "aws")

    def secret(self) -> str:
        """The statement that tells DuckDB how to reach the bucket.

        Raises:
            UserError: a variable is missing or wrong.
        """
        if self.scheme == "az":
            options = _azure_secret()
        elif self.scheme == "gs":
            key, secret = _gcs_key()
            options = {"TYPE": "gcs", "KEY_ID": sql.text(key), "SECRET": sql.text(secret), **self._endpoint_options()}
        elif self._has_own_key():
            options = {"TYPE": "s3", "KEY_ID": _text("AWS_ACCESS_KEY_ID"), "SECRET": _text("AWS_SECRET_ACCESS_KEY")}
            if os.environ.get("AWS_SESSION_TOKEN"):
                options["SESSION_TOKEN"] = _text("AWS_SESSION_TOKEN")
            options |= {"REGION": sql.text(_region() or "us-east-1"), **self._endpoint_options()}
        else:
            options = {"TYPE": "s3", "PROVIDER": "credential_chain", "REFRESH": "auto", **self._endpoint_options()}
            if _region():
                options["REGION"] = sql.text(_region())
        scope = {"SCOPE": sql.text(f"{self.scheme}://{self.bucket}")}
        return f"CREATE SECRET data ({', '.join(f'{name} {value}' for name, value in (options | scope).items())})"

    def store(self) -> ObjectStore:
        """The prefix for obstore."""
        from obstore.store import AzureStore, S3Store

        retries: Any = {"max_retries": 5}
        prefix = self.prefix or None
        if self.scheme == "az":
            azure: Any = _azure_config()
            http = azure.get("endpoint", "").startswith("http:")
            return AzureStore(
                self.bucket, prefix=prefix, retry_config=retries, client_options={"allow_http": http}, **azure
            )
        endpoint = self._endpoint() or ("https://storage.googleapis.com" if self.scheme == "gs" else "")
        config: Any = {"virtual_hosted_style_request": self._url_style() == "vhost"}
        if endpoint:
            parts = urlsplit(endpoint)
            host = f"{self.bucket}.{parts.netloc}" if self._url_style() == "vhost" else parts.netloc
            config["endpoint"] = f"{parts.scheme}://{host}"
        if self.scheme == "gs":
            config["access_key_id"], config["secret_access_key"] = _gcs_key()
            config["region"] = "auto"
        elif self._has_own_key():
            config["region"] = _region() or "us-east-1"
        else:
            config |= _chain(_region())
        options: Any = {"allow_http": endpoint.startswith("http:")}
        return S3Store(self.bucket, prefix=prefix, retry_config=retries, client_options=options, **config)

    def check(self) -> None:
        """See whether the bucket is there and may be read.

        Raises:
            StorageError: it is not, or cannot be reached.
        """
        import obstore

        with self.errors():
            next(iter(obstore.list(self.store(), "tables", chunk_size=1)), None)

    def has(self, key: str) -> bool:
        """Whether there is an object with a key below the prefix.

        Raises:
            StorageError: the bucket cannot be used.
        """
        import obstore

        with self.errors():
            try:
                obstore.head(self.store(), key)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn obstore's errors into StorageError."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError, PermissionError) as error:
            text = str(error).partition("\n\nDebug source")[0]
            told = _ERROR.search(text)
            reason = f"{told['code']}: {told['message']}" if told else text
            raise StorageError(hide_secrets(f"The Storage's data at {self} cannot be used: {reason}")) from None

    def _has_own_key(self) -> bool:
        return self.scheme == "gs" or bool(os.environ.get("AWS_ACCESS_KEY_ID"))

    def _endpoint(self) -> str:
        if self.scheme == "gs":
            return os.environ.get("STORAGE_EMULATOR_HOST", "")
        return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""

    def _endpoint_options(self) -> dict[str, str]:
        options = {"URL_STYLE": sql.text(self._url_style())}
        endpoint = self._endpoint()
        if endpoint:
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
                raise UserError(
                    f"The endpoint of object storage must be https://host or http://host:port, not {endpoint!r}."
                )
            options |= {"ENDPOINT": sql.text(parts.netloc), "USE_SSL": str(parts.scheme == "https").lower()}
        return options

    def _url_style(self) -> str:
        style = os.environ.get(URL_STYLE_VARIABLE) or ("path" if self._endpoint() or self.scheme == "gs" else "vhost")
        if style not in ("path", "vhost"):
            raise UserError(f"{URL_STYLE_VARIABLE} must be path or vhost, not {style!r}.")
        return style


def hide_secrets(text: str) -> str:
    """A text without the passwords and keys that the environment holds."""
    for name in (*_SECRETS, "DOCKER_RUNNER_STORAGE_PASSWORD", "PGPASSWORD"):
        value = os.environ.get(name)
        if value:
            text = text.replace(value, "*****")
    return text


def _text(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise UserError(f"{variable} is not set, which the Storage's data needs.")
    return sql.text(value)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""


def _gcs_key() -> tuple[str, str]:
    key, secret = os.environ.get(_GCS_KEY), os.environ.get(_GCS_SECRET)
    if not key or not secret:
        raise UserError(
            f"Storage in gs:// needs an HMAC key of a service account: set {_GCS_KEY} and {_GCS_SECRET} (see "
            "'gcloud storage hmac create')."
        )
    return key, secret


def _chain(region: str) -> dict[str, object]:
    """Obstore's own credentials, or boto3's where it is installed: that reads profiles and logins, too."""
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {"region": region or "us-east-1"}
    session = Session()
    if session.get_credentials() is None:
        raise StorageError(
            "There are no credentials for the Storage's data in s3://: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role."
        )
    return {
        "region": region or session.region_name or "us-east-1",
        "credential_provider": Boto3CredentialProvider(session),
    }


def _azure_secret() -> dict[str, str]:
    if os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return {"TYPE": "azure", "CONNECTION_STRING": _text("AZURE_STORAGE_CONNECTION_STRING")}
    return {"TYPE": "azure", "PROVIDER": "credential_chain", "ACCOUNT_NAME": sql.text(_azure_account())}


def _azure_config() -> dict[str, str]:
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if not text:
        return {"account_name": _azure_account()}
    values = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    found = {"account_name": values.get("AccountName"), "account_key": values.get("AccountKey")}
    if "BlobEndpoint" in values:
        found["endpoint"] = values["BlobEndpoint"]
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise UserError(f"AZURE_STORAGE_CONNECTION_STRING has no {' and no '.join(missing)}.")
    return {name: value for name, value in found.items() if value}


def _azure_account() -> str:
    account = os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UserError("Storage in az:// needs AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT.")
    return account
