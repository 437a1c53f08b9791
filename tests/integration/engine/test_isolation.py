"""What a component cannot do, and what it can."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    for number in (12, 13, 21, 27):  # CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_MKNOD
        assert int(capabilities, 16) & (1 << number) == 0


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


@pytest.mark.rules("D11")
def test_a_program_that_makes_its_user_root_helps_nobody(run: Run, build: Callable[..., str]) -> None:
    image = build(
        "RUN cp $(readlink -f $(command -v python3)) /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root",
        """CMD ["as-root", "-uc", "import os; exec(os.environ['SCRIPT'])"]""",
    )
    ran = run("import os; print(os.geteuid() == os.getuid() != 0); os.setuid(0)", image=image)
    assert ran.stdout == ["True"]
    assert "PermissionError" in ran.outcome.stderr_tail


@pytest.mark.rules("D11")
@pytest.mark.parametrize("user", ["1000:1000", None])
def test_a_component_can_make_no_device_file_and_mount_nothing_not_even_as_root(run: Run, user: str | None) -> None:
    ran = run(
        """
import ctypes, os
for place in ("/data/disk", "/tmp/disk"):
    for kind, device in ((0o060000, os.makedev(8, 0)), (0o020000, os.makedev(1, 1))):
        try: os.mknod(place, kind | 0o600, device); print("made")
        except PermissionError: print("refused")
print(ctypes.CDLL(None).mount(b"/data", b"/mnt", b"", 4096, None))
print([name for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "mem", "kmsg", "loop"))])
""",
        user=user,
    )
    assert ran.stdout == [*["refused"] * 4, "-1", "[]"]


@pytest.mark.rules("D11")
def test_a_component_sees_no_process_and_no_variable_but_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "a-password-of-airflow")
    ran = run(
        """
import glob, os
print([name for name in os.listdir("/proc") if name.isdigit()] == [str(os.getpid())] == ["1"])
seen = open("/proc/1/environ").read() + "".join(open(path).read() for path in glob.glob("/proc/[0-9]*/environ"))
print(any(name.startswith(("AIRFLOW", "DOCKER_RUNNER")) for name in os.environ))
print("-".join(("a", "password", "of", "airflow")) in seen)
for path in ("/proc/1/root/../etc/shadow", "/proc/kcore", "/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper"):
    try: open(path, "w" if "/sys/" in path else "r").close(); print("opened", path)
    except OSError: pass
"""
    )
    assert ran.stdout == ["True", "False", "False"]


@pytest.mark.rules("D11")
def test_a_component_sees_its_own_folders_alone_however_it_asks(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "another-run"
    other.mkdir()
    (other / "config.json").write_text("of another run")
    (tmp_path / "data" / "mine").write_text("")
    ran = run(
        f"""
import os
os.symlink({str(other)!r}, "/data/link"); os.symlink("/data/../{other.name}/config.json", "/tmp/up")
for path in ({str(other)!r}, "/data/link/config.json", "/tmp/up", "/data/../{other.name}", "/var/run/docker.sock"):
    print(os.path.exists(path))
print(sorted(os.listdir("/data")))
"""
    )
    assert ran.stdout == [*["False"] * 5, "['link', 'mine']"]


@pytest.mark.rules("CT-7", "CT-13", "D11")
def test_the_limits_are_those_of_the_container_itself(run: Run) -> None:
    ran = run(
        """
import glob
def read(*names):
    return next((open(path).read().strip() for name in names for path in glob.glob("/sys/fs/cgroup/" + name)), "?")
print(read("memory.max", "memory/memory.limit_in_bytes"))
print(read("pids.max", "pids/pids.max"))
print(read("cpu.max", "cpu/cpu.cfs_quota_us"))
print(read("memory.swap.max", "memory/memory.memsw.limit_in_bytes"))
""",
        memory_bytes=64 * 2**20,
        memory_swap_bytes=64 * 2**20,
        pids_limit=77,
        cpus=0.5,
    )
    memory, pids, cpus, swap = ran.stdout
    assert (memory, pids, cpus.split()[0]) == (str(64 * 2**20), "77", "50000")
    # None beyond the memory, where the kernel counts swap at all.
    assert swap in ("0", str(64 * 2**20), "?")


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
    assert host["MemorySwap"] == 64 * 2**20
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
    for _ in range(2400):
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
def test_closed_networks_reach_nothing_outside_and_no_other_component(run: Run, listener: tuple[str, str, str]) -> None:
    network, *addresses = listener
    assert run(CALL.format(addresses=addresses[:1]), network=network).stdout == ["reached"]
    for closed, has_interface in ((NO_INTERNET, "True"), ("none", "False")):
        ran = run(
            CALL.format(addresses=addresses) + "import os; print('eth0' in os.listdir('/sys/class/net'))",
            network=closed,
        )
        assert ran.stdout == ["not reached", "not reached", has_interface]


METADATA = "169.254.169.254"


@pytest.fixture
def metadata_service() -> Iterator[bool]:
    """Gives this machine the address at which clouds tell a machine its secrets, where that is allowed."""
    can = os.geteuid() == 0 and subprocess.run(["ip", "addr", "add", f"{METADATA}/32", "dev", "lo"]).returncode == 0
    yield can
    if can:
        subprocess.run(["ip", "addr", "del", f"{METADATA}/32", "dev", "lo"], check=True)


def own_addresses() -> set[str]:
    """Every address of this machine: of all its interfaces, those of Docker's networks included."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    return {item.address for items in psutil.net_if_addrs().values() for item in items if item.family in families}


