"""Locks, ports and process groups: what starting and stopping a local Airflow safely needs of the operating system."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path, *, wait: float, shared: bool = False) -> Iterator[int | None]:
    """Hold a lock file.

    The lock belongs to the open file: a process that inherits the descriptor goes on holding it, so it is closed here
    and never unlocked.

    Args:
        path: the lock file; made when needed.
        wait: seconds to wait for another holder.
        shared: whether others that ask for a shared lock may hold it as well.

    Yields:
        The descriptor, or None when another holder has not let go in time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait
    try:
        while not _try_lock(descriptor, shared=shared):
            if time.monotonic() >= deadline:
                yield None
                return
            time.sleep(0.02)
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def can_listen(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as listener:
        # As the API server does it: connections of an earlier server that are still winding down do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    with contextlib.suppress(ChildProcessError):
        # One's own child that has ended exists until it is waited for.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def members_of(session: int) -> list[int]:
    """The processes of a session: all that were forked or started by its leader, dead or alive."""
    import psutil  # type: ignore[import-untyped]

    members = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
    return members


def tasks_of(session: int) -> list[int]:
    """The processes of a session in which Airflow tasks run.

    Airflow makes each of them, and nothing else, the leader of a process group of its own.
    """
    found = []
    for pid in members_of(session):
        with contextlib.suppress(ProcessLookupError):
            if pid not in (session,) and os.getpgid(pid) == pid:
                found.append(pid)
    return found


def send(signal_number: signal.Signals, pids: list[int]) -> bool:
    """Send a signal to processes that may be gone; return whether there was any."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
    return bool(pids)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def last_lines(path: Path, count: int) -> str:
    """The end of a log file, or nothing when there is none."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return b"\n".join(file.read().splitlines()[-count:]).decode(errors="replace")
    return ""
