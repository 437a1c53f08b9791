"""JSON documents at the edge: reading them, checking them against a schema, filling in defaults.

Everything that a person or a component wrote passes through here once; behind it the code trusts what it holds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError
from docker_runner.positions import holds, line_of, repeated_key
from docker_runner.regular_files import read_regular
from docker_runner.schemas import load_schema, violations, with_defaults

_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
_HALF = re.compile(r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]..")

Files = Sequence[Path | str]


def read_json(path: Path, *, or_pipe: bool = False) -> Any:
    """Read a JSON file that a person keeps.

    Args:
        path: the file.
        or_pipe: it was named for this one reading, so that it may be a pipe, e.g. ``<(command)``.

    Raises:
        ConfigurationError: the file is missing, is not a regular one, not UTF-8 or not JSON, or a map in it has a key
            twice, of which readers would see only one; names the line.
    """
    data = _read_bytes(path, shown=path, or_pipe=or_pipe)
    document = _plain_json(data)
    return parse_json(_decoded(data, shown=path), file=path, unique=True) if document is _UNTOLD else document


def read_json_with_text(path: Path) -> tuple[Any, str]:
    """Read a JSON file that a person keeps, and its text to the letter: with its line ends and its mark.

    Raises:
        ConfigurationError: as of :func:`read_json`.
    """
    data = _read_bytes(path, shown=path)
    document = parse_json(_decoded(data, shown=path), file=path, unique=True)
    return document, data.decode()


_UNTOLD = object()


def _plain_json(data: bytes) -> Any:
    """What a JSON file holds, in less than half the time that the usual way takes; untold for some.

    Thousands are read whenever Airflow parses DAGs. What was read is written again: if that is what stands in the file,
    but for its spaces, then nothing was lost, such as the first of two values under one key. Texts with escapes and the
    like may be written in another way, and nothing is said of them.
    """
    import msgspec

    try:
        document = msgspec.json.decode(data)
        same = msgspec.json.encode(document) == msgspec.json.format(data, indent=-1)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _UNTOLD
    return document if same else _UNTOLD


def read_text(path: Path, *, shown: str = "") -> str:
    """Read a text file.

    Args:
        path: the file.
        shown: what an error names instead of the path.

    Raises:
        ConfigurationError: the file is missing, is not a regular one or is not UTF-8.
    """
    text = _decoded(_read_bytes(path, shown=shown or path), shown=shown or path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_bytes(path: Path, *, shown: Path | str, or_pipe: bool = False) -> bytes:
    try:
        return read_regular(path, or_pipe=or_pipe)
    except FileNotFoundError:
        raise ConfigurationError("The file does not exist.", file=shown) from None
    except OSError as error:
        raise ConfigurationError(f"The file cannot be read: {error.strerror}.", file=shown) from None


def _decoded(data: bytes, *, shown: Path | str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The file is not UTF-8 text (byte {error.start}).", file=shown) from None


def read_output(path: Path, *, shown: str) -> Any:
    """Read a JSON or YAML file that a component wrote, by its ending; a missing or empty one is None.

    Args:
        path: the file, e.g. ``state.json`` or ``usage.yml``.
        shown: what an error names as the file.

    Raises:
        ConfigurationError: it is a link or a special file, not UTF-8, or not in that format.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ConfigurationError("This must be a regular file.", file=shown)
    if not path.exists():
        return None
    return parse_document(read_text(path, shown=shown), extension=path.suffix[1:], file=shown)


def parse_json(text: str, *, file: Path | str, unique: bool = False) -> Any:
    """Parse JSON text.

    Args:
        text: JSON.
        file: what an error names.
        unique: refuse maps that have a key twice; otherwise the last one counts.

    Raises:
        ConfigurationError: the text is not JSON; names the line and column.
    """
    pairs_hook = _map_of_unique_keys if unique else None
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=pairs_hook)
    except _RepeatedKeyError:
        key, line = repeated_key(text)
        raise ConfigurationError(
            "The key stands here for a second time in its map.", file=file, key=key, line=line
        ) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigurationError(f"This is not valid JSON ({place}): {error.msg}.", file=file) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"This is not valid JSON: {error}.", file=file) from None
    _refuse_half_characters(document, text, file=file)
    return document


class _RepeatedKeyError(Exception):
    """A map has a key twice."""


def _map_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _RepeatedKeyError
    return document


def _refuse_half_characters(document: Any, text: str, *, file: Path | str) -> None:
    r"""Refuse escapes such as ``\ud83d`` without their other half: no file, table or log could hold such a text."""
    if not _HALVES.search(text):
        return
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found = _HALF.search(text)
        place = f" (line {text.count(chr(10), 0, found.start()) + 1})" if found else ""
        problem = f"An escape is half a character{place}: characters beyond \\uffff are written as two escapes."
        raise ConfigurationError(problem, file=file) from None


