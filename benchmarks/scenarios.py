"""The scenarios of the benchmark, a function for each; README.md explains them.

A function gets a stage and returns its figures: CPU in seconds per action, times in milliseconds,
memory in bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from probe import Probe, page_seconds
from processes import Load
from stage import Figures, Stage

__all__ = ["FRESH", "SCENARIOS"]

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
FORERUN_SECONDS = 0.003  # from a broadcast to the ping or request behind it
POLL_SECONDS = 0.005
PROBE_TRIES = 10
INBOUND_SECONDS = 30.0

FRESH = ("idle", "growth", "fairness")
"""The scenarios on a separate server: memory that others have freed would hide a growth."""


def named(prefix: str, figures: Figures, *keys: str) -> Figures:
    """Return figures under longer names: `cpu` becomes `prefix_cpu`."""
    return {f"{prefix}_{key}": figures[key] for key in keys or figures}


def fan(stage: Stage, load: Load, size: int = 0, only: int = 0) -> Figures:
    """Broadcast at a pace for a given number of deliveries per second, or only `only` messages."""
    sizes = stage.sizes
    rate = sizes.deliveries_per_second / load.connections
    least = sizes.paced_least_slow if stage.server.slow else sizes.paced_least
    seconds, least = (0.0, only) if only else (sizes.paced_seconds, least)
    count = load.connections
    return stage.paced(load, ["bench"], count, rate=rate, seconds=seconds, least=least, size=size)


def idle(stage: Stage) -> Figures:
    """Open many sockets and measure the memory."""
    count = stage.sizes.huge_slow if stage.server.slow else stage.sizes.huge
    pss, cpu = stage.pss(), stage.cpu_seconds()
    load = stage.load([["bench"]] * count)
    try:
        stage.rest()
        found = {
            "handshake_cpu": (stage.cpu_seconds() - cpu) / count,
            "idle_pss": (stage.pss() - pss) / count,
        }
        stage.ready(load, ["bench"], count)
    except BaseException:
        load.__exit__(None, None, None)
        raise
    stage.adopt(load, "bench")
    return found


def growth(stage: Stage) -> Figures:
    """Broadcast to all sockets."""
    return named("fan_huge", fan(stage, stage.audience(stage.sizes.huge)), "cpu")


def fairness(stage: Stage) -> Figures:
    """Measure a message for one socket, a ping and a request for a page behind a broadcast."""
    count = stage.sizes.huge_slow if stage.server.slow else stage.sizes.huge
    load = stage.audience(count)
    waits: dict[str, list[float]] = {"unicast": [], "ping": [], "page": [], "whole": []}
    with Probe(stage.place.port, stage.server.target(["u7"])) as probe:
        for _ in range(PROBE_TRIES):  # a server may subscribe after the handshake
            stage.publish(["u7"])
            if probe.hears(1.0):
                break
        else:
            raise RuntimeError("the probe receives no messages")
        for kind in ("unicast", "ping", "page") * stage.sizes.fair_times:
            load.mark()
            load.watch(count)
            began = time.monotonic()
            if kind == "unicast":
                stage.publish(["bench", "u7"])
                probe.wait_for(1)
                waited = time.monotonic() - began
            else:
                stage.publish(["bench"])
                time.sleep(FORERUN_SECONDS)
                then = time.monotonic()
                if kind == "ping":
                    probe.ping()
                    probe.wait_for(10)
                else:
                    page_seconds(stage.place.port)
                waited = time.monotonic() - then
            waits[kind].append(waited)
            load.progress()
            waits["whole"].append(load.stat()["max_ms"] / 1e3)
    return {f"fair_{kind}": statistics.median(found) * 1e3 for kind, found in waits.items()}


def storm(stage: Stage) -> Figures:
    """Open many sockets at once: on a cold server, which had a few before, and on a warm one."""
    stage.leave()
    figures: Figures = {}
    count = stage.sizes.storm
    for name in ("storm_cold", "storm"):
        cpu = stage.cpu_seconds()
        with stage.load([["bench"]] * count, at_once=count) as load:
            stage.rest()
            figures[f"{name}_cpu"] = (stage.cpu_seconds() - cpu) / count
            figures[f"{name}_p99"] = load.opened["p99_ms"]
        stage.rest()
    return figures


def fan_few(stage: Stage) -> Figures:
    """Broadcast to a few sockets."""
    return named("fan_few", fan(stage, stage.audience(stage.sizes.few)), "cpu")


def fan_small(stage: Stage) -> Figures:
    """Broadcast to many sockets."""
    return named("fan_small", fan(stage, stage.audience(stage.sizes.small)))


def fan_large(stage: Stage) -> Figures:
    """Broadcast to even more sockets."""
    return named("fan_large", fan(stage, stage.audience(stage.sizes.large)))


def saturated(stage: Stage) -> Figures:
    """Broadcast as fast as the server can, with several messages outstanding."""
    load = stage.audience(stage.sizes.small)
    first, *others = stage.sizes.depths
    figures = named("saturated", stage.saturated(load, "bench", first))
    if stage.server.key in ("wsredis", "floor", "floor_join"):
        for depth in others:
            figures |= named(f"saturated{depth}", stage.saturated(load, "bench", depth), "cpu")
    return figures


def lengths(stage: Stage) -> Figures:
    """Broadcast longer messages."""
    load = stage.audience(stage.sizes.small)
    few = stage.sizes.long_messages
    middle = fan(stage, load, stage.sizes.middle)
    return named("middle", middle, "cpu") | named(
        "long", fan(stage, load, stage.sizes.long, few), "cpu"
    )


def compressed(stage: Stage) -> Figures:
    """Broadcast messages of middle length to clients that offer permessage-deflate (RFC 7692)."""
    stage.leave()
    count = stage.sizes.small
    with stage.load([["bench"]] * count, header=DEFLATE) as load:
        stage.ready(load, ["bench"], count)
        return named("compressed", fan(stage, load, stage.sizes.middle), "cpu")


def crowd_small(stage: Stage) -> Figures:
    """Broadcast to many sockets while more sockets are idle."""
    return _crowd(stage, stage.sizes.small, "crowd_small")


def crowd_large(stage: Stage) -> Figures:
    """Broadcast to even more sockets while as many are idle."""
    return _crowd(stage, stage.sizes.large, "crowd_large")


def _crowd(stage: Stage, count: int, name: str) -> Figures:
    load = stage.audience(count)
    with stage.load([["other"]] * stage.sizes.large):
        stage.rest()
        return named(name, fan(stage, load))


def churn(stage: Stage) -> Figures:
    """Broadcast while other sockets are closed and opened."""
    load = stage.audience(stage.sizes.small)
    with stage.load([["other"]] * stage.sizes.churn_sockets) as passers:
        passers.churn(stage.sizes.churn_per_second)
        figures = named("churn", fan(stage, load), "p50", "p99")
        passers.churn(0)
        stage.check(passers, None)
    return figures


def unicast(stage: Stage) -> Figures:
    """Send each message to one of many users."""
    stage.leave()
    sizes = stage.sizes
    names = [f"u{number}" for number in range(sizes.users)]
    with stage.load([[name] for name in names]) as load:
        stage.ready(load, names, len(names))
        rate, seconds, least = sizes.unicasts_per_second, sizes.unicast_seconds, len(names) // 4
        figures = stage.paced(load, names, 1, rate=rate, seconds=seconds, least=least)
        return named("unicast", figures)


def groups(stage: Stage) -> Figures:
    """Send each message to one of many small groups; each socket is in several."""
    stage.leave()
    sizes = stage.sizes
    step = sizes.groups // sizes.group_members
    names = [f"g{number}" for number in range(sizes.groups)]
    members = [
        [names[(number + step * i) % sizes.groups] for i in range(sizes.group_members)]
        for number in range(sizes.groups)
    ]
    with stage.load(members) as load:
        members_of_each = sizes.group_members
        stage.ready(load, names, len(names) * members_of_each)
        rate, seconds, least = sizes.group_messages_per_second, sizes.unicast_seconds, 1
        figures = stage.paced(load, names, members_of_each, rate=rate, seconds=seconds, least=least)
        return named("groups", figures, "cpu")


def hosted(stage: Stage) -> Figures:
    """Send to a group of the sockets of each kind of application."""
    found = {
        f"hosted_{kind}_cpu": _group(stage, name, stage.sizes.hosted, stage.sizes.hosted_least)[
            "cpu"
        ]
        for name, kind in stage.server.kinds.items()
    }
    stage.leave()
    return found


def hosted_large(stage: Stage) -> Figures:
    """Send to a group of even more sockets, except of the bare ASGI application."""
    sizes, least = stage.sizes, stage.sizes.hosted_large_least
    found = {
        f"hosted_large_{kind}_cpu": _group(stage, name, sizes.large, least)["cpu"]
        for name, kind in stage.server.kinds.items()
        if kind != "bare"
    }
    stage.leave()
    return found


def blocked(stage: Stage) -> Figures:
    """Send to a group, first as it is, and then while handlers of other consumers block."""
    sizes = stage.sizes
    figures = named(
        "hosted_free", _group(stage, "bench", sizes.hosted, sizes.hosted_least), "p50", "p99"
    )
    with ExitStack() as stack:
        probes = [
            stack.enter_context(Probe(stage.place.port, stage.server.target(["block"])))
            for _ in range(sizes.blocked + 1)
        ]
        for probe in probes[1:]:
            probe.say("block")
            probe.wait_for(1)
        found = _group(stage, "bench", sizes.hosted, sizes.hosted_least)
        probes[0].say("free")
        for probe in probes:
            probe.wait_for(1)
    stage.leave()
    return figures | named("hosted_blocked", found, "p50", "p99")


def _group(stage: Stage, name: str, count: int, least: int) -> Figures:
    """Send to a group of that many sockets, which are opened if they are not there."""
    sizes = stage.sizes
    load, rate = stage.audience(count, name), sizes.deliveries_per_second / count
    seconds = sizes.paced_seconds
    return stage.paced(load, [name], count, rate=rate, seconds=seconds, least=least)


def inbound(stage: Stage) -> Figures:
    """Let sockets publish to a channel without subscribers, until Redis has received all."""
    stage.leave()
    sizes = stage.sizes
    with stage.load([["publish-inbound"]] * sizes.speakers) as load:
        load.say(sizes.speakers, sizes.spoken_per_second, sizes.message)
        load.report("said")
        stage.rest()
        before, cpu = stage.redis_stat(), stage.cpu_seconds()
        load.say(sizes.spoken, sizes.spoken_per_second, sizes.message)
        load.report("said")
        deadline = time.monotonic() + INBOUND_SECONDS
        asked = 1
        while (now := stage.redis_stat())["publish"] - before["publish"] < sizes.spoken:
            asked += 1
            if time.monotonic() > deadline:
                raise RuntimeError("Redis did not receive all messages of the sockets")
            time.sleep(POLL_SECONDS)
        cpu = stage.cpu_seconds() - cpu
        stage.check(load, None)
        trips = now["reads"] - before["reads"] - 2 * asked
        return {"inbound_cpu": cpu / sizes.spoken, "inbound_trips": trips / sizes.spoken}


SCENARIOS: dict[str, Callable[[Stage], Figures]] = {
    function.__name__: function
    for function in (
        *(idle, growth, fairness, storm, fan_small, saturated, lengths, crowd_small, churn),
        *(fan_large, crowd_large, fan_few, compressed, unicast, groups, inbound, hosted),
        *(hosted_large, blocked),
    )
}
