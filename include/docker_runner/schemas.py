"""The JSON Schemas in ``include/schemas``: what a document may hold, in one place for code, editors and authors.

A thing is defined once and referred to by ``$ref``. A schema may add to what it refers to: configuration.json is
configuration-row.json plus the keys that a whole configuration may not lack. Besides the standard's own words,
``x-expected`` says in an error what would be right where the standard's words would not help,
and ``x-secret`` keeps a wrong value out of it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker_runner.plain_schemas import plainly_fits

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_EXPECTED = "x-expected"
_HIDDEN = "x-secret"
_PLACEHOLDER = "{{"
_TYPE_NAMES = {
    "object": "a map",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong in a document.

    Attributes:
        key: dotted path of what is wrong; of the map around it for keys that are unknown or missing.
        problem: what is wrong and what would be right.
        place: dotted path of what to look at: an unknown key itself.
    """

    key: str
    problem: str
    place: str


def schema_folder() -> Path:
    """Where the schemas lie: inside the package when it is installed, beside it in the repository."""
    package = Path(__file__).parent
    installed = package / "schemas"
    return installed if installed.is_dir() else package.parent / "schemas"


@lru_cache
def load_schema(name: str) -> dict[str, Any]:
    """Load a schema by name, e.g. ``configuration``, with everything in it that it refers to.

    Putting the referred schemas in place once makes each of the many later checks several times faster.
    """
    schema: dict[str, Any] = _in_place(_written(name), name)
    return schema


@lru_cache
def _written(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((schema_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _in_place(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return [_in_place(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    own = {key: _in_place(value, name) for key, value in node.items() if key not in ("$ref", "$defs")}
    if "$ref" not in node:
        return own
    file, _, pointer = node["$ref"].partition("#")
    name = file.removesuffix(".json") or name
    target: Any = _written(name)
    for part in pointer.split("/")[1:]:
        target = target[part]
    return _laid_over(_in_place(target, name), own)


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            **below,
            **{key: _laid_over(below[key], value) if key in below else value for key, value in above.items()},
        }
    return above


@lru_cache
def validator(name: str) -> Validator:
    """The compiled form of a schema."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load_schema(name))


def compile_schemas() -> None:
    """Load and compile every schema ahead of its first use, for processes that fork others."""
    for path in schema_folder().glob("*.json"):
        validator(path.stem).is_valid({})


def violations(document: Any, schema: str, *, placeholders: bool = False) -> list[Violation]:
    """Everything that is wrong in a document, the most telling first.

    Args:
        document: parsed JSON.
        schema: name of the schema.
        placeholders: the document is a template: texts and keys with placeholders may become anything (VR-10).
    """
    if plainly_fits(document, load_schema(schema)):
        return []
    from jsonschema.exceptions import relevance

    found: list[Violation] = []
    for error in sorted(validator(schema).iter_errors(document), key=relevance, reverse=True):
        while error.context and not _expected(error):
            error = min(error.context, key=lambda child: -len(child.absolute_path))
        if placeholders and isinstance(error.instance, str) and _PLACEHOLDER in error.instance:
            continue
        found += _explained(error, placeholders=placeholders)
    return list(dict.fromkeys(found))


def _explained(error: ValidationError, *, placeholders: bool) -> Iterator[Violation]:
    key = dotted(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = sorted(_schema_of(error).get("properties", {}))
        for name in sorted(str(name) for name in error.instance if name not in known):
            if not (placeholders and _PLACEHOLDER in name):
                yield Violation(key, _unknown(name, known), f"{key}.{name}".lstrip("."))
    elif error.validator == "required":
        present: Any = error.instance
        expected: Any = error.validator_value
        for name in expected:
            if name not in present:
                yield Violation(key, f"The key {name!r} is missing.", key)
    else:
        yield Violation(key, _wrong_value(error), key)


def dotted(path: Sequence[str | int]) -> str:
    """A path as errors show it, e.g. ``storage.input.tables[0].source``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}."
    return f"Unknown key {name!r}; {hint}"


def _wrong_value(error: ValidationError) -> str:
    """Say what is wrong and what would be right, in the words of somebody who edits the file."""
    expected: Any = error.validator_value
    secret = _schema_of(error).get(_HIDDEN) or any(str(part).startswith("#") for part in error.absolute_path)
    shown = "what it is" if secret else _shown(error.instance)
    if phrase := _expected(error):
        return f"Must be {phrase}, not {shown}."
    if error.validator == "type":
        names = [expected] if isinstance(expected, str) else list(expected)
        if "object" in names and _schema_of(error).get("maxItems") == 0:
            # An empty map as PHP writes it: nobody is told to write a list.
            names.remove("array")
        return f"Must be {' or '.join(_TYPE_NAMES[name] for name in names)}, not {shown}."
    if error.validator == "enum":
        allowed = ", ".join(repr(value) for value in expected if value not in ("", None))
        return f"Must be one of {allowed}, not {shown}."
    if error.validator == "minLength":
        return "Must not be empty."
    if error.validator == "maxItems":
        return "Must be a map, not a list."
    return "The value is not allowed here." if secret else f"{error.message}."


def _expected(error: ValidationError) -> str:
    return str(_schema_of(error).get(_EXPECTED, ""))


def _schema_of(error: ValidationError) -> Mapping[str, Any]:
    return error.schema if isinstance(error.schema, Mapping) else {}


def _shown(value: Any) -> str:
    """Name a wrong value without repeating what could be long or secret."""
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """A copy of a checked document with the schema's defaults filled in; large free parts are not copied."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if value == [] and properties:
        # An empty map as PHP writes it; without defaults it stays what its author wrote (D1).
        return with_defaults({}, schema) or value
    if isinstance(value, Mapping) and properties:
        filled = {name: with_defaults(item, properties.get(name, {})) for name, item in value.items()}
        for name, inner in properties.items():
            if name not in filled and "default" in inner:
                filled[name] = with_defaults(json.loads(json.dumps(inner["default"])), inner)
        return filled
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in value]
    return value
