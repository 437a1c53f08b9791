"""``/data/config.json``: what a component is told (DF-10..DF-22)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError
from docker_runner.secret_keys import walk_secrets

if TYPE_CHECKING:
    from yaml import Node

# Texts that some reader of YAML takes for a number or a truth value although ours does not: they are quoted (DF-17).
_READ_AS_OTHER = re.compile(
    r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\d[\d_:.]*|y|Y|n|N", re.ASCII
)
_BLOCK_LEVELS = 10
_ALWAYS_MAPS = ("storage", "parameters", "image_parameters", "authorization")


def main_config(configuration: Mapping[str, Any], image_parameters: Any, *, action: str = "run") -> dict[str, Any]:
    """The content of the main component's config file (DF-11, DF-13, DF-14).

    Args:
        configuration: effective configuration with defaults filled in, encrypted or decrypted.
        image_parameters: those of the component, which replace what a user may have written (CD-43).
        action: ``run``, or the name of a synchronous action.
    """
    content = {key: value for key, value in configuration.items() if key not in ("runtime", "processors")}
    authorization = _authorization(configuration)
    content |= {"authorization": authorization, "image_parameters": image_parameters, "action": action}
    return _with_empty_maps(content)


def _authorization(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What a component gets of its authorization: credentials and application proxy, nothing else (AU-2..AU-7)."""
    given = configuration.get("authorization") or {}
    oauth = given.get("oauth_api") or {}
    backend = (configuration.get("runtime") or {}).get("backend") or {}
    context = backend.get("context") if isinstance(backend, Mapping) else None
    return {
        **({"oauth_api": {"credentials": oauth["credentials"]}} if oauth.get("credentials") else {}),
        **({"app_proxy": given["app_proxy"]} if given.get("app_proxy") else {}),
        **({"context": context} if context else {}),
    }


def processor_config(parameters: Any, image_parameters: Any) -> dict[str, Any]:
    """The content of a processor's config file: only its own parameters (DF-12, PR-7)."""
    return _with_empty_maps({"parameters": parameters, "image_parameters": image_parameters, "action": "run"})


def _with_empty_maps(content: dict[str, Any]) -> dict[str, Any]:
    return content | {key: content.get(key) or {} for key in _ALWAYS_MAPS}


def rendered(content: Mapping[str, Any], *, extension: str) -> str:
    """The file's text: JSON with four spaces and escaped non-ASCII characters (DF-16), or block-style YAML (DF-17)."""
    if extension == "json":
        return json.dumps(content, indent=4).replace("/", "\\/")
    return rendered_yaml(content)


def rendered_yaml(content: Mapping[str, Any]) -> str:
    """YAML that every component reads as the same content: block style to depth 10, inline below (DF-17)."""
    import yaml

    dumper = yaml.SafeDumper(io.StringIO(), sort_keys=False)
    node = dumper.represent_data(json.loads(json.dumps(content)))
    _set_styles(node, depth=1)
    return str(yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True))


def _set_styles(node: Node, *, depth: int) -> None:
    import yaml

    if isinstance(node, yaml.CollectionNode):
        node.flow_style = depth > _BLOCK_LEVELS or not node.value
        children = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        for child in children:
            _set_styles(child, depth=depth + 1)
    elif (
        isinstance(node, yaml.ScalarNode)
        and node.tag == "tag:yaml.org,2002:str"
        and _READ_AS_OTHER.fullmatch(node.value)
    ):
        node.style = "'"


def refuse_misuse(configuration: Any, image_parameters: Any, *, file: str | None = None, key: str = "") -> None:
    """Refuse a configuration that repeats a secret of the component's own parameters (DF-20).

    Args:
        configuration: decrypted configuration.
        image_parameters: decrypted image parameters.
        file: what the error names as the file.
        key: path of that part inside the whole configuration.

    Raises:
        ConfigurationError: names the key of the configuration.
    """
    own = {value for _, value in walk_secrets(image_parameters) if value not in (None, "")}
    for path, value in walk_secrets(configuration, key):
        if value in own:
            raise ConfigurationError(
                "This secret belongs to the component itself and may not be used here.", file=file, key=path
            )
