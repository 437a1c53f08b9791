"""Secrets in files: encrypts the ``#`` values of project files (EN-1, EN-7)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docker_runner.documents import id_text, read_json_with_text
from docker_runner.encryption import Encryptor, Scope, bound_ids
from docker_runner.errors import ConfigurationError
from docker_runner.positions import changed_values
from docker_runner.project.configuration import Project
from docker_runner.project.entries import FLOW_COMPONENTS, Key
from docker_runner.replacing import replace_content


@dataclass(frozen=True)
class SecretFile:
    """A JSON file, whose secrets it holds, and which kind of cipher they become.

    In a file of a flow (``flow_of``, its project) secrets are those of the configurations that its tasks bring.
    ``within`` is the folder that was given: a link that leads out of it is not followed. One that was named itself has
    none.
    """

    path: Path
    scope: Scope
    kind: str
    flow_of: Project | None = None
    within: Path | None = None


@dataclass(frozen=True)
class _Encrypted:
    """What becomes of a file: its new content, and how many values were encrypted."""

    file: SecretFile
    content: bytes
    number: int


def files_of(project: Project, key: Key, kind: str) -> Iterator[SecretFile]:
    """The files of a configuration and its rows, with the scope that its runs read them with (EN-11).

    Raises:
        UserError: there is no such configuration.
    """
    component_id, config_id = key
    branch_type = "default" if project.branch.is_default else "dev"
    scope = Scope(component=component_id, project=project.id, configuration=config_id, branch_type=branch_type)
    entry = project.entry(*key)
    if component_id in FLOW_COMPONENTS:
        for path in (entry.folder / "config.json", *sorted(entry.folder.glob("phases/*/*/task.json"))):
            yield SecretFile(path, scope, kind, flow_of=project, within=project.folder)
        return
    for folder in (entry.folder, *(folder for _, folder in entry.rows)):
        yield SecretFile(folder / "config.json", scope, kind, within=project.folder)


def encrypt_files(files: Iterable[SecretFile], encryptor: Encryptor) -> dict[Path, int]:
    """Encrypt the plain ``#`` values of files in place; ciphers and placeholders stay (EN-7, EN-8).

    All files are read before the first one is changed. Each is replaced in one step, and nothing but the values that
    were encrypted becomes another byte. What a link leads to is changed, once.

    Returns:
        How many values of which file were encrypted; files without any are not touched.

    Raises:
        ConfigurationError: a file cannot be read, a link leads out of the given folder, or to a file whose secrets
            others would have to read too.
    """
    changed: dict[Path, _Encrypted] = {}
    for file in files:
        encrypted = _encrypted(file, encryptor)
        if encrypted.number:
            real = file.path.resolve()
            _refuse_link_out(file, real)
            if real in changed:
                _refuse_two_readers(changed[real].file, file)
            changed.setdefault(real, encrypted)
    for real, encrypted in changed.items():
        replace_content(real, encrypted.content)
    return {encrypted.file.path: encrypted.number for encrypted in changed.values()}


def _encrypted(file: SecretFile, encryptor: Encryptor) -> _Encrypted:
    document, text = read_json_with_text(file.path)
    if file.flow_of:
        encrypted = _encrypted_jobs(document, file, encryptor)
    else:
        encrypted = encryptor.encrypt(document, file.scope, kind=file.kind)
    pieces, position = [], 0
    changes = changed_values(text, document, encrypted)
    for begin, end, cipher in changes:
        pieces += [text[position:begin], json.dumps(cipher)]
        position = end
    return _Encrypted(file, "".join([*pieces, text[position:]]).encode(), len(changes))


def _refuse_link_out(file: SecretFile, real: Path) -> None:
    if file.within and not real.is_relative_to(file.within.resolve()):
        raise ConfigurationError(
            f"This leads by a link to {real}, out of {file.within}, so that nothing was encrypted: put the file itself "
            f"here, or encrypt it first, with `docker-runner encrypt --component {file.scope.component} {real}`.",
            file=file.path,
        )


def _refuse_two_readers(one: SecretFile, other: SecretFile) -> None:
    """Refuse one file for two configurations, of which only one could read its ciphers."""
    if (one.kind, bound_ids(one.scope, one.kind)) != (other.kind, bound_ids(other.scope, other.kind)):
        raise ConfigurationError(
            f"By a link this is the same file as {one.path}, and ciphers for one could not be read by the other: give "
            "each its own file, or choose another --scope.",
            file=other.path,
        )


def _encrypted_jobs(document: Any, file: SecretFile, encryptor: Encryptor) -> Any:
    """A copy of a flow's document with the configurations that its tasks bring encrypted for their components."""
    if isinstance(document, list):
        return [_encrypted_jobs(item, file, encryptor) for item in document]
    if not isinstance(document, Mapping):
        return document
    copy = {key: _encrypted_jobs(value, file, encryptor) for key, value in document.items()}
    if "configData" in document:
        named = file.flow_of.at(str(document["configPath"])) if file.flow_of and document.get("configPath") else None
        component_id, config_id = named or (document.get("componentId"), id_text(document.get("configId")))
        if isinstance(component_id, str):
            scope = replace(file.scope, component=component_id, configuration=config_id)
            copy["configData"] = encryptor.encrypt(document["configData"], scope, kind=file.kind)
    return copy
