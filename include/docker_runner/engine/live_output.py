"""What a container writes, at the moment it writes it.

The engine's stored log is read and sent line by line, which takes longer than most components take to write. Whoever
is there from the start listens instead, several times faster. But the engine makes a component wait for a listener who
does not keep up. So a thread does nothing but listen, and what nobody has taken yet waits in a file.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import IO
from urllib.parse import quote

from docker_runner.engine.wire import LogStream, Wire

# What waits in memory, and what then waits on disk; more is left to the stored log.
_MEMORY_BYTES = 4 * 2**20
_FILE_BYTES = 2**30
# Given at once: enough to make every call worth it, little enough that lines appear as they are written.
_GIVEN_BYTES = 2**18


class LiveOutput:
    """Listens to a container from before its start.

    Args:
        wire: the engine.
        container_id: a container that has not been started yet.
        folder: where what waits is kept, in a file without a name that is gone with this process.
        memory_bytes: how much waits in memory before it goes there.
        file_bytes: how much waits there at most.

    Raises:
        EngineError: the engine does not answer.
    """

    def __init__(
        self,
        wire: Wire,
        container_id: str,
        folder: Path,
        *,
        memory_bytes: int = _MEMORY_BYTES,
        file_bytes: int = _FILE_BYTES,
    ) -> None:
        path = f"/containers/{quote(container_id)}/attach?stream=1&stdout=1&stderr=1"
        self._stream = LogStream(wire, path, method="POST")
        self._waiting = _Waiting(folder, memory_bytes, file_bytes)
        self._changed = threading.Condition()
        self._ended = False
        self.fell_behind = False
        self._thread = threading.Thread(target=self._listen, name=f"listen-{container_id[:12]}", daemon=True)
        self._thread.start()

    def read(self, seconds: float | None) -> bytes | None:
        """The engine's next frames, cut anywhere; nothing at the end, None when there was nothing in this time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._ended, timeout=seconds):
                return None
            return self._waiting.take()

    def close(self) -> None:
        """Listen no more."""
        self._stream.close()
        self._thread.join()
        self._waiting.close()

    def __enter__(self) -> LiveOutput:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        try:
            while data := self._stream.read(None):
                with self._changed:
                    if not self._waiting.add(data):
                        self.fell_behind = True
                        break
                    self._changed.notify()
        except OSError:
            self.fell_behind = True  # it was closed, or the disk is full: the stored log has the rest
        finally:
            self._stream.hang_up()
            with self._changed:
                self._ended = True
                self._changed.notify()


class _Waiting:
    """Bytes in their order: the oldest in memory, the others in a file that is emptied whenever all were taken."""

    def __init__(self, folder: Path, memory_bytes: int, file_bytes: int) -> None:
        self._folder = folder
        self._most_in_memory = memory_bytes
        self._most_in_file = file_bytes
        self._memory: deque[bytes] = deque()
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0

    def __bool__(self) -> bool:
        return bool(self._memory) or self._begin < self._end

    def add(self, data: bytes) -> bool:
        """Keep bytes; false if there is no more room."""
        if self._begin == self._end and self._in_memory < self._most_in_memory:
            self._memory.append(data)
            # A small piece takes some memory too.
            self._in_memory += len(data) + 64
            return True
        if self._end + len(data) > self._most_in_file:
            return False
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - see close()
        self._file.seek(self._end)
        self._file.write(data)
        self._end += len(data)
        return True

    def take(self) -> bytes:
        """The next bytes, some of them at once; none if there are none."""
        if self._memory:
            taken = [self._memory.popleft()]
            size = len(taken[0])
            while self._memory and size + len(self._memory[0]) <= _GIVEN_BYTES:
                taken.append(self._memory.popleft())
                size += len(taken[-1])
            self._in_memory -= size + 64 * len(taken)
            return b"".join(taken)
        if self._file is None or self._begin == self._end:
            return b""
        self._file.seek(self._begin)
        data = self._file.read(min(_GIVEN_BYTES, self._end - self._begin))
        self._begin += len(data)
        if self._begin == self._end:
            self._begin = self._end = 0
            self._file.truncate(0)
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
