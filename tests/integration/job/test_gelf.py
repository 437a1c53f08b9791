"""Components that log with the clients that people really use: pygelf, logging_gelf, keboola.component."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.installation import SCRIPT, SCRIPT_DOCKERFILE, Installation
from tests.integration.job.test_supervision import Run

from docker_runner.engine.client import Engine
from docker_runner.engine.gelf import PORTS, Transport, _listening
from docker_runner.engine.networks import host_address
from docker_runner.interface.result import FailedComponentError
from docker_runner.job.steps import clean_up

pytestmark = pytest.mark.engine

COMPONENT = "test.gelf"
IMAGE = "docker-runner-test/gelf"
SECRET = "the secret & value"

PYGELF = """
import logging, os, pygelf
handler = pygelf.{handler}(host=os.environ['KBC_LOGGER_ADDR'], port=int(os.environ['KBC_LOGGER_PORT']),
                           include_extra_fields=True, _app='shop')
"""
LOGGING_GELF = """
import logging, os
from logging_gelf.formatters import GELFFormatter
from logging_gelf.handlers import GELFTCPSocketHandler, GELFUDPSocketHandler
handler = {handler}(host=os.environ['KBC_LOGGER_ADDR'], port=int(os.environ['KBC_LOGGER_PORT']))
handler.setFormatter(GELFFormatter(null_character={null}))
"""
TALK = """
log = logging.getLogger('component')
log.addHandler(handler); log.setLevel(1)
secret = c['parameters'].get('#secret', '')
log.debug('looking')
log.info('reading with %s', secret, extra={'user': secret})
log.warning('slow\\nbut sure')
log.error('long ' + 'x' * 20000)
log.critical('inner details')
print('to stdout')
"""


@pytest.fixture(scope="session", autouse=True)
def gelf_image() -> None:
    """An image of components in Python with both clients; those of this environment are put into it."""
    context = io.BytesIO()
    lines = [SCRIPT_DOCKERFILE.format(base="docker-runner/python-component:latest").replace("\nCMD", "\n{copies}\nCMD")]
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name in ("logging_gelf", "marshmallow"):
            package = importlib.util.find_spec(name)
            assert package
            assert package.origin
            archive.add(Path(package.origin).parent, name)
            lines.append(f"COPY {name} /opt/packages/{name}")
        dockerfile = lines[0].replace("{copies}", "\n".join(lines[1:])).encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    client = docker.from_env()
    try:
        context.seek(0)
        client.images.build(fileobj=context, custom_context=True, tag=f"{IMAGE}:latest", rm=True)
    finally:
        client.close()


@pytest.fixture
def gelf(installation: Installation) -> Gelf:
    return Gelf(installation)


class Gelf:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def run(self, script: str, *, network: str = "bridge", transport: str = "tcp", **more: Any) -> list[str]:
        """Run a component; give what it said, without what the runner said."""
        definition = {"type": "dockerhub", "uri": IMAGE, "pull_policy": "never"}
        logging = {"type": "gelf", "gelf_server_type": transport, **more}
        self.installation.component(COMPONENT, {"definition": definition, "network": network, "logging": logging})
        parameters = {"#secret": self.installation.cipher(SECRET, component=COMPONENT), "script": script}
        self.installation.configuration("main", {"parameters": parameters}, component=COMPONENT)
        try:
            self.installation.run("main", component=COMPONENT)
        finally:
            lines = self.installation.lines
        begin = next(index for index, line in enumerate(lines) if line.startswith("Running "))
        end = next(
            (i for i, line in enumerate(lines) if line.startswith(f"{COMPONENT} ({IMAGE}:latest) finished")), len(lines)
        )
        return lines[begin + 1 : end]


CLIENTS = [
    ("tcp", PYGELF.format(handler="GelfTcpHandler")),
    ("udp", PYGELF.format(handler="GelfUdpHandler")),
    ("http", PYGELF.format(handler="GelfHttpHandler")),
    ("tcp", LOGGING_GELF.format(handler="GELFTCPSocketHandler", null=True)),
    ("tcp", LOGGING_GELF.format(handler="GELFTCPSocketHandler", null=False)),
    ("udp", LOGGING_GELF.format(handler="GELFUDPSocketHandler", null=False)),
]


@pytest.mark.rules("LG-5", "LG-9", "LG-12", "CD-20", "CD-21", "CD-22", "EV-17", "LG-22")
@pytest.mark.parametrize(("transport", "client"), CLIENTS)
def test_what_a_client_sends_is_shown_by_its_level_with_the_secrets_hidden(
    gelf: Gelf, transport: str, client: str
) -> None:
    said = gelf.run(client + TALK, transport=transport, verbosity={"200": "verbose"})
    said.remove("to stdout")
    assert said[0].startswith("reading with [hidden] {")
    assert '"_user": "[hidden]"' in said[0] or "logging_gelf" in client
    assert said[1:] == [
        "slow\nbut sure",
        "long " + "x" * 20000,
        f"Application error: ask whoever maintains the component {COMPONENT} for help.",
    ]
    assert SECRET not in "".join(gelf.installation.lines)


@pytest.mark.rules("EV-17", "CD-20")
def test_keboolas_own_package_finds_the_server_by_itself(gelf: Gelf) -> None:
    said = gelf.run(
        """
