"""Broken input as data: the files in ``cases/``, and what their tags stand for.

Every case has a name, the broken thing itself, and what the error must name: the ``file``, the ``place`` in it, and
what would be right (``says``). Everywhere in them stands a secret that no error may show.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker_runner.encryption import Encryptor, Scope

SECRET = "hunter2-s3cret"
KEY = "dGhlIGtleSBvZiB0aGUgY29ycHVzLCAzMiBieXRlcyE="
COMPONENT, CONFIG = "vendor.ex-foo", "main"

_FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Link:
    """A symbolic link where a file should be."""

    target: str


class Pipe:
    """A named pipe where a file should be."""


class Folder:
    """A folder where a file should be."""


@dataclass(frozen=True)
class Cipher:
    """An encrypted secret, bound to what is given."""

    component: str = COMPONENT
    project: str = ""
    configuration: str = CONFIG
    kind: str = "ProjectSecure"
    key: str = KEY
    keep: int | None = None

    def text(self) -> str:
        scope = Scope(component=self.component, project=self.project, configuration=self.configuration)
        return Encryptor((self.key,)).encrypt_value(SECRET, scope, kind=self.kind)[: self.keep]


class _Loader(yaml.SafeLoader):
    """YAML with tags for what a text cannot be."""


def _repeated(loader: _Loader, node: yaml.SequenceNode) -> str:
    text, times = loader.construct_sequence(node, deep=True)
    return str(text) * times


def _joined(loader: _Loader, node: yaml.SequenceNode) -> str:
    return "".join(loader.construct_sequence(node, deep=True))


def _compressed(loader: _Loader, node: yaml.SequenceNode) -> bytes:
    text, keep = loader.construct_sequence(node, deep=True)
    return gzip.compress(text.encode(), mtime=0)[:keep]


_Loader.add_constructor("!link", lambda loader, node: Link(str(loader.construct_scalar(node))))
_Loader.add_constructor("!pipe", lambda *_: Pipe())
_Loader.add_constructor("!folder", lambda *_: Folder())
_Loader.add_constructor("!cipher", lambda loader, node: Cipher(**loader.construct_mapping(node)))
_Loader.add_constructor("!repeat", _repeated)
_Loader.add_constructor("!join", _joined)
_Loader.add_constructor("!gzip", _compressed)


@dataclass(frozen=True)
class Case:
    """One broken thing; ``parts`` are the keys that only its kind has."""

    kind: str
    name: str
    parts: dict[str, Any]

    def __getitem__(self, part: str) -> Any:
        return self.parts[part]

    def get(self, part: str, default: Any = None) -> Any:
        return self.parts.get(part, default)

    @property
    def content(self) -> Any:
        """The broken document: a text as it is, or what becomes JSON."""
        return self.parts["text"] if "text" in self.parts else self.parts["content"]


def read_cases(kind: str) -> list[Case]:
    """The cases of a kind."""
    content = yaml.load((_FOLDER / f"{kind}.yaml").read_text(encoding="utf-8"), Loader=_Loader)
    return [Case(kind, item.pop("name"), item) for item in content]


def params(*kinds: str) -> list[Any]:
    """The cases of some kinds as parameters of a test, each with the rules that it is about."""
    return [
        pytest.param(case, id=f"{kind}-{case.name}", marks=pytest.mark.rules(*case.get("rules", ())))
        for kind in kinds
        for case in read_cases(kind)
    ]


def put(path: Path, content: Any) -> Path:
    """Make what a case says at a path: text and bytes as they are, tags as their names say, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir() and not isinstance(content, Folder):
        path.rmdir()
    if isinstance(content, Link):
        path.symlink_to(content.target)
    elif isinstance(content, Pipe):
        os.mkfifo(path)
    elif isinstance(content, Folder):
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    else:
        path.write_text(as_json(content), encoding="utf-8")
    return path


def as_json(content: Any) -> str:
    """JSON with the ciphers in it made."""
    return json.dumps(content, ensure_ascii=False, default=lambda value: value.text())
