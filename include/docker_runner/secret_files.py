"""Secrets in files: encrypts the ``#`` values of project files, and moves ciphers to a new key (EN-1, EN-7, D18)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from docker_runner.documents import id_text, read_json, walk_secrets
from docker_runner.encryption import CIPHER_IN_TEXT, Encryptor, Scope
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import FLOW_COMPONENTS, Key
from docker_runner.replacing import replace_text

_INDENT = re.compile(r"^[\[{]\s*\n([ \t]+)\S")
_LONGEST_FILE_BYTES = 100_000_000


@dataclass(frozen=True)
class SecretFile:
    """A JSON file, whose secrets it holds, and which kind of cipher they become.

    In a file of a flow (``flow_of``, its project) secrets are those of the configurations that its tasks bring.
    """

    path: Path
    scope: Scope
    kind: str
    flow_of: Project | None = None


@dataclass
class Rotation:
    """What moving ciphers to the first key did.

    Attributes:
        ciphers: how many were made anew.
        files: in how many files.
        left: places of ciphers that none of the keys can read.
    """

    ciphers: int = 0
    files: int = 0
    left: list[str] = field(default_factory=list)


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
            yield SecretFile(path, scope, kind, flow_of=project)
        return
    for folder in (entry.folder, *(folder for _, folder in entry.rows)):
        yield SecretFile(folder / "config.json", scope, kind)


def encrypt_files(files: Iterable[SecretFile], encryptor: Encryptor) -> dict[Path, int]:
    """Encrypt the plain ``#`` values of files in place; ciphers and placeholders stay (EN-7, EN-8).

    All files are read before the first one is changed. Each is replaced in one step.

    Returns:
        How many values of which file were encrypted; files without any are not touched.

    Raises:
        ConfigurationError: a file cannot be read, or a value cannot be kept as it is.
    """
    changed = []
    for file in files:
        text, document = _read(file.path)
        if file.flow_of:
            encrypted = _encrypted_jobs(document, file, encryptor)
        else:
            encrypted = encryptor.encrypt(document, file.scope, kind=file.kind)
        number = sum(a != b for a, b in zip(walk_secrets(document), walk_secrets(encrypted), strict=True))
        if number:
            changed.append((file.path, rendered_like(text, encrypted), number))
    for path, text, _ in changed:
        replace_text(path, text)
    return {path: number for path, _, number in changed}


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


def _read(path: Path) -> tuple[str, Any]:
    document = read_json(path)
    return path.read_text(encoding="utf-8-sig"), document


def rendered_like(text: str, document: Any) -> str:
    """JSON of a document, indented as a text is that held it before."""
    found = _INDENT.match(text.lstrip())
    indent: str | int = found[1] if found else 2
    return json.dumps(document, indent=indent, ensure_ascii=False) + "\n"


def rotate_files(folders: Iterable[Path], encryptor: Encryptor) -> Rotation:
    """Make every cipher in the files of folders anew with the first key; nothing else of a file changes.

    Args:
        folders: folders or files; what does not exist is left out, links are not followed.
        encryptor: knows the new key and the old ones.
    """
    rotation = Rotation()
    for path in dict.fromkeys(path for folder in folders for path in _files(folder)):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        changed = _rotated_text(text, path, encryptor, rotation)
        if changed != text:
            replace_text(path, changed)
            rotation.files += 1
    return rotation


def _rotated_text(text: str, path: Path, encryptor: Encryptor, rotation: Rotation) -> str:
    def replaced(match: re.Match[str]) -> str:
        try:
            anew = encryptor.rotated(match[0])
        except UserError:
            rotation.left.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1}")
            return match[0]
        if anew is None:
            return match[0]
        rotation.ciphers += 1
        return anew

    return CIPHER_IN_TEXT.sub(replaced, text)


def rotated_document(document: Any, encryptor: Encryptor) -> Any:
    """A JSON document with its ciphers made anew; those that cannot be read stay."""

    def replaced(match: re.Match[str]) -> str:
        try:
            return encryptor.rotated(match[0]) or match[0]
        except UserError:
            return match[0]

    return json.loads(CIPHER_IN_TEXT.sub(replaced, json.dumps(document)))


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    elif folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and ".git" not in path.parts:
                if path.stat().st_size > _LONGEST_FILE_BYTES:
                    raise ConfigurationError("The file is too large to be one of a project.", file=path)
                yield path