@contextmanager
def host_listening() -> Iterator[tuple[int, Callable[[], list[str]]]]:
    """A port on which this machine listens at every address, by TCP and by UDP; and what has arrived there since."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
    ):
        for one in (tcp, udp):
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        tcp.bind(("::", 0))
        udp.bind(("::", tcp.getsockname()[1]))
        tcp.listen(100)
        for one in (tcp, udp):
            one.setblocking(False)

        def arrived() -> list[str]:
            found = []
            with suppress(BlockingIOError):
                while True:
                    connection, _ = tcp.accept()
                    found.append(f"tcp to {connection.getsockname()[0].removeprefix('::ffff:')}")
                    connection.close()
            with suppress(BlockingIOError):
                while True:
                    udp.recv(1)
                    found.append("udp")
            return found

        yield tcp.getsockname()[1], arrived


# Tries every address by TCP and by UDP; what it reaches by UDP only the host can tell.
KNOCK = """
import socket
for address in {addresses!r}:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            family, _, _, _, place = socket.getaddrinfo(address, {port}, type=kind, flags=socket.AI_NUMERICHOST)[0]
            with socket.socket(family, kind) as s:
                s.settimeout(0.5)
                s.connect(place)
                s.send(b"x")
                if kind == socket.SOCK_STREAM: print("reached", address)
        except OSError: pass
"""


@pytest.mark.rules("CT-5", "D10")
@pytest.mark.parametrize("network", ["none", NO_INTERNET])
@pytest.mark.parametrize("user", ["1000:1000", None])
def test_a_closed_network_reaches_no_port_of_the_host_and_no_metadata_service(
    engine: Engine, run: Run, metadata_service: bool, network: str, user: str | None
) -> None:
    ensure_network(engine, NO_INTERNET)
    # As they are called here, and as a component would call what is at the other end of its own interface.
    own = {*own_addresses(), *(f"{item.partition('%')[0]}%eth0" for item in own_addresses() if "%" in item)}
    addresses = sorted({*own, METADATA, "169.254.170.2", "fd00:ec2::254", "8.8.8.8"})
    with host_listening() as (port, arrived):
        knock = KNOCK.format(addresses=addresses, port=port)
        # It does listen there: this very machine reaches it.
        subprocess.run([sys.executable, "-c", knock], check=True, capture_output=True, timeout=60)
        assert {*arrived()} >= {"tcp to 127.0.0.1", "udp", *[f"tcp to {METADATA}"] * metadata_service}
        ran = run(knock + "print(open('/proc/net/if_inet6').read().count('eth0'))", network=network, user=user)
        assert ran.outcome.exit_code == 0, ran.outcome.stderr_tail
        assert arrived() == []
    assert ran.stdout == ["0"]


@pytest.mark.rules("CT-5")
def test_a_component_in_the_open_network_reaches_the_ports_of_the_host(run: Run) -> None:
    """As documented; and without this the test above could be green because nothing ever arrives."""
    with host_listening() as (port, arrived):
        ran = run(KNOCK.format(addresses=sorted(own_addresses()), port=port), network="bridge")
        assert any(line.startswith("reached") for line in ran.stdout)
        came = arrived()
    assert "udp" in came
    assert any(item.startswith("tcp") for item in came)


@pytest.mark.rules("D11")
def test_a_component_as_root_makes_no_packets_of_its_own(run: Run) -> None:
    ran = run(
        """
import socket
for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW)):
    try: socket.socket(family, kind, 1); print("raw")
    except PermissionError: print("refused")
""",
        user=None,
        network=NO_INTERNET,
    )
    assert ran.stdout == ["refused", "refused"]


@pytest.mark.rules("D10")
def test_names_are_no_way_out_of_a_closed_network(engine: Engine, spec: Callable[..., ContainerSpec]) -> None:
    wanted = spec("print(open('/etc/resolv.conf').read())", network=NO_INTERNET)
    config = wanted.to_engine(ensure_network(engine, NO_INTERNET))
    container = engine.client.create_container_from_config(config, wanted.name)["Id"]
    # The engine's own name server asks this one from within the container, where nobody answers.
    assert engine.client.inspect_container(container)["HostConfig"]["Dns"] == ["127.0.0.1"]


@pytest.mark.rules("D10")
def test_a_no_internet_network_of_an_earlier_version_is_made_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]
) -> None:
    from docker_runner.engine import networks

    name = f"docker-runner-test-{next(iter(labels.values()))}"
    monkeypatch.setattr(networks, "NO_INTERNET", name)
    label = {"com.keboola.docker-runner.network": name}
    old = engine.client.create_network(name, internal=True, labels=label)["Id"]
    new = ensure_network(engine, name)
    try:
        assert new != old
        assert [item["Id"] for item in engine.client.networks() if item["Name"] == name] == [new]
    finally:
        engine.client.remove_network(new)


@pytest.mark.rules("D10")
def test_a_no_internet_network_of_somebody_else_that_is_open_to_the_host_is_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner.engine import networks

    created = engine.client.create_network("docker-runner-test-half-open", internal=True)["Id"]
    try:
        monkeypatch.setattr(networks, "NO_INTERNET", "docker-runner-test-half-open")
        with pytest.raises(EngineError, match="would reach the ports of the host"):
            ensure_network(engine, "docker-runner-test-half-open")
    finally:
        engine.client.remove_network(created)


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
