"""The performance targets of wsredis, and the verdicts of a run.

Each target compares figures of the same round and takes the median over the rounds, so a slow
minute of the machine affects both sides.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["TARGETS", "Target", "Verdict"]

Round = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Verdict:
    """The verdict of a run on a target."""

    text: str
    value: float
    reached: bool
    shown: str

    @property
    def word(self) -> str:
        """Return the verdict as a word that is easy to search for."""
        return "reached" if self.reached else "MISSED"


@dataclass(frozen=True)
class Target:
    """A performance target.

    Args:
        text: the description of what is compared; `{...}` is one of the sizes.
        limit: the maximum of the value, or with `at_least` the minimum.
        value: computes the value from a round; raises KeyError if a figure is missing.
        at_least: whether more is better.
        unit: the unit of the value.
    """

    text: str
    limit: float
    value: Callable[[Round], float]
    at_least: bool = False
    unit: str = ""

    def judge(self, rounds: Sequence[Round], sizes: Mapping[str, Any]) -> Verdict | None:
        """Return the verdict, or None if no round has all the figures."""
        found = []
        for figures in rounds:
            try:
                found.append(self.value(figures))
            except (KeyError, ZeroDivisionError):
                continue
        if not found:
            return None
        value = statistics.median(found)
        reached = value >= self.limit if self.at_least else value <= self.limit
        sign = "≥" if self.at_least else "≤"
        shown = f"{value:.2f}{self.unit} ({sign} {self.limit:g}{self.unit})"
        return Verdict(self.text.format(**sizes), value, reached, shown)


def times(figure: str, other: str, server: str = "wsredis") -> Callable[[Round], float]:
    """Return a function that computes the ratio of a figure of two servers."""
    return lambda r: r[server][figure] / r[other][figure]


def own(figure: str, scale: float = 1.0) -> Callable[[Round], float]:
    """Return a function that computes a scaled figure of wsredis."""
    return lambda r: r["wsredis"][figure] * scale


def best_peer(figure: str) -> Callable[[Round], float]:
    """Return a function that computes the ratio to the better one of nchan and Node."""
    return lambda r: r["wsredis"][figure] / min(r["nchan"][figure], r["node"][figure])


def growth(r: Round) -> float:
    """Return how the cost of a delivery grows with the subscribers, relative to the floor."""
    ours = r["wsredis"]["fan_huge_cpu"] / r["wsredis"]["fan_small_cpu"]
    return ours / max(1.0, r["floor"]["fan_huge_cpu"] / r["floor"]["fan_small_cpu"])


def workers(figure: str) -> Callable[[Round], float]:
    """Return a function for a second worker's extra cost, relative to the joining floor."""

    def value(r: Round) -> float:
        ours = r["wsredis2"][figure] / r["wsredis"][figure]
        return ours / max(1.0, r["floor2"][figure] / r["floor_join"][figure])

    return value


def workers_rate(r: Round) -> float:
    """Return the deliveries of two workers relative to one, if each had its own CPU."""
    if r["wsredis2"]["cpus"] < 2:
        raise KeyError("cpus")
    return r["wsredis2"]["saturated_rate"] / r["wsredis"]["saturated_rate"]


def crowd(r: Round) -> float:
    """Return the cost of a delivery beside idle sockets, relative to one without them."""
    return r["wsredis"]["crowd_small_cpu"] / r["wsredis"]["fan_small_cpu"]


def quotient(server: str, figure: str, other: str, its: str) -> Callable[[Round], float]:
    """Return a function that computes the ratio of a figure of a server to one of another."""
    return lambda r: r[server][figure] / r[other][its]


def consumer_targets(key: str, title: str) -> Iterator[Target]:
    """Yield the targets of our consumers on one server."""
    for name, size in (("hosted", "{hosted:,}"), ("hosted_large", "{large:,}")):
        for kind in ("sync", "async"):
            yield Target(
                f"{title}, {size}: CPU of {kind} consumers of Channels on uvicorn, times our sync",
                10,
                quotient("uvicorn", f"{name}_{kind}_cpu", key, f"{name}_sync_cpu"),
                at_least=True,
            )
        yield Target(
            f"{title}, {size}: CPU with a shared handler, times a broadcast",
            1.3,
            quotient(key, f"{name}_shared_cpu", key, f"{name}_plain_cpu"),
        )
    yield Target(
        f"{title}: memory of a connection", 12, lambda r: r[key]["idle_pss"] / 1024, unit=" KiB"
    )
    yield Target(
        f"{title}: CPU of a handshake", 300, lambda r: r[key]["handshake_cpu"] * 1e6, unit=" µs"
    )
    yield Target(
        f"{title}: latency while {{blocked}} others block: p99, times that without",
        1.5,
        quotient(key, "hosted_blocked_p99", key, "hosted_free_p99"),
    )


