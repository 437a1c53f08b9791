"""Moves ciphers to a new key (D18): in files byte by byte, in stored states document by document."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.encryption import CIPHER_IN_TEXT, Encryptor
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.regular_files import read_regular
from docker_runner.replacing import replace_content

_LONGEST_FILE_BYTES = 100_000_000
# What git keeps of earlier states of the project is its own.
_GIT = ".git"
# A mark of the encoding, a character for each byte.
_MARK = codecs.BOM_UTF8.decode("latin-1")


@dataclass
class Rotation:
    """What moving ciphers to the first key did.

    Attributes:
        ciphers: how many were made anew.
        files: in how many files.
        left: places of ciphers that stay under their old keys: none of the keys can read them.
    """

    ciphers: int = 0
    files: int = 0
    left: list[str] = field(default_factory=list)


def files_to_rotate(places: Iterable[Path]) -> list[Path]:
    """Every file below places whose ciphers can be made anew; each once, whatever links lead to it.

    Args:
        places: folders or files; what does not exist is left out.

    Raises:
        UserError: links lead out of the places to what may hold ciphers, or a file is far too large for one of a
            project.
        OSError: a folder cannot be read.
    """
    roots = [place.resolve() for place in places if place.exists()]
    found: dict[Path, None] = {}
    outside = []
    for root in roots:
        for path in _paths(root):
            real = path.resolve()
            if real.is_dir():
                if not any(_is_reached(real, other) for other in roots):
                    outside.append(f"{path} leads to the folder {real}")
            elif real.is_file():
                if real.stat().st_size > _LONGEST_FILE_BYTES:
                    raise ConfigurationError("The file is too large to be one of a project.", file=path)
                if any(_is_reached(real, other) for other in roots):
                    found[real] = None
                elif CIPHER_IN_TEXT.search(_text(real)):
                    outside.append(f"{path} leads to {real}")
    if outside:
        shown = "\n  ".join(outside)
        raise UserError(
            "Nothing was made anew: links lead out of the folders in which ciphers are made anew. Put the files "
            f"themselves there, or remove the links:\n  {shown}"
        )
    return list(found)


def _paths(root: Path) -> Iterator[Path]:
    """Files, and links to files and folders, below a folder; a file itself."""
    if not root.is_dir():
        yield root
        return

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if name != _GIT)
        here = Path(folder)
        yield from (here / name for name in folders if (here / name).is_symlink())
        yield from (here / name for name in sorted(files))


def _is_reached(real: Path, root: Path) -> bool:
    """Whether a real path is one of those that are walked below a root."""
    return real == root or (real.is_relative_to(root) and _GIT not in real.relative_to(root).parts)


def rotate_files(files: Sequence[Path], encryptor: Encryptor) -> Rotation:
    """Make every cipher in files anew with the first key; nothing else of a file changes.

    Args:
        files: those of :func:`files_to_rotate`.
        encryptor: knows the new key and the old ones.
    """
    rotation = Rotation()
    for path in files:
        text = _text(path)
        changed = _rotated_text(text, encryptor, rotation, path=path)
        if changed != text:
            replace_content(path, changed.encode("latin-1"))
            rotation.files += 1
    return rotation


def _text(path: Path) -> str:
    # A character for each byte: ciphers are found in files of any encoding, and the rest stays as it is.
    return read_regular(path).decode("latin-1")


def _rotated_text(text: str, encryptor: Encryptor, rotation: Rotation, *, path: Path) -> str:
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

    rotation.left += (f"{path}: written with escapes" for _ in _escaped_ciphers(text))
    return CIPHER_IN_TEXT.sub(replaced, text)


def _escaped_ciphers(text: str) -> Iterator[str]:
    r"""Ciphers of a JSON text that are written with escapes, such as ``KBC\u003a\u003a…``, and so are not found."""
    if "\\u00" not in text:
        return
    try:
        plain = json.dumps(json.loads(text.removeprefix(_MARK)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return
    yield from (cipher for cipher in CIPHER_IN_TEXT.findall(plain) if cipher not in text)


def rotated_document(document: Any, encryptor: Encryptor, rotation: Rotation, *, place: str) -> Any:
    """A JSON document with its ciphers made anew.

    Args:
        document: parsed JSON.
        encryptor: knows the new key and the old ones.
        rotation: is told of ciphers that cannot be read; they stay.
        place: what it is told as their place.
    """

    def replaced(match: re.Match[str]) -> str:
        try:
            return encryptor.rotated(match[0]) or match[0]
        except UserError:
            rotation.left.append(place)
            return match[0]

    return json.loads(CIPHER_IN_TEXT.sub(replaced, json.dumps(document)))
