"""All numbers of a run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "TINY", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """The numbers of a run; times are in seconds, sizes in bytes, paces per second."""

    rounds: int = 3
    rounds_close: int = 5
    """Rounds of the servers that are compared closely, where noise could decide the order."""

    few: int = 100
    """Subscribers at the start of growth."""
    small: int = 1000
    """Subscribers of most scenarios."""
    large: int = 5000
    """Subscribers of the second fan-out, and idle sockets beside the subscribers."""
    huge: int = 10_000
    """Idle sockets, and subscribers at the end of growth."""
    huge_slow: int = 2000
    """Idle sockets of the servers that take long to open them."""
    storm: int = 2000
    """Handshakes that begin at once."""

    message: int = 100
    middle: int = 4096
    long: int = 65536
    """Sizes of a message."""

    deliveries_per_second: int = 50_000
    """Deliveries per second in the paced scenarios, for any number of subscribers."""
    paced_seconds: float = 1.3
    paced_least: int = 8
    paced_least_slow: int = 4
    """Minimum number of broadcasts in a paced scenario; the second is for slow servers."""
    load_limit: float = 0.5
    """Share of a CPU above which a server's pace is lowered."""
    long_messages: int = 8
    """Broadcasts of the long message."""

    depths: tuple[int, ...] = (16, 4, 2)
    """Outstanding broadcasts when saturated; the first is for all servers."""
    saturated_seconds: float = 1.0

    users: int = 2000
    unicasts_per_second: int = 4000
    unicast_seconds: float = 1.0
    groups: int = 2000
    group_members: int = 10
    group_messages_per_second: int = 1000

    speakers: int = 500
    spoken: int = 5000
    spoken_per_second: int = 5000

    hosted: int = 500
    """Sockets of an ASGI application, or of our consumers."""
    hosted_least: int = 20
    hosted_large_least: int = 3
    """Minimum number of messages to them, and to the large group."""
    blocked: int = 5
    """Consumers whose handlers block; less than the default of `handler_threads`."""

    fair_times: int = 7
    """Broadcasts in the fairness scenario."""

    churn_sockets: int = 200
    churn_per_second: int = 200

    skip: tuple[str, ...] = ()
    """Scenarios that are left out."""
    peers_skip: tuple[str, ...] = ()
    """Scenarios that run on wsredis and the floor only."""
    slow_skip: tuple[str, ...] = ()
    """Scenarios that are also left out for slow servers."""

    settle: float = 0.3
    """Pause before memory and CPU are read."""


FULL = Sizes()

QUICK = Sizes(
    rounds=1,
    rounds_close=1,
    huge_slow=500,
    paced_seconds=0.4,
    paced_least=3,
    paced_least_slow=3,
    long_messages=3,
    saturated_seconds=0.5,
    unicast_seconds=0.4,
    spoken=2500,
    hosted_least=5,
    fair_times=3,
    skip=("crowd_large", "hosted_large"),
    peers_skip=("lengths", "compressed", "groups", "inbound"),
    slow_skip=("storm", "fan_large", "unicast"),
    settle=0.2,
)

TINY = Sizes(
    rounds=1,
    rounds_close=1,
    few=5,
    small=20,
    large=40,
    huge=60,
    huge_slow=20,
    storm=30,
    deliveries_per_second=4000,
    paced_seconds=0.1,
    paced_least=3,
    paced_least_slow=3,
    long_messages=2,
    saturated_seconds=0.1,
    users=30,
    unicast_seconds=0.1,
    unicasts_per_second=1000,
    groups=20,
    group_members=4,
    group_messages_per_second=200,
    speakers=10,
    spoken=60,
    spoken_per_second=2000,
    hosted=20,
    hosted_least=3,
    blocked=2,
    fair_times=2,
    churn_sockets=5,
    churn_per_second=50,
    settle=0.05,
)
