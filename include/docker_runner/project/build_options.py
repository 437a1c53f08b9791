"""Images that are built from a git repository: options of the component, values of the configuration (IG-20..IG-28)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.engine.git_repository import check_address, check_version
from docker_runner.errors import ConfigurationError, UserError

BUILDER = "builder"
REPOSITORY, VERSION, NETWORK = "repository", "version", "network"
# Never replaced in commands: what is in a command is in the image for everybody to see (IG-27, D15).
CREDENTIALS = ("username", "#password")
_NETWORKS = ("none", "bridge", "no-internet")
_KEY = "data.definition.build_options"
_PLACEHOLDER = re.compile(r"\{\{(#?[A-Za-z0-9_-]+)\}\}")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
# Up to where the shell would begin another command; redirections are part of this one.
_CLONE = re.compile(r"\bgit\b[^;&|()\n]*?\bclone\b(?P<arguments>(?:\d?>&\d?|&>|[^;&|()\n])*)")
_HOME = re.compile(r"(/home|\.)/*")

# A command of the shell, or the arguments of a program that needs none.
Command = str | tuple[str, ...]


@dataclass(frozen=True)
class BuildPlan:
    """What to build, with every value in its place.

    Attributes:
        repository: address of the git repository.
        version: branch, tag or commit; the repository's default branch if empty.
        username: user of the repository, if it wants one.
        password: of that user.
        network: network of the container instead of the component's; empty for the component's (IG-23).
        commands: run in the image's ``/home`` in this order.
        entry_point: what a container runs in ``/data``.
        cache: whether an image that was built from the same commit is used again.
        layer_cache: whether the engine may use layers of earlier builds (IG-24).
    """

    repository: str
    version: str
    commands: tuple[Command, ...]
    entry_point: Command
    username: str = ""
    password: str = field(default="", repr=False)
    network: str = ""
    cache: bool = True
    layer_cache: bool = True


def check_build_options(options: Mapping[str, Any], *, file: Path | str | None = None) -> None:
    """Check what the schema cannot.

    Raises:
        ConfigurationError: an enumeration has no values (IG-21), or a command clones in a way that cannot be had here.
    """
    for number, parameter in enumerate(options["parameters"]):
        if parameter["type"] == "enumeration" and not parameter["values"]:
            raise ConfigurationError(
                "An enumeration needs values.", file=file, key=f"{_KEY}.parameters[{number}].values"
            )
    for number, command in enumerate(options["commands"]):
        try:
            _without_clone(command)
        except UserError as error:
            raise ConfigurationError(str(error), file=file, key=f"{_KEY}.commands[{number}]") from None


def declared_values(options: Mapping[str, Any], *, parameters: Any, runtime: Any) -> dict[str, dict[str, Any]]:
    """What of a configuration matters for the build: root keys that the component declares as parameters (IG-22).

    Args:
        options: build options of the component.
        parameters: ``parameters`` of the configuration.
        runtime: ``runtime`` of the configuration.
    """
    names = {parameter["name"] for parameter in options["parameters"]}
    given = {"parameters": parameters, "runtime": runtime}
    return {
        node: {name: value for name, value in values.items() if name in names} if isinstance(values, Mapping) else {}
        for node, values in given.items()
    }


def build_values(options: Mapping[str, Any] | None, parameters: Any, runtime: Any = None) -> dict[str, dict[str, Any]]:
    """What of a configuration matters for its component's image, checked; nothing for an image that is pulled.

    Raises:
        ConfigurationError: as of :func:`build_plan`.
    """
    if options is None:
        return {}
    values = declared_values(options, parameters=parameters, runtime=runtime)
    build_plan(options, values)
    return values


def build_plan(options: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> BuildPlan:
    """Put the values of a configuration into the options of its component.

    Args:
        options: build options of the component, checked.
        values: what :func:`declared_values` gave; ciphers may still be encrypted.

    Raises:
        ConfigurationError: a value is missing, has another type or cannot be used; a placeholder is left over.
    """
    runtime = values.get("runtime") or {}
    rendered = _rendered_values(options, values)
    repository = scalar_text(runtime.get(REPOSITORY) or options["repository"]["uri"])
    username, password = _credentials(options, runtime)
    given = {*(values.get("parameters") or {}), *runtime}
    _at("repository", given, lambda: check_address(repository, with_login=bool(username or password)))
    version = scalar_text(rendered.get(VERSION)) or scalar_text(options.get("version"))
    _at("version", given, lambda: check_version(version))
    network = scalar_text(runtime.get(NETWORK))
    if network and network not in _NETWORKS:
        raise ConfigurationError(
            f"Must be one of {', '.join(map(repr, _NETWORKS))}, not {network!r}.", key=f"runtime.{NETWORK}"
        )
    replaceable = {name: value for name, value in rendered.items() if not name.startswith("#")}
    replaceable.pop("username", None)
    commands, entry_point = _filled_in(options, replaceable | {REPOSITORY: repository})
    return BuildPlan(
        repository=repository,
        version=version,
        username=username,
        password=password,
        network=network,
        commands=commands,
        entry_point=entry_point,
        cache=bool(options["cache"]),
        layer_cache=bool(options["cache"]) and scalar_text(runtime.get(VERSION)) != "master",
    )


def _at(name: str, given: Set[str], check: Callable[[], None]) -> None:
    """Say of a wrong value whose it is: the configuration's, or the component's, which counts without one."""
    try:
        check()
    except UserError as error:
        own = "" if name in given else f"In the component's definition ({_KEY}.{name}): "
        raise ConfigurationError(f"{own}{error}", key=f"runtime.{name}") from None


def _credentials(options: Mapping[str, Any], runtime: Mapping[str, Any]) -> tuple[str, str]:
    """User and password of the repository: of the configuration, else of the component (IG-23).

    Those of the component are for its own repository alone; whoever names another one must not be sent them.
    """
    own = options["repository"]
    username, password = (scalar_text(runtime.get(key)) for key in CREDENTIALS)
    if not username and not password and runtime.get(REPOSITORY) in (None, "", own["uri"]):
        username, password = (scalar_text(own.get(key)) for key in CREDENTIALS)
    if bool(username) != bool(password):
        missing = CREDENTIALS[0] if password else CREDENTIALS[1]
        raise ConfigurationError("A login to a repository needs username and #password.", key=f"runtime.{missing}")
    return username, password


def _rendered_values(options: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    rendered = {}
    for parameter in options["parameters"]:
        name = parameter["name"]
        node, value = "parameters", parameter.get("default_value")
        for place in ("parameters", "runtime"):
            given = (values.get(place) or {}).get(name)
            if given is not None:
                node, value = place, given
        if value is not None:
            rendered[name] = _rendered(parameter, value, key=f"{node}.{name}")
        elif parameter["required"] and name != REPOSITORY:
            raise ConfigurationError("The value is required to build the component's image.", key=f"runtime.{name}")
    return rendered


def _rendered(parameter: Mapping[str, Any], value: Any, *, key: str) -> str:
    """The text of a value by the type of its parameter (IG-21)."""
    if isinstance(value, Mapping | list):
        raise ConfigurationError("Must be a text, a number, true or false.", key=key)
    kind, text = parameter["type"], scalar_text(value)
    if kind in ("int", "integer"):
        if isinstance(value, bool) or not re.fullmatch(r"\s*[+-]?\d+(\.0*)?\s*", text):
            raise ConfigurationError("Must be a whole number.", key=key)
        return str(int(float(text)) if "." in text else int(text))
    if kind == "argument":
        return shlex.quote(text)
    if kind == "plain_string" and not _PLAIN.fullmatch(text):
        raise ConfigurationError("May consist of letters, digits, '_', '.' and '-' only.", key=key)
    if kind == "enumeration" and text not in (allowed := [scalar_text(item) for item in parameter["values"]]):
        raise ConfigurationError(f"Must be one of {', '.join(map(repr, allowed))}.", key=key)
    return text


def _filled_in(options: Mapping[str, Any], values: Mapping[str, str]) -> tuple[tuple[Command, ...], Command]:
    missing: dict[str, None] = {}

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            missing[match[0]] = None
        return values.get(match[1], "")

    commands = tuple(
        _map(_without_clone(command), lambda text: _PLACEHOLDER.sub(fill, text)) for command in options["commands"]
    )
    entry_point = _map(_parsed(options["entry_point"]), lambda text: _PLACEHOLDER.sub(fill, text))
    if missing:
        raise ConfigurationError(
            f"The build of the component's image has no value for {', '.join(missing)}. Give values in parameters or "
            "runtime; user names, and values of keys that start with #, are never put into an image."
        )
    return commands, entry_point


def _map(command: Command, change: Callable[[str], str]) -> Command:
    return change(command) if isinstance(command, str) else tuple(change(part) for part in command)


def _parsed(text: str) -> Command:
    """A JSON list of texts is a program with its arguments, as in a Dockerfile; all else is for the shell."""
    if text.lstrip().startswith("["):
        try:
            parts = json.loads(text)
        except ValueError:
            return text
        if isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts):
            return tuple(parts)
    return text


def _without_clone(command: str) -> Command:
    """A command without its clone of the repository into ``/home``: the runner has put the files there (D15).

    Raises:
        UserError: it clones the repository to another place or with submodules.
    """

    def replace(match: re.Match[str]) -> str:
        arguments = match["arguments"]
        if f"{{{{{REPOSITORY}}}}}" not in arguments:
            return match[0]
        words = list(_words(arguments))
        place = next((number for number, word in enumerate(words) if f"{{{{{REPOSITORY}}}}}" in word), 0)
        targets = words[place + 1 :]
        if any(word.startswith(("--recurs", "--shallow-sub")) for word in words):
            raise UserError("Submodules are not cloned here; take them into the repository.")
        if len(targets) != 1 or not _HOME.fullmatch(targets[0]):
            raise UserError(
                "The runner itself clones the repository and puts its files into /home before the first command: "
                "clone to /home/, or leave the command out and copy or move files from /home."
            )
        trailing = arguments[len(arguments.rstrip()) :]
        return f":{trailing}"

    parsed = _parsed(command)
    return _CLONE.sub(replace, parsed) if isinstance(parsed, str) else parsed


def _words(arguments: str) -> Iterator[str]:
    try:
        words = shlex.split(arguments)
    except ValueError:
        raise UserError("The quotes of this command do not match.") from None
    return (word for word in words if not re.match(r"\d?&?>", word))
