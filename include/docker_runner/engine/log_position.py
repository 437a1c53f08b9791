"""How far a container's log has been shown, and what the engine has dropped of it meanwhile.

An engine keeps a container's output in files of a certain size and drops the oldest when there are too many. Bytes that
were counted from the beginning mean nothing any more then; what is left is to go on by time, and to say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

_KEPT = "The Docker engine keeps only the last part of a long output, and has dropped the beginning of this one."
# Clocks of two readings; lines that were written within it may be shown twice.
_MARGIN_SECONDS = 0.1

# So much of a log with times says when its first line was written.
FIRST_BYTES = 48


@dataclass(frozen=True)
class LogPosition:
    """A place in the log that an engine keeps of a container.

    Attributes:
        shown: how many bytes of each stream have been shown, counted from ``since``.
        since: the moment from which is counted, in seconds since 1970; empty is the log's beginning.
        first: when the first line from there on was written, in the engine's words; empty if it is not known.
        caught_up: when all that had been written by then was shown, in seconds since 1970.
    """

    shown: Mapping[str, int] = field(default_factory=dict)
    since: str = ""
    first: str = ""
    caught_up: float = 0.0

    def found_again(self, first: str) -> tuple[LogPosition, str]:
        """Where to go on, and what people must be told if that is not where it was left.

        Args:
            first: when the first line from ``since`` on that the engine still has was written; empty if there is none.
        """
        if not self.first or first == self.first:
            return (replace(self, first=first) if first else self), ""
        position = LogPosition(since=f"{max(self.caught_up - _MARGIN_SECONDS, 0):.9f}", caught_up=self.caught_up)
        begins = moment(first) if first else self.caught_up
        if begins <= self.caught_up:
            return position, f"{_KEPT} Nothing is missing here, but some lines may be shown a second time."
        return replace(position, first=first), (
            f"{_KEPT} What was written from {_clock(self.caught_up)} to {_clock(begins)} "
            f"({begins - self.caught_up:.1f} s) is missing here."
        )


def moment(text: str) -> float:
    """A time of the engine, ``2026-11-25T19:18:01.892963841Z``; its zero is 0."""
    if text.startswith("0001-"):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def first_moment(frames: bytes) -> str:
    """When the first line was written, of a log that was asked for with its times; empty if there is no line."""
    text, space, _ = frames[8:].partition(b" ")
    return text.decode("ascii", "replace") if space else ""


def missing_bytes(taken: int, kept: int, *, whole: bool) -> str:
    """What people must be told at the end of an output that filled more than one file.

    A reader that falls behind the component by more than a file misses what is between, without a word of the engine.

    Args:
        taken: bytes that were read.
        kept: bytes that the engine has.
        whole: it still has the beginning.
    """
    if whole:
        missing = kept - taken
        return (
            f"{missing:,} bytes of this output are missing above: it came faster than it could be read."
            if (missing > 0)
            else ""
        )
    return f"{_KEPT} It has read {taken:,} bytes as they came; whether that is all cannot be told any more."


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S.%f")[:-3] + " UTC"
