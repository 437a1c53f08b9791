"""A Docker engine of a test's own, which it may kill: nothing of it is shared with the machine's engine."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
from tests.end_to_end.running import until

_START_SECONDS = 120


class OwnEngine:
    """``dockerd`` with socket, folders, containers and network namespace of its own; its containers have no network.

    Args:
        images: images of the machine's engine that it gets.
    """

    def __init__(self, *images: str) -> None:
        # Paths of sockets must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="dr-engine-"))
        self._images = images
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False
        self.deaths = 0

    @property
    def address(self) -> str:
        """Its ``DOCKER_HOST``."""
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> OwnEngine:
        """Start it, also after it was killed, and wait until it answers.

        An engine gives the containerd that it starts 15 s, and ends when that is not enough: on a busy machine one more
        start helps.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self._launch()
            until(lambda: self.answers() or self._has_ended(), seconds=deadline - time.monotonic())
            if not self._has_ended():
                return self

    def _launch(self) -> None:
        # What its process left when it was killed; containers and their keepers go on.
        self._kill_processes("containerd")
        for name in ("docker.pid", "exec/containerd/containerd.pid", "exec/containerd/containerd.sock"):
            (self.folder / name).unlink(missing_ok=True)
        places = {
            "--host": self.address,
            "--data-root": self.folder / "data",
            "--exec-root": self.folder / "exec",
            "--pidfile": self.folder / "docker.pid",
            "--bridge": "none",
            "--log-level": "warn",
            "--storage-driver": "overlay2",
        }
        with (self.folder / "dockerd.log").open("ab") as log:
            # An engine without a bridge removes the one that it finds, which would be the machine's engine's.
            options = ["--iptables=false", *(f"{name}={value}" for name, value in places.items())]
            self._process = subprocess.Popen(
                ["unshare", "--net", "dockerd", *options], stdout=log, stderr=log, start_new_session=True
            )

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def load(self) -> None:
        """Copy its images."""
        for image in self._images:
            with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
                load = ["docker", "--host", self.address, "load"]
                subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
            assert saved.returncode == 0

    def answers(self) -> bool:
        """Whether it can be talked to; docker-py would leave a socket open for every time that it cannot."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            try:
                asking.connect(str(self.folder / "docker.sock"))
                asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in asking.recv(1024)
            except OSError:
                return False

    @contextlib.contextmanager
    def client(self) -> Any:
        """A connection to it."""
        client = docker.DockerClient(base_url=self.address, version="1.41")
        try:
            yield client
        finally:
            client.close()

    def log(self) -> str:
        """The end of what it said, and whether it runs."""
        code = self._process.poll() if self._process else None
        return f"dockerd: {'runs' if code is None else code}\n{(self.folder / 'dockerd.log').read_text()[-3000:]}"

    def kill(self) -> None:
        """Kill it with -9; its containers go on until it is started again."""
        assert self._process is not None
        self.deaths += 1
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def shut_down(self) -> None:
        """Tell it to end, as a machine that is shut down does: it tells its containers first."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._is_ending = True

    def stop(self) -> None:
        """End it with everything in it."""
        if self._process is None:
            return
        if self._is_ending:
            self.kill()  # it would wait for long
        if self._process.poll() is None:
            with contextlib.suppress(docker.errors.DockerException), self.client() as client:
                for container in client.containers.list(all=True):
                    container.remove(force=True)
            self._process.terminate()
            self._process.wait(timeout=60)
        # A dockerd that was killed leaves what it had started.
        self._kill_processes("")
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_processes(self, name: str) -> None:
        """Kill the processes of this engine whose program has this name, or all."""
        import psutil

        killed = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            command = process.info["cmdline"] or [""]
            if name in ("", Path(command[0]).name) and any(str(self.folder) in part for part in command):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed.append(process)
        # One that is still on its way out holds its database, and the next one would wait for that.
        psutil.wait_procs(killed, timeout=30)
