"""Which configurations are read together: shards of about a hundred, however many there are.

A configuration's shard is told by its ids and the number of shards alone, the same on every machine. When a project
grows by a shard, only those configurations move that the new one takes (jump consistent hashing).
"""

from __future__ import annotations

from hashlib import blake2b

from docker_runner.project.entries import Key

SIZE = 100
"""Configurations in a shard, on average."""


def shard_count(configurations: int) -> int:
    """How many shards a project of this size has; an empty one has a shard too."""
    return max(-(-configurations // SIZE), 1)


def shard_of(key: Key, count: int) -> int:
    """The shard of a configuration, from 0.

    Args:
        key: its ids.
        count: the number of shards.
    """
    if count == 1:
        return 0
    state = int.from_bytes(blake2b("\0".join(key).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    shard, following = 0, 0
    while following < count:
        shard = following
        state = (state * 2862933555777941757 + 1) % 2**64
        following = int((shard + 1) * (2**31 / ((state >> 33) + 1)))
    return shard
