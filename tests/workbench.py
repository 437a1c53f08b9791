"""Components that real authors could have written, registered in an installation of a test's own.

Each folder of ``tests/images`` is one image. They are built once, stay between runs of the tests, and are examples for
authors too.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import docker
from tests.installation import Installation, container_names

from docker_runner.encryption import Encryptor, Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, Storage, StoredFile, Table

IMAGES = Path(__file__).parent / "images"


@cache
def built(name: str) -> str:
    """Build an image of ``tests/images``; give its name without a tag."""
    client = docker.from_env()
    try:
        client.images.build(path=str(IMAGES / name), tag=f"docker-runner-test/{name}:latest", rm=True)
    finally:
        client.close()
    return f"docker-runner-test/{name}"


@dataclass
class Workbench(Installation):
    """An installation whose components are those of ``tests/images``: ``ex-readings`` is ``test.ex-readings``."""

    def register(self, name: str, data: dict[str, Any] | None = None, **root: Any) -> str:
        """Build an image and register its component; give the component's id."""
        definition = {"type": "dockerhub", "uri": built(name), "pull_policy": "never"}
        self.component(f"test.{name}", {"definition": definition, "network": "none", **(data or {})}, **root)
        return f"test.{name}"

    @property
    def storage(self) -> Storage:
        """The Storage as others see it, opened anew."""
        return open_storage(self.settings.storage)

    def secret(self, component: str, value: str) -> str:
        """A cipher that only this component can read."""
        return self._encryptor().encrypt_value(value, Scope(component=component))

    def plain(self, component: str, content: dict[str, Any]) -> dict[str, Any]:
        """What ciphers of a component hold."""
        decrypted: dict[str, Any] = self._encryptor().decrypt(content, Scope(component=component), file="test")
        return decrypted

    def _encryptor(self) -> Encryptor:
        return encryptor_of(self.settings, create=True)

    def store(self, name: str, content: str, *tags: str) -> StoredFile:
        """Store a file as another component would have."""
        source = self.folder / "stored"
        source.write_text(content)
        commit = Commit(f"{name} {content} {tags}", files=(FileUpload(source, name, tags),))
        return self.storage.commit(commit).files[0]

    def content(self, file: StoredFile) -> bytes:
        """What is in a stored file."""
        return self.download(file).read_bytes()

    def json(self, name: str) -> Any:
        """The newest stored file of that name, read as JSON."""
        return json.loads(self.content([file for file in self.files() if file.name == name][-1]))

    def left_behind(self) -> list[str]:
        """Containers and folders of runs of this installation that are still there."""
        return [name for name in container_names() if self.name in name] + self.workspaces


def metadata(table: Table, column: str | None = None) -> dict[str, str]:
    """Metadata of a table or of one of its columns."""
    items = table.metadata if column is None else table.column_metadata.get(column, ())
    return {item.key: item.value for item in items}


def zipped(content: bytes) -> dict[str, str]:
    """Names and texts in a zip archive."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}
