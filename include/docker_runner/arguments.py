"""Arguments of commands that are more than one text."""

from __future__ import annotations

from docker_runner.errors import UserError

SANDBOX = "sandbox"
"""Mode of a run, and what stands in for its component."""


def ids(text: str) -> tuple[str, str]:
    """Component and configuration of ``<component>/<configuration>``.

    Raises:
        UserError: it has another form.
    """
    component_id, slash, config_id = text.partition("/")
    if not (component_id and slash and config_id):
        raise UserError(f"Name a configuration as <component>/<configuration>, not {text!r}.")
    return component_id, config_id


def ids_of_run(text: str, *, mode: str, brings_configuration: bool) -> tuple[str, str]:
    """Component and configuration of a run; the latter is missing when it brings one, and both may be in a sandbox.

    Raises:
        UserError: something is missing.
    """
    if not text and mode == SANDBOX:
        return SANDBOX, ""
    return (text, "") if text and brings_configuration and "/" not in text else ids(text)


def name_and_value(text: str) -> tuple[str, str]:
    """Name and value of ``name=value``.

    Raises:
        UserError: it has another form.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UserError(f"Give a variable as name=value, not {text!r}.")
    return name, value