import logging
from keboola.component.base import ComponentBase
class Component(ComponentBase):
    def run(self):
        logging.info('from the package')
        logging.warning('mind the gap')
Component().run()
"""
    )
    assert said[-2:] == ["from the package", "mind the gap"]


@pytest.mark.rules("CT-35", "CT-32", "LG-22")
def test_a_component_that_fails_without_a_word_fails_with_its_last_warning(gelf: Gelf) -> None:
    client = CLIENTS[0][1]
    with pytest.raises(FailedComponentError) as failed:
        gelf.run(client + TALK.replace("print('to stdout')", "log.error('no %s', secret); log.info('bye'); exit(1)"))
    assert failed.value.args[0] == "no [hidden]"


@pytest.mark.rules("LG-6")
def test_the_outputs_of_a_component_with_gelf_logging_are_shown_too(gelf: Gelf) -> None:
    # Two outputs have no order between them.
    assert sorted(gelf.run("import sys; print('out', flush=True); print('err', file=sys.stderr)")) == ["err", "out"]


@pytest.mark.rules("LG-8")
def test_a_message_in_the_name_of_another_container_is_dropped(gelf: Gelf) -> None:
    said = gelf.run(
        """
import json, os, socket
s = socket.create_connection((os.environ['KBC_LOGGER_ADDR'], int(os.environ['KBC_LOGGER_PORT'])))
for host in ('abcdef012345', socket.gethostname()):
    s.sendall(json.dumps({'host': host, 'level': 6, 'timestamp': 1, 'short_message': 'by ' + host}).encode() + b'\\0')
"""
    )
    assert said[0] == "A GELF message was dropped: its host is not the container's id."
    assert [line[:3] for line in said[1:]] == ["by "]


@pytest.mark.rules("EV-17")
@pytest.mark.parametrize("network", ["none", "no-internet"])
def test_a_component_in_a_network_that_is_closed_to_the_host_logs_to_its_outputs(gelf: Gelf, network: str) -> None:
    said = gelf.run("import os; print(sorted(n for n in os.environ if 'LOGGER' in n))", network=network)
    assert said[-1] == "[]"
    told = f"{COMPONENT} gets no GELF server: its network {network} is closed to the host. It logs to its outputs."
    assert told in gelf.installation.lines


@pytest.mark.rules("EV-17")
def test_a_component_with_standard_logging_is_told_of_no_server(gelf: Gelf) -> None:
    assert gelf.run("import os; print('KBC_LOGGER_ADDR' in os.environ)", type="standard") == ["False"]


NUMBERS = """
import time
log = logging.getLogger('component')
log.addHandler(handler); log.setLevel(1)
for number in range(60):
    try: log.info('number %d', number)
    except OSError: pass  # pygelf over HTTP fails when nobody is there
    time.sleep(0.2)
open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')
"""


@pytest.mark.rules("LG-5", "EV-17")
@pytest.mark.thorough
@pytest.mark.parametrize(("transport", "client"), CLIENTS[:3])
def test_after_its_worker_was_killed_a_component_sends_to_the_same_place_and_is_heard(
    installation: Installation, transport: str, client: str
) -> None:
    definition = {"type": "dockerhub", "uri": IMAGE, "pull_policy": "never"}
    logging = {"type": "gelf", "gelf_server_type": transport}
    installation.component(SCRIPT, {"definition": definition, "network": "bridge", "logging": logging})
    installation.configuration("main", {"parameters": {"script": client + NUMBERS}})
    run = Run(installation, "main", installation.job("main").id)
    with Engine.from_environment() as engine:
        # Taken while the component starts and free afterwards, so that the first free port is another one then.
        taken = _listening(Transport(transport), host_address(engine, "bridge"), PORTS)
    try:
        with taken:
            run.begin()
            run.die("docker_runner.job.stages:_watch")
        assert run.record is not None
        port = run.record.gelf_port
        assert port
        assert run.step()["exit_code"] == 0
        assert run.record.gelf_port == port
        numbers = [int(line.split()[1]) for line in run.lines if line.startswith("number ")]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 59
        if transport != "http":  # whose client gives up by itself on a machine that is slow
            assert numbers == list(range(numbers[0], 60)), "from where it was heard again nothing is missing"
    finally:
        clean_up(run.workspace, installation.tools())


@pytest.mark.rules("LG-16", "CD-21")
def test_the_main_components_verbosity_counts_for_processors_too(installation: Installation) -> None:
    quiet = {"network": "none", "logging": {"verbosity": {"200": "none"}}}
    installation.component("test.quiet", quiet)
    installation.component("test.loud", {"network": "none"})
    speaks = {"definition": {"component": "test.loud"}, "parameters": {"script": "print('as a ' + 'processor')"}}
    for component in ("test.quiet", "test.loud"):
        installation.configuration(
            "main",
            {"parameters": {"script": "print('as the ' + 'component')"}, "processors": {"before": [speaks]}},
            component=component,
        )
        installation.lines.clear()
        installation.run("main", component=component)
        said = [line for line in installation.lines if line in ("as a processor", "as the component")]
        assert said == ([] if component == "test.quiet" else ["as a processor", "as the component"])
