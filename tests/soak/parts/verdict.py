"""The required state without clients and with many: comparisons of censuses, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MAY_GROW", "MEMORY", "left_behind", "mismatches", "not_given_back"]

CONTROL = "soak:control"
"""The control channel, to which every worker subscribes with its first websocket."""

OWN = "soak:asgispecific."
"""The beginning of the channels of asynchronous consumers, of which each has one."""

MAY_GROW = {
    **dict.fromkeys(("Receivers._spare", "Receiver objects", "_Reader objects"), 128),
    "_Deflate objects": 64,
    "ChannelRequest objects": 256,
    "Handler objects": 32,
    **dict.fromkeys(("connections to Redis", "ChannelOwner objects"), 64),
    "RedisClient._async_clients": 1,
    **dict.fromkeys(("RecentRevocations._by_age", "RecentRevocations.by_name"), 1000),
    **dict.fromkeys(("Recent objects", "Revocation objects"), 1000),
}
"""The maximum number of objects that are kept for reuse, and of revocations of five minutes.

Kept are also the handlers of each class, and a connection to Redis for each thread or task that has
published while others did.
"""

MEMORY: dict[str, tuple[str, int, float]] = {
    "blocks": ("Python's blocks", 6000, 0.1),
    "malloc": ("bytes from malloc", 2**21, 16.0),
    "anonymous": ("bytes from the system", 2**23, 64.0),
}
"""How much more memory than at the start is allowed: a constant, and for each socket since."""

Census = Mapping[str, Any]


def left_behind(
    start: Sequence[Census], now: Sequence[Census], redis: Mapping[str, int]
) -> list[str]:
    """Return what is left after all sockets have been closed; [] if nothing is.

    Args:
        start: each worker's census at an earlier time without clients.
        now: the same, now.
        redis: how many connections subscribe to each channel.
    """
    found = []
    for number, (before, after) in enumerate(zip(start, now, strict=True), 1):
        who = f"worker {number}"
        if before["pid"] != after["pid"]:
            found.append(f"{who} was replaced by another process")
        for name in ("channels", "connections", "send_buffer_bytes"):
            if after["stats"][name]:
                found.append(f"{who}: {name} is {after['stats'][name]}")
        if set(after["wanted"]) != {CONTROL}:
            found.append(f"{who}: the feed has {_some(set(after['wanted']) - {CONTROL})}")
        for name, size in after["held"].items():
            most = max(before["held"].get(name, 0), MAY_GROW.get(name, 0))
            if size > most:
                found.append(f"{who}: {name} is {size}, was {most}")
    if redis != {CONTROL: len(now)}:
        found.append(
            f"Redis has subscriptions to {_some(redis)}, not only one of each worker to {CONTROL}"
        )
    return found


def mismatches(
    wanted: set[str],
    sockets: int,
    now: Sequence[Census],
    redis: Mapping[str, int],
    own: int = 0,
) -> list[str]:
    """Return how the channels of clients, of workers and of Redis differ.

    Args:
        wanted: the channels of all open clients.
        sockets: their number.
        now: each worker's census.
        redis: how many connections subscribe to each channel.
        own: the number of open clients of asynchronous consumers.
    """
    found = []
    held = Counter(channel for worker in now for channel in worker["channels"])
    open_ = sum(worker["stats"]["connections"] for worker in now)
    if open_ != sockets:
        found.append(f"{sockets} clients are connected, but the workers have {open_} websockets")
    owned = {name for name in held if name.startswith(OWN)}
    if len(owned) != own:
        found.append(f"{own} asynchronous consumers are open, and have {len(owned)} channels")
    if odd := wanted ^ (set(held) - owned):
        found.append(f"clients and workers differ in {_some(odd)}")
    for number, worker in enumerate(now, 1):
        if odd := set(worker["wanted"]) ^ {*worker["channels"], CONTROL}:
            found.append(f"worker {number}'s hub and feed differ in {_some(odd)}")
    held[CONTROL] = len(now)
    if odd := {name for name in {*held, *redis} if held[name] != redis.get(name, 0)}:
        found.append(f"workers and Redis differ in {_some(odd)}")
    return found


def not_given_back(start: Sequence[Census], now: Sequence[Census]) -> list[str]:
    """Return the workers that use more memory than allowed for the sockets they have served."""
    found = []
    for number, (before, after) in enumerate(zip(start, now, strict=True), 1):
        served = after["stats"]["accepted"] - before["stats"]["accepted"]
        for name, (title, fixed, each) in MEMORY.items():
            grown = after["memory"][name] - before["memory"][name]
            most = fixed + each * served
            if grown > most:
                found.append(
                    f"worker {number}: {grown:,} more {title} after {served:,} sockets,"
                    f" at most {most:,.0f} are allowed"
                )
    return found


def _some(names: Any) -> str:
    names = sorted(names)
    return f"{len(names)} channels, such as {', '.join(names[:3])}" if names else "no channel"
