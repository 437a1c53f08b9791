"""What a component cannot do, and what it can."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docker_runner.engine.client import Engine
from docker_runner.engine.containers import ContainerSpec, remove_containers
from docker_runner.engine.networks import NO_INTERNET, ensure_network
from docker_runner.errors import EngineError, UserError

pytestmark = pytest.mark.engine

Run = Callable[..., Any]


@pytest.mark.rules("CT-4", "DF-30", "D11")
def test_an_unprivileged_component_writes_its_data_and_has_no_capabilities(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data" / "in").mkdir()
    (tmp_path / "data" / "in" / "config.json").write_text("{}")
    ran = run(
        """
import json, os
os.makedirs("/data/out/tables"); open("/data/out/tables/a.csv", "w").write("id\\n1\\n")
open("/tmp/scratch", "w").write("x")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"uid": os.getuid(), "in": os.listdir("/data/in"), **{key: status[key].strip()
    for key in ("CapEff", "CapPrm", "CapBnd", "CapInh", "NoNewPrivs")}}))
"""
    )
    assert ran.outcome.exit_code == 0, ran.outcome.stderr_tail
    seen = json.loads(ran.outcome.stdout_tail)
    assert (tmp_path / "data" / "out" / "tables" / "a.csv").read_text() == "id\n1\n"
    assert (tmp_path / "tmp" / "scratch").read_text() == "x"
    assert seen["uid"] == (tmp_path / "data").stat().st_uid != 0
    assert {int(seen[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    assert seen["NoNewPrivs"] == "1"
    assert seen["in"] == ["config.json"]


@pytest.mark.rules("DF-31", "D11")
def test_a_component_as_root_gets_no_more_than_the_engines_usual_capabilities(run: Run) -> None:
    ran = run(
        """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), status["CapEff"].strip(), status["NoNewPrivs"].strip())
import ctypes
print(ctypes.CDLL(None).mount(b"none", b"/mnt", b"tmpfs", 0, None))
""",
        user=None,
    )
    identity, mounted = ran.stdout
    uid, capabilities, no_new_privileges = identity.split()
    assert (uid, no_new_privileges, mounted) == ("0", "1", "-1")
    assert int(capabilities, 16) & (1 << 21) == 0  # CAP_SYS_ADMIN


@pytest.mark.rules("D11")
def test_nothing_is_mounted_but_data_and_tmp_and_there_is_no_docker_socket(run: Run) -> None:
    ran = run(
        """
import os
for line in open("/proc/self/mountinfo"):
    left, right = line.split(" - ")
    if right.split()[0] in ("ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs"):
        print(left.split()[4])
print("socket", any(os.path.exists(p) for p in ("/var/run/docker.sock", "/run/docker.sock")))
"""
    )
    *mounts, socket = ran.stdout
    assert socket == "socket False"
    engines_own = {"/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    kernels = {mount for mount in mounts if mount.startswith(("/proc", "/sys", "/dev"))}
    assert set(mounts) - engines_own - kernels == {"/data", "/tmp"}


@pytest.mark.rules("D11")
def test_a_component_cannot_start_processes_without_end(run: Run) -> None:
    ran = run(
        """
import os, time
started = 0
try:
    while started < 100:
        if os.fork() == 0: time.sleep(5); os._exit(0)
        started += 1
except OSError as error:
    print("stopped", started < 40, error.errno)
