"""Follows a container that runs, whoever started it, and tells how it ended (CT-8, CT-12).

What it writes is listened to by whoever started it; everybody else, and who did not keep up, reads the log that the
engine keeps. Its end comes from the engine's word on the container: the verdict never depends on the log, and a slow
reader never slows the component.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from docker_runner.engine.client import Engine, engine_errors
from docker_runner.engine.container_logs import ContainerLog, LogReader
from docker_runner.engine.container_spec import ContainerOutcome
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.frames import Stream
from docker_runner.engine.live_output import LiveOutput
from docker_runner.engine.log_position import FIRST_BYTES, first_moment
from docker_runner.engine.signals import Signals, ToldToEndError
from docker_runner.engine.stored_log import KeptBytes, StoredLog
from docker_runner.engine.wire import LogStream, Wire
from docker_runner.errors import EngineError, RunnerError

logger = logging.getLogger(__name__)

# Exit code of a process that was killed by SIGKILL.
_KILLED = 137
# Until a killed container has ended; longer only happens with a broken engine.
_AFTER_KILL_SECONDS = 30
# An engine that goes down ends its containers first; asked anew it does not answer any more.
_ANSWER_SECONDS = 5
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True)
class Leaving:
    """When somebody else may take over.

    Attributes:
        after_seconds: first asked after this time.
        again_seconds: asked again after this time.
        may_leave: whether somebody does.
    """

    after_seconds: float
    may_leave: Callable[[], bool]
    again_seconds: float = 60.0


def watch(
    engine: Engine,
    container_id: str,
    log: ContainerLog,
    *,
    name: str,
    timeout_seconds: int,
    output: LiveOutput | None = None,
    leaving: Leaving | None = None,
    on_progress: Callable[[], None] = lambda: None,
    shown_whole: bool = False,
) -> ContainerOutcome | None:
    """Show what a container writes until it ends; kill it at its time limit.

    Args:
        engine: where it runs.
        container_id: the container, running or ended.
        log: takes what it writes, from its beginning.
        name: for messages.
        timeout_seconds: time limit, counted from its start; 0 is none.
        output: what it writes, listened to from its start; closed at the end.
        leaving: when to leave it to somebody else; None stays to the end.
        on_progress: called now and then after lines were shown.
        shown_whole: all that it wrote was shown before; it is read once more only if something went wrong.

    Returns:
        How it ended; None if it still runs and was left.

    Raises:
        EngineError: the engine is lost, or the container is gone.
        ToldToEndError: somebody else has told it to end.
    """
    doing = f"Running the container {name}"
    with output or nullcontext():
        with engine_errors(engine, doing):
            state = ContainerState.from_engine(engine.client.inspect_container(container_id))
        with Signals(Wire.of(engine), state) as signals:
            try:
                with engine_errors(engine, doing):
                    watching = _Watching(engine, state, log, name, timeout_seconds, output, leaving, on_progress)
                    needs_no_log = shown_whole and state.ended and state.exit_code == 0 and not state.oom_killed
                    if not needs_no_log and not watching.follow():
                        return None
                    outcome = watching.outcome()
            except EngineError:
                # An engine that is shut down tells its containers first.
                if signal := signals.told(seconds=0):
                    raise ToldToEndError(signal) from None
                raise
            if not (outcome.timed_out or outcome.oom_killed) and (signal := signals.told()):
                raise ToldToEndError(signal)
            return outcome


def watch_to_end(
    engine: Engine, container_id: str, log: ContainerLog, *, name: str, timeout_seconds: int, output: LiveOutput | None
) -> ContainerOutcome:
    """As :func:`watch`, without ever leaving it to somebody else."""
    outcome = watch(engine, container_id, log, name=name, timeout_seconds=timeout_seconds, output=output)
    if outcome is None:
        raise AssertionError("nobody was asked to leave")
    return outcome


class _Watching:
    def __init__(
        self,
        engine: Engine,
        state: ContainerState,
        log: ContainerLog,
        name: str,
        limit: int,
        output: LiveOutput | None,
        leaving: Leaving | None,
        on_progress: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._client = engine.client
        self._id = state.id
        self._log = log
        self._output = output
        self._reader = LogReader(log, live=output is not None)
        self._stored = StoredLog(state, log)
        self._wire = Wire.of(engine)
        self._name = name
        self._limit = limit
        self._began = time.monotonic() - max(time.time() - state.started, 0.0)
        self._deadline = self._began + limit if limit and state.running else None
        self._killed = False
        self._followed = False
        self._leaving = leaving
        self._leave_at = time.monotonic() + leaving.after_seconds if leaving else None
        self._on_progress = on_progress

    def follow(self) -> bool:
        """Take what it writes to the end; false if the container was left."""
        self._followed = True
        try:
            if self._output is not None:
                if not self._take(self._output):
                    return False
                if not self._output.fell_behind:
                    return True
            self._begin_stored()
            with LogStream(self._wire, self._stored.path()) as stream:
                return self._take(stream)
        finally:
            self._on_progress()

    def _take(self, source: LiveOutput | LogStream) -> bool:
        told = time.monotonic()
        while True:
            asked = time.time()
            data = source.read(_remaining(self._deadline, self._leave_at))
            if data == b"":
                return True
            self._stored.waited(asked)
            self._reader.feed(data or b"")
            now = time.monotonic()
            if data and now - told > _PROGRESS_SECONDS:
                self._stored.begins(self._first_moment)
                self._on_progress()
                told = now
            if self._deadline is not None and now >= self._deadline:
                self._kill()
            if self._leaving and self._leave_at is not None and now >= self._leave_at:
                if self._leaving.may_leave():
                    return False
                self._leave_at = now + self._leaving.again_seconds

    def _begin_stored(self) -> None:
        self._reader = self._stored.begin(self._reader, self._first_moment())

    def _first_moment(self) -> str:
        with LogStream(self._wire, self._stored.first_path()) as stream:
            return first_moment(stream.read_all(FIRST_BYTES))

    def outcome(self) -> ContainerOutcome:
        """Wait for the exit code, and tell how it ended."""
        exit_code = self._wait(self._deadline)
        if exit_code is None:
            self._kill()
            exit_code = self._wait(time.monotonic() + _AFTER_KILL_SECONDS)
        if exit_code is None:
            raise EngineError(f"The Docker engine does not end the container {self._name}.")
        if self._followed:
            self._complete_log()
        state = self._state()
        seconds = state.seconds if state else time.monotonic() - self._began
        oom_killed = state is not None and state.oom_killed
        timed_out = self._killed or (state is not None and state.at_time_limit(self._limit))
        if exit_code == _KILLED and not timed_out and not oom_killed:
            oom_killed = self._oom_event(state, seconds)
        if state is not None and state.was_stopped and not timed_out and not oom_killed:
            self._refuse_lost_engine()
        return ContainerOutcome(
            container_id=self._id,
            exit_code=exit_code,
            oom_killed=oom_killed,
            timed_out=timed_out,
            seconds=seconds,
            stdout_tail=self._log.tail(Stream.STDOUT),
            stderr_tail=self._log.tail(Stream.STDERR),
        )

    def _complete_log(self) -> None:
        """Take what the end of the stream may have cut off; a log that cannot be had changes no verdict."""
        try:
            with LogStream(self._wire, self._stored.tail_path()) as tail:
                lacks = self._reader.lacks(tail.read_all())
            if lacks:
                self._begin_stored()
                with LogStream(self._wire, self._stored.path(follow=False)) as whole:
                    while data := whole.read(None):
                        self._reader.feed(data)
            if self._stored.may_miss(self._reader):
                first, kept = self._first_moment(), KeptBytes()
                with LogStream(self._wire, self._stored.path(follow=False)) as whole:
                    while data := whole.read(None):
                        kept.feed(data)
                self._stored.tell_missing(self._reader, kept.count, first)
        except RunnerError as error:
            logger.warning("The end of the log of %s may be missing. %s", self._name, error)
        self._log.close()

    def _wait(self, until: float | None) -> int | None:
        """The exit code; None if the container still runs at ``until``."""
        from requests.exceptions import ConnectionError as ConnectionLost
        from requests.exceptions import Timeout

        # At least a moment: the engine notices the end of a process a little after the end of its output.
        remaining = None if until is None else max(math.ceil(until - time.monotonic()), 1)
        try:
            return int(self._client.wait(self._id, timeout=remaining)["StatusCode"])
        except (Timeout, ConnectionLost):
            # Docker-py reports both a limit that is reached and an engine that is gone as a lost connection.
            if until is None or time.monotonic() < until:
                raise
            return None

    def _kill(self) -> None:
        """Kill it at its time limit, unless it has ended by itself just before."""
        from docker.errors import APIError

        self._deadline = None
        try:
            self._client.kill(self._id)
        except APIError as error:
            if error.status_code != 409:
                raise
        else:
            self._killed = True

    def _state(self) -> ContainerState | None:
        """What the engine says; without its answer no want of memory is claimed (CT-8)."""
        try:
            with engine_errors(self._engine, f"Inspecting the container {self._name}"):
                return ContainerState.from_engine(self._client.inspect_container(self._id))
        except EngineError as error:
            logger.warning("%s", error.message)
            return None

    def _refuse_lost_engine(self) -> None:
        """An engine that is shut down ends its containers: that is no fault of the component's."""
        self._client.close()  # a connection that is open already would still be served
        answer = self._client.get(f"{self._client.base_url}/_ping", timeout=_ANSWER_SECONDS)
        answer.raise_for_status()

    def _oom_event(self, state: ContainerState | None, seconds: float) -> bool:
        """Whether the engine reported that memory ran out.

        When it learns of that only after the end of the process, it says so in its events but no more in the
        container's state.
        """
        now = time.time()
        # Times of the engine's own clock, where it has told them.
        begin, end = (state.started, state.finished + 1) if state else (now - seconds - 60, now)
        try:
            with engine_errors(self._engine, f"Looking for the end of the container {self._name}"):
                events: Any = self._client.events(
                    since=int(begin),
                    until=int(end) + 1,
                    filters={"container": self._id, "event": "oom"},
                    decode=True,
                )
                return any(True for _ in events)
        except EngineError as error:
            logger.warning("%s", error.message)
            return False


def _remaining(*moments: float | None) -> float | None:
    """Seconds until the first of these moments; None if there is none."""
    known = [moment for moment in moments if moment is not None]
    return max(min(known) - time.monotonic(), 0.001) if known else None
