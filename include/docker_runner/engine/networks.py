"""The networks that containers run in (CT-5, D10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from docker_runner.engine.client import Engine, engine_errors
from docker_runner.engine.container_spec import LABEL_PREFIX
from docker_runner.errors import EngineError, UserError

NO_INTERNET = "no-internet"

# Known to every engine; nothing to prepare.
_BUILT_IN = ("none", "bridge")


def ensure_network(engine: Engine, name: str) -> str:
    """The network that a container of a component with ``network: name`` is to be connected to.

    ``none`` and ``bridge`` are the engine's own. ``no-internet`` is an internal network without a route to anywhere,
    in which containers do not reach each other either; it is created when it is not there. Any other name must be a
    network of the engine.

    Returns:
        What the engine takes as network mode. For a network it is the id: several of one name can exist.

    Raises:
        UserError: there is no such network, or it would give the container the host's own network.
        EngineError: the engine fails, or its ``no-internet`` network is not an internal one.
    """
    if name in _BUILT_IN:
        return name
    if name in ("host", "default", "") or ":" in name:
        raise UserError(f"A component cannot run in the network {name!r}; use bridge, no-internet or none.")
    found = _networks(engine, name)
    if name == NO_INTERNET:
        return _oldest_internal(found) if found else _create_no_internet(engine)
    if not found:
        raise UserError(
            f"The Docker engine has no network {name!r}. Use bridge, no-internet or none as the component's network, "
            f"or create it: docker network create {name}"
        )
    return str(found[0]["Id"])


def _networks(engine: Engine, name: str) -> Sequence[Mapping[str, Any]]:
    """Networks of exactly this name or id, oldest first."""
    with engine_errors(engine, f"Looking for the network {name}"):
        # The engine's filter takes parts of names.
        found = [network for network in engine.client.networks() if name in (network["Name"], network["Id"])]
    return sorted(found, key=lambda network: (network["Created"], network["Id"]))


def _oldest_internal(found: Sequence[Mapping[str, Any]]) -> str:
    if not found[0]["Internal"]:
        raise EngineError(
            f"The Docker network {NO_INTERNET!r} is not internal: containers in it would reach the internet. "
            f"Remove it (docker network rm {NO_INTERNET}); it is created anew when it is needed."
        )
    return str(found[0]["Id"])


def _create_no_internet(engine: Engine) -> str:
    with engine_errors(engine, f"Creating the network {NO_INTERNET}"):
        created = engine.client.create_network(
            NO_INTERNET,
            driver="bridge",
            internal=True,
            # Components of different jobs have nothing to say to each other.
            options={"com.docker.network.bridge.enable_icc": "false"},
            labels={f"{LABEL_PREFIX}network": NO_INTERNET},
        )["Id"]
    # Two runs at the same time can both have created one. Both then see the same oldest one; each takes its own away.
    chosen = _oldest_internal(_networks(engine, NO_INTERNET))
    if chosen != created:
        with engine_errors(engine, f"Removing a second network {NO_INTERNET}"):
            engine.client.remove_network(created)
    return chosen
