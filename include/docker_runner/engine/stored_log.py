"""The log that the engine keeps of a container: where to ask for it, and what it has lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from docker_runner.engine.container_logs import ContainerLog, LogReader
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.log_position import missing_bytes
from docker_runner.engine.wire import logs_path

logger = logging.getLogger(__name__)

# Who had to wait so long for more has seen everything.
_WAITED_SECONDS = 0.02
# Of a file's size; what the engine writes around the lines counts too.
_ALMOST_A_FILE = 0.7


class StoredLog:
    """The stored log of a container, and how far it was shown.

    Args:
        state: the container.
        log: takes what it writes.
    """

    def __init__(self, state: ContainerState, log: ContainerLog) -> None:
        self._id = state.id
        self._file_bytes = state.log_file_bytes
        self._log = log
        self._knows_beginning = bool(log.position.first)
        if not log.position.caught_up:
            log.caught_up(state.started)

    def path(self, *, follow: bool = True) -> str:
        """Where it is read from."""
        return logs_path(self._id, follow=follow, since=self._log.position.since)

    def first_path(self) -> str:
        """Where its first line is, with its time."""
        return logs_path(self._id, follow=False, since=self._log.position.since, times=True)

    def tail_path(self) -> str:
        """Where its last lines are."""
        return logs_path(self._id, follow=False, lines=LogReader.TAIL_LINES)

    def waited(self, asked: float) -> None:
        """Who asked for more at a moment has got it now."""
        if time.time() - asked > _WAITED_SECONDS:
            self._log.caught_up(asked)

    def begins(self, first: Callable[[], str]) -> None:
        """Keep in mind when its first line was written, before that is lost."""
        if not self._log.position.first:
            self.knows(first())

    def knows(self, first: str) -> None:
        """As :meth:`begins`, for whoever has asked already."""
        self._log.begins(first)
        self._knows_beginning = self._knows_beginning or bool(first)

    def begin(self, reader: LogReader, first: str) -> LogReader:
        """Be read from now on, by ``reader`` or, when a part is lost, by a new one; people are told of that.

        Args:
            reader: has taken what was written so far.
            first: when the first line that is still there was written; empty if there is none.
        """
        told = self._log.find_again(first)
        if told:
            logger.warning("%s", told)
            return LogReader(self._log)
        reader.begin_again()
        return reader

    def may_miss(self, reader: LogReader) -> bool:
        """Whether so much was read that the engine may have passed over something."""
        return 0 < self._file_bytes * _ALMOST_A_FILE < reader.stored

    def tell_missing(self, reader: LogReader, kept: int, first: str) -> None:
        """Tell people what of a large output is missing.

        Args:
            reader: has taken all that it was given.
            kept: bytes that the engine has.
            first: when the first line that it has was written.
        """
        whole = self._knows_beginning and first == self._log.position.first
        if told := missing_bytes(reader.taken, kept, whole=whole):
            logger.warning("%s", told)


class KeptBytes:
    """Counts what the engine has of both streams."""

    def __init__(self) -> None:
        self._frames = LogReader.stored_frames()
        self.count = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the engine's answer."""
        self.count += sum(len(content) for _, content in self._frames.feed(data))
