"""The networks that containers run in (CT-5, D10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from docker_runner.engine.client import Engine, engine_errors
from docker_runner.engine.container_spec import LABEL_PREFIX, NO_INTERNET
from docker_runner.errors import EngineError, UserError

_LABEL = f"{LABEL_PREFIX}network"
# The host gets no address in the network (Docker 20.10 and newer).
_NO_HOST = "com.docker.network.bridge.inhibit_ipv4"

# Known to every engine; nothing to prepare.
_BUILT_IN = ("none", "bridge")


def ensure_network(engine: Engine, name: str) -> str:
    """The network that a container of a component with ``network: name`` is to be connected to.

    ``none`` and ``bridge`` are the engine's own. ``no-internet`` is an internal network without a route to anywhere,
    in which containers reach neither each other nor the host; it is created when it is not there. Any other name must
    be a network of the engine.

    Returns:
        What the engine takes as network mode. For a network it is the id: several of one name can exist.

    Raises:
        UserError: there is no such network, or it would give the container the host's own network.
        EngineError: the engine fails, or its ``no-internet`` network is not an internal one or open to the host.
    """
    if name in _BUILT_IN:
        return name
    if name in ("host", "default", "") or ":" in name:
        raise UserError(f"A component cannot run in the network {name!r}; use bridge, no-internet or none.")
    found = _networks(engine, name)
    if name == NO_INTERNET:
        outdated = [network for network in found if _is_outdated(network)]
        if outdated:
            return _replaced(engine, outdated)
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
    if not _is_closed(found[0]):
        raise EngineError(
            f"In the Docker network {NO_INTERNET!r} containers would reach the ports of the host: it lacks the option "
            f"{_NO_HOST}=true. Remove it (docker network rm {NO_INTERNET}); it is created anew when it is needed."
        )
    return str(found[0]["Id"])


def _is_closed(network: Mapping[str, Any]) -> bool:
    """Whether the host has no address in it; of other drivers than bridge it has none anyway."""
    options = network.get("Options") or {}
    return network["Driver"] != "bridge" or options.get(_NO_HOST) == "true"


def _is_outdated(network: Mapping[str, Any]) -> bool:
    """Whether an earlier version of the runner made it, open to the host."""
    return (network.get("Labels") or {}).get(_LABEL) == NO_INTERNET and not _is_closed(network)


def _replaced(engine: Engine, outdated: Sequence[Mapping[str, Any]]) -> str:
    """Make the network anew; while containers are in the old one nobody can."""
    from docker.errors import NotFound

    with engine_errors(engine, f"Making the network {NO_INTERNET} anew, closed to the ports of the host,"):
        for network in outdated:
            with suppress(NotFound):  # another run was faster
                engine.client.remove_network(network["Id"])
    return _create_no_internet(engine)


def _create_no_internet(engine: Engine) -> str:
    with engine_errors(engine, f"Creating the network {NO_INTERNET}"):
        created = engine.client.create_network(
            NO_INTERNET,
            driver="bridge",
            internal=True,
            # Components of different jobs have nothing to say to each other, nor to what listens on the host, which
            # would otherwise be the gateway of an internal network too.
            options={"com.docker.network.bridge.enable_icc": "false", _NO_HOST: "true"},
            labels={_LABEL: NO_INTERNET},
        )["Id"]
    # Two runs at the same time can both have created one. Both then see the same oldest one; each takes its own away.
    chosen = _oldest_internal(_networks(engine, NO_INTERNET))
    if chosen != created:
        with engine_errors(engine, f"Removing a second network {NO_INTERNET}"):
            engine.client.remove_network(created)
    return chosen


def addresses(engine: Engine, container: str) -> tuple[str, frozenset[str]] | None:
    """Id and addresses of a container, by its name or id; None while it does not run.

    Raises:
        EngineError: the engine fails.
    """
    from docker.errors import NotFound

    with engine_errors(engine, f"Looking for the addresses of {container}"):
        try:
            found = engine.client.inspect_container(container)
        except NotFound:
            return None
    if not found["State"]["Running"]:
        return None
    networks = found["NetworkSettings"]["Networks"].values()
    return str(found["Id"]), frozenset(network["IPAddress"] for network in networks if network["IPAddress"])


def host_address(engine: Engine, name: str) -> str:
    """The address under which containers in a network reach the host (LG-5); empty when they do not reach it.

    Args:
        engine: where the network is.
        name: a component's network, see :func:`ensure_network`.
    """
    from ipaddress import ip_network

    if name == "none":
        return ""
    network_id = ensure_network(engine, name)
    with engine_errors(engine, f"Inspecting the network {name}"):
        network = engine.client.inspect_network(network_id)
    if network["Driver"] != "bridge" or (network.get("Options") or {}).get(_NO_HOST) == "true":
        return ""
    for config in network["IPAM"]["Config"] or ():
        if ":" not in config["Subnet"]:
            # The default network of some engines does not tell its gateway, which is its first address.
            return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))
    return ""
