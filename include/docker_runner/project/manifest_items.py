"""The manifest of a project as a task reads it: one of thousands of configurations is needed, so few are decoded.

Splitting the list into the texts of its items takes a fourth of the time that decoding all of them takes, and finding
those in which an id stands takes next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.documents import checked, read_object
from docker_runner.regular_files import read_regular
from docker_runner.schemas import load_schema

if TYPE_CHECKING:
    from msgspec import Raw
    from msgspec.json import Decoder

SCHEMA = "project-manifest"
_ITEMS = "configurations"
_BLOCK = 64
"""Items whose texts are looked through at once: a search has a price of its own, whatever the length of the text."""
_NUMBER = re.compile("[0-9eE.+-]*")


class UndecodedItems:
    """The configurations that a manifest names, as JSON texts.

    Args:
        file: the manifest, for errors.
        texts: of the items. None of them has an escape, so what is looked for stands in them as it is.
    """

    def __init__(self, file: Path, texts: list[Raw]) -> None:
        self._file = file
        self._texts = texts
        self._blocks = [b"\n".join(texts[begin : begin + _BLOCK]) for begin in range(0, len(texts), _BLOCK)]
        self._taken: set[int] = set()

    def __bool__(self) -> bool:
        return len(self._taken) < len(self._texts)

    def take(self, value: str) -> list[tuple[int, Any]]:
        """Decode the items in which a value stands and that were not taken before; gives them with their positions.

        Args:
            value: e.g. an id or a path; an empty one stands in all.

        Raises:
            ConfigurationError: an item holds what cannot be read.
        """
        import msgspec

        # Ids may be numbers, which stand there without quotes.
        text = value if _NUMBER.fullmatch(value) else f'"{value}"'
        found = [index for index in self._holding(text.encode("utf-8", "surrogatepass")) if index not in self._taken]
        self._taken.update(found)
        try:
            return [(index, msgspec.json.decode(self._texts[index])) for index in found]
        except msgspec.DecodeError:
            # E.g. a number that is too large: told as it always is.
            read_object(self._file, SCHEMA)
            raise

    def _holding(self, wanted: bytes) -> Iterator[int]:
        for number, block in enumerate(self._blocks):
            if wanted in block:
                begin = number * _BLOCK
                for index, item in enumerate(self._texts[begin : begin + _BLOCK], begin):
                    if wanted in bytes(item):
                        yield index


def read_manifest_again(file: Path) -> dict[str, Any]:
    """Read a manifest that somebody has read to the letter before: keys that stand in it twice are not looked for.

    Returns:
        The manifest; its ``configurations`` are :class:`UndecodedItems`, unless they are none or have escapes.

    Raises:
        ConfigurationError: as of :func:`docker_runner.documents.read_object`.
    """
    import msgspec

    try:
        data = read_regular(file)
        if b"\\" in data or not (data.isascii() or data.decode()):
            return read_object(file, SCHEMA)
        parts = msgspec.structs.asdict(manifest_decoder().decode(data))
        texts = parts.pop(_ITEMS)
        document = {name: msgspec.json.decode(part) for name, part in parts.items() if part is not msgspec.UNSET}
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        # Whatever is wrong with it is told as always; a mark of its encoding is nothing wrong.
        return read_object(file, SCHEMA)
    manifest: dict[str, Any] = checked({**document, _ITEMS: []}, SCHEMA, file=file)
    return {**manifest, _ITEMS: UndecodedItems(file, texts)}


@cache
def manifest_decoder() -> Decoder[Any]:
    """What splits a manifest into its parts; made once, by workers before they fork their tasks."""
    import msgspec

    fields: list[Any] = [
        (name, list[msgspec.Raw]) if name == _ITEMS else (name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)
        for name in sorted(load_schema(SCHEMA)["properties"], key=lambda name: name != _ITEMS)
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Manifest", fields))