TARGETS = (
    *(
        Target(f"fan-out to {name}: CPU, times {title}", limit, times(figure, other), least)
        if not least
        else Target(
            f"fan-out to {name}: CPU of {title}, times ours",
            limit,
            times(figure, "wsredis", other),
            least,
        )
        for figure, name in (("fan_small_cpu", "{small:,}"), ("fan_large_cpu", "{large:,}"))
        for other, title, limit, least in (
            ("floor", "the floor", 1.15, False),
            ("nchan", "nchan", 1.0, False),
            ("uvicorn", "Channels on uvicorn", 30, True),
            ("socketio", "Flask-SocketIO", 3, True),
        )
    ),
    Target("{depths[0]} outstanding: CPU, times the floor", 0.15, times("saturated_cpu", "floor")),
    Target(
        "{depths[0]} outstanding: million deliveries per second and core",
        1.5,
        lambda r: 1e-6 / r["wsredis"]["saturated_cpu"],
        at_least=True,
    ),
    Target("4 outstanding: CPU, times the floor", 0.99, times("saturated4_cpu", "floor")),
    Target("2 outstanding: CPU, times the floor", 0.99, times("saturated2_cpu", "floor")),
    *(
        Target(f"{text} a broadcast to {{huge:,}}", 5, own(f"fair_{name}"), unit=" ms")
        for name, text in (
            ("unicast", "fairness: a unicast behind"),
            ("ping", "fairness: a ping during"),
            ("page", "fairness: a page during"),
        )
    ),
    *(
        Target(
            f"{text}: {part}, times the better of nchan and Node", 1, best_peer(f"{name}_{part}")
        )
        for name, text in (
            ("fan_small", "latency, {small:,}"),
            ("crowd_small", "latency, {small:,} beside {large:,} idle"),
            ("fan_large", "latency, {large:,}"),
            ("crowd_large", "latency, {large:,} beside {large:,} idle"),
        )
        for part in ("p50", "p99")
    ),
    Target(
        "latency while sockets come and go: p99, times that without",
        1.5,
        lambda r: r["wsredis"]["churn_p99"] / r["wsredis"]["fan_small_p99"],
    ),
    Target("idle: memory of a connection", 3, own("idle_pss", 1 / 1024), unit=" KiB"),
    Target("unicast: CPU, times Node", 1, times("unicast_cpu", "node")),
    Target("a delivery beside idle sockets: CPU, times that without", 1.1, crowd),
    Target("handshake: CPU, 128 at a time, times Node", 1.5, times("handshake_cpu", "node")),
    *(
        Target(f"handshake: {part}, {{storm:,}} at once, {state}, times Node", limit, found)
        for state, name in (("warm", "storm"), ("cold", "storm_cold"))
        for part, limit, found in (
            ("CPU", 1.5, times(f"{name}_cpu", "node")),
            ("p99", 1, times(f"{name}_p99", "node")),
        )
    ),
    Target("a delivery to {huge:,}, times one to {small:,}, over the floor's growth", 1.3, growth),
    Target("inbound: CPU of a message", 40, own("inbound_cpu", 1e6), unit=" µs"),
    Target("inbound: Redis round trips of a message", 2, own("inbound_trips")),
    Target(
        "compressed: CPU, times that of the same uncompressed",
        1.3,
        lambda r: r["wsredis"]["compressed_cpu"] / r["wsredis"]["middle_cpu"],
    ),
    Target(
        "two workers: fan-out, CPU, times one, over the floor's growth",
        1.1,
        workers("fan_small_cpu"),
    ),
    Target(
        "two workers: {depths[0]} outstanding, CPU, times one, over the floor's growth",
        1.1,
        workers("saturated_cpu"),
    ),
    *(
        Target(
            f"hosted on uWSGI: {text}, times uvicorn with the same layer",
            limit,
            times(figure, "uvicorn_layer", "uwsgi_hosted"),
        )
        for text, figure, limit in (
            ("CPU of a delivery by async consumers", "hosted_async_cpu", 1.1),
            ("CPU of a delivery by sync consumers", "hosted_sync_cpu", 1.3),
            ("CPU of a handshake", "handshake_cpu", 1),
        )
    ),
    Target(
        "hosted on uWSGI: memory of a connection",
        45,
        lambda r: r["uwsgi_hosted"]["idle_pss"] / 1024,
        unit=" KiB",
    ),
    *(
        target
        for key, title in (
            ("consumers", "consumers on uWSGI"),
            ("patched_consumers", "consumers on uWSGI, patched"),
        )
        for target in consumer_targets(key, title)
    ),
    Target("two workers: deliveries, times those of one", 1.8, workers_rate, at_least=True),
)