os._exit(3)
""",
        pids_limit=40,
    )
    assert ran.stdout == ["stopped True 11"]
    assert ran.outcome.exit_code == 3


@pytest.mark.rules("CT-1", "CT-6", "CT-13", "CT-15")
def test_limits_labels_and_kernel_parameters_reach_the_engine(
    engine: Engine, spec: Callable[..., ContainerSpec]
) -> None:
    wanted = spec(
        memory_bytes=64 * 2**20,
        memory_swap_bytes=64 * 2**20,
        cpus=14,  # more than the machine has
        network="bridge",
        sysctls={"net.ipv4.tcp_keepalive_time": "60"},
    )
    container = engine.client.create_container_from_config(wanted.to_engine("bridge"), wanted.name)["Id"]
    found = engine.client.inspect_container(container)
    host = found["HostConfig"]
    assert (host["Memory"], host["PidsLimit"], host["CpuQuota"]) == (64 * 2**20, 4096, 14 * host["CpuPeriod"])
    assert host["Sysctls"] == {"net.ipv4.tcp_keepalive_time": "60"}
    assert host["NetworkMode"] == "bridge"
    assert not host["Privileged"]
    assert not host["AutoRemove"]
    assert found["Config"]["Labels"].items() >= wanted.labels.items()
    assert found["Config"]["User"] == wanted.user
    assert [(mount["Destination"], mount["RW"]) for mount in sorted(found["Mounts"], key=str)] == [
        ("/data", True),
        ("/tmp", True),
    ]


@pytest.mark.rules("CT-6")
def test_the_keepalive_of_connections_can_be_set(run: Run) -> None:
    ran = run(
        "print(open('/proc/sys/net/ipv4/tcp_keepalive_time').read())",
        sysctls={"net.ipv4.tcp_keepalive_time": "60"},
    )
    assert ran.stdout == ["60"]


ROUTES = "print([line.split()[0:2] for line in open('/proc/net/route').readlines()[1:] if line.split()[1] == '0' * 8])"


@pytest.mark.rules("CT-5")
def test_network_none_has_no_interface_but_its_own(run: Run) -> None:
    ran = run("import os; print(sorted(os.listdir('/sys/class/net')))\n" + ROUTES)
    assert ran.stdout[1] == "[]"
    assert "eth0" not in ran.stdout[0]


@pytest.mark.rules("CT-5")
def test_network_bridge_has_a_route_outside(run: Run) -> None:
    assert run(ROUTES, network="bridge").stdout == ["[['eth0', '00000000']]"]


@pytest.fixture
def listener(
    engine: Engine, spec: Callable[..., ContainerSpec], labels: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """A container that listens on port 8000 in a network of its own and in no-internet: network and both addresses."""
    inside = ensure_network(engine, NO_INTERNET)
    outside = engine.client.create_network(f"docker-runner-test-{next(iter(labels.values()))}")["Id"]
    listening = spec(
        "import socket, time; s = socket.create_server(('', 8000)); print('up', flush=True); time.sleep(600)"
    )
    config = listening.to_engine(outside)
    container = engine.client.create_container_from_config(config, f"{listening.name}-listener")["Id"]
    engine.client.connect_container_to_network(container, inside)
    engine.client.start(container)
    for _ in range(200):
        if engine.client.logs(container):
            break
        time.sleep(0.05)
    found = engine.client.inspect_container(container)["NetworkSettings"]["Networks"].values()
    addresses = {network["NetworkID"]: network["IPAddress"] for network in found}
    yield outside, addresses[outside], addresses[inside]
    remove_containers(engine, labels)
    engine.client.remove_network(outside)


CALL = """
import socket
for address in {addresses!r}:
    try: socket.create_connection((address, 8000), 1); print("reached")
    except OSError: print("not reached")
"""


@pytest.mark.rules("CT-5", "D10")
def test_network_no_internet_reaches_nothing_outside_and_no_other_component(
    run: Run, listener: tuple[str, str, str]
) -> None:
    network, *addresses = listener
    assert run(CALL.format(addresses=addresses[:1]), network=network).stdout == ["reached"]
    ran = run(
        CALL.format(addresses=addresses) + "import os; print('eth0' in os.listdir('/sys/class/net'))",
        network=NO_INTERNET,
    )
    assert ran.stdout == ["not reached", "not reached", "True"]


@pytest.mark.rules("D10")
def test_the_no_internet_network_is_found_again(engine: Engine) -> None:
    first = ensure_network(engine, NO_INTERNET)
    assert ensure_network(engine, NO_INTERNET) == first
    assert ensure_network(engine, first) == first
    found = engine.client.inspect_network(first)
    assert (found["Name"], found["Internal"]) == (NO_INTERNET, True)


@pytest.mark.parametrize("name", ["host", "container:abc", "", "default"])
def test_the_hosts_own_network_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(UserError, match="bridge, no-internet or none"):
        ensure_network(engine, name)


def test_an_unknown_network_is_named(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"no network 'absent-net'.*docker network create absent-net"):
        ensure_network(engine, "absent-net")


@pytest.mark.rules("CT-5")
def test_a_network_of_the_engine_can_be_used(engine: Engine, run: Run, labels: dict[str, str]) -> None:
    name = f"docker-runner-test-{next(iter(labels.values()))}"
    created = engine.client.create_network(name)["Id"]
    try:
        assert ensure_network(engine, name) == created
        assert run("print('there')", network=name).stdout == ["there"]
    finally:
        engine.client.remove_network(created)


def test_a_no_internet_network_with_internet_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner.engine import networks

    created = engine.client.create_network("docker-runner-test-open")["Id"]
    try:
        monkeypatch.setattr(networks, "NO_INTERNET", "docker-runner-test-open")
        with pytest.raises(EngineError, match="is not internal"):
            ensure_network(engine, "docker-runner-test-open")
    finally:
        engine.client.remove_network(created)


@pytest.mark.rules("D10")
def test_two_runs_that_both_create_the_network_use_the_same_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from docker_runner.engine import networks

    name = f"docker-runner-test-{next(iter(labels.values()))}"
    monkeypatch.setattr(networks, "NO_INTERNET", name)

    def ensure(_: int) -> str:
        with Engine.from_environment() as own:
            return ensure_network(own, name)

    with ThreadPoolExecutor(6) as pool:
        chosen = set(pool.map(ensure, range(6)))
    left = [network["Id"] for network in engine.client.networks() if network["Name"] == name]
    try:
        assert set(left) >= chosen
        assert ensure_network(engine, name) in chosen
    finally:
        for network in left:
            engine.client.remove_network(network)