def parse_document(text: str, *, extension: str, file: Path | str) -> Any:
    """Parse JSON, or YAML when the extension is ``yml`` (CD-11); empty text is None.

    Raises:
        ConfigurationError: the text is not in that format; names the place.
    """
    if not text.strip():
        return None
    if extension == "json":
        return parse_json(text, file=file)
    return _parse_yaml(text, file=file)


def _parse_yaml(text: str, *, file: Path | str) -> Any:
    import yaml

    try:
        # Dates become texts, as they are in JSON; everything else that JSON cannot hold is refused.
        document = json.loads(json.dumps(yaml.safe_load(text), default=_moment_as_text, allow_nan=False))
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the line, which may hold a secret.
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigurationError(f"This is not valid YAML{place}: {error.problem}.", file=file) from None
    except yaml.YAMLError:
        raise ConfigurationError("This is not valid YAML: it holds characters that YAML forbids.", file=file) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"This YAML holds what JSON could not: {error}.", file=file) from None
    _refuse_half_characters(document, text, file=file)
    return document


def _moment_as_text(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def read_object(path: Path, schema: str) -> dict[str, Any]:
    """Read a JSON file that holds a map, check it against a schema and fill in the schema's defaults.

    Args:
        path: the file.
        schema: name of the schema, e.g. ``component``.

    Raises:
        ConfigurationError: as of :func:`read_json` and :func:`checked`.
    """
    content: dict[str, Any] = checked(read_json(path), schema, file=path)
    return content


def checked(document: Any, schema: str, *, file: Path | str | None = None, key: str = "") -> Any:
    """Check a document against a schema and return a copy with the schema's defaults filled in (CF-35).

    Args:
        document: parsed JSON.
        schema: name of the schema in ``include/schemas``.
        file: what an error names as the file; a path is read again to find the line.
        key: dotted path of the document inside that file.

    Raises:
        ConfigurationError: the first thing that is wrong: where it is and what would be right (CF-33, CF-34).
    """
    for error in problems(document, schema, file=file, key=key):
        raise error
    return with_defaults(document, load_schema(schema))


def problems(
    document: Any, schema: str, *, file: Path | str | None = None, key: str = "", placeholders: bool = False
) -> Iterator[ConfigurationError]:
    """Everything that is wrong in a document, as :func:`checked` would raise it; the most telling first.

    Args:
        document: parsed JSON.
        schema: name of the schema in ``include/schemas``.
        file: what the errors name as the file; a path is read again to find the lines.
        key: dotted path of the document inside that file.
        placeholders: the document is a template whose placeholders are not replaced yet.
    """
    for found in violations(document, schema, placeholders=placeholders):
        line = line_of(file, _joined(key, found.place)) if isinstance(file, Path) else None
        yield ConfigurationError(found.problem, file=file, key=_joined(key, found.key), line=line)


def _joined(outer: str, inner: str) -> str:
    return f"{outer}{inner}" if inner.startswith("[") else ".".join(part for part in (outer, inner) if part)


def scalar_text(value: Any) -> str:
    """A scalar of a configuration as text: null is empty, truth values are written as in JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def located(error: ConfigurationError, files: Files, *, place: str = "") -> ConfigurationError:
    """Name the file that holds the key of an error, and the line; an error that names another file stays as it is.

    Args:
        error: an error in an effective configuration.
        files: the files that it comes from, the most special one first.
        place: dotted path of what to look at, when it is not the error's key.
    """
    if error.line or (error.file and error.file not in map(str, files)):
        return error
    known = [file for file in files if isinstance(file, Path)]
    place = place or error.key
    file = next((file for file in known if place and holds(file, place)), files[0])
    line = line_of(file, place) if place and isinstance(file, Path) else None
    return ConfigurationError(error.problem, file=file, key=error.key, line=line)


@contextmanager
def lines_shown() -> Iterator[None]:
    """Let errors that name a file and a key name the line too; also for use as a decorator."""
    try:
        yield
    except ConfigurationError as error:
        if not error.file:
            raise
        raise located(error, [Path(error.file)]) from None


def id_text(value: Any) -> str:
    """An id or tag of a configuration as text; empty when it is not given: null, ``""``, ``0``, ``"0"`` or false."""
    return "" if falsy(value) else scalar_text(value)


def id_at(document: Mapping[str, Any], key: str) -> str:
    """The id under a key of a document that has not been checked yet; see :func:`id_text`.

    Raises:
        ConfigurationError: it is a map or a list.
    """
    value = document.get(key)
    if value and isinstance(value, Mapping | list):
        raise ConfigurationError(f"Must be an id, not {'a map' if isinstance(value, Mapping) else 'a list'}.", key=key)
    return id_text(value)


def falsy(value: Any) -> bool:
    """Whether a value of a configuration counts as not given: null, empty, zero or false, also as the text ``0``."""
    return not value or value == "0"
