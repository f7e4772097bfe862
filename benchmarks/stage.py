"""The stage of the benchmark: one server with its clients and its Redis, and the measurements.

The scenarios are in scenarios.py. Costs are CPU seconds of all processes of the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import redis
from processes import Load, Process
from publishers import Publisher, stamped
from servers import PEERS, Place, Server
from sizes import Sizes

from wsredis.embedded import EmbeddedRedis, free_port

__all__ = ["Figures", "Stage", "Theatre"]

Figures = dict[str, float]

AT_ONCE, AT_ONCE_SLOW = 128, 32  # concurrent handshakes, by default
READY_TRIES = 5
READY_SECONDS = 3.0
WARM_CLIENTS = 20
CALM_SECONDS = 1.0  # how long a lossy server must have been quiet


@dataclass(frozen=True)
class Theatre:
    """The resources that all servers of a run share."""

    sizes: Sizes
    build: Path
    redis_server: EmbeddedRedis
    log: IO[bytes]
    cpus: dict[int, tuple[set[int], set[int]]]
    """By the number of workers: the server's CPUs, and those of all other processes."""

    @contextmanager
    def serving(self, server: Server) -> Iterator[Stage]:
        """Start a server and run everything once, so that nothing is loaded later."""
        place = Place(free_port(), self.redis_server.port, self.build)
        env = {
            "PORT": str(place.port),
            "REDIS_PORT": str(place.redis_port),
            "WSREDIS_REDIS": self.redis_server.url,
            "CHANNEL_LAYER": server.layer,
            "PYTHONPATH": str(PEERS),
        }
        folder = self.build if not server.needs else PEERS
        command = server.command(place)
        with (
            Process(
                command, env=env, cpus=self.cpus[server.workers][0], log=self.log, folder=folder
            ) as process,
            ExitStack() as stack,
        ):
            process.wait_for_port(place.port)
            publisher = server.publisher(place)
            stack.callback(publisher.close)
            stage = Stage(self, server, place, [process], publisher)
            stack.callback(stage.leave)
            stage.warm()
            yield stage


class Stage:
    """A running server and its clients.

    Args:
        theatre: the shared resources.
        server: the description of the server.
        place: the ports and the build folder.
        processes: the processes of the server, and of the proxy in front of it.
        publisher: the publisher for this server.
    """

    def __init__(
        self,
        theatre: Theatre,
        server: Server,
        place: Place,
        processes: Sequence[Process],
        publisher: Publisher,
    ) -> None:
        self.sizes = theatre.sizes
        self.server = server
        self.place = place
        self.processes = processes
        self.publisher = publisher
        self.redis = redis.Redis(port=place.redis_port)
        self._theatre = theatre
        self._audience: tuple[object, Load] | None = None

    # Clients

    def load(
        self, channels: Sequence[Sequence[str]], *, at_once: int = 0, header: str = ""
    ) -> Load:
        """Open websockets, each with its channels."""
        targets = [self.server.target(names) + (header and f"\t{header}") for names in channels]
        at_once = at_once or (AT_ONCE_SLOW if self.server.slow else AT_ONCE)
        theatre = self._theatre
        options: dict[str, Any] = {"cpus": theatre.cpus[self.server.workers][1], "log": theatre.log}
        manner = self.server.manner
        program = theatre.build / "load"
        return Load(program, self.place.port, targets, at_once=at_once, manner=manner, **options)

    def audience(self, count: int, name: str = "bench") -> Load:
        """Return that many subscribers of a channel: the present ones, or only new ones."""
        if self._audience is not None and self._audience[0] == (count, name):
            return self._audience[1]
        self.leave()
        load = self.load([[name]] * count)
        self._audience = ((count, name), load)
        self.ready(load, [name], count)
        return load

    def adopt(self, load: Load, name: str) -> None:
        """Use clients as the audience of a channel; they are closed with the stage."""
        self.leave()
        self._audience = ((load.connections, name), load)

    def leave(self) -> None:
        """Close the audience."""
        if self._audience is not None:
            self._audience[1].__exit__(None, None, None)
            self._audience = None
            self.rest()

    def warm(self) -> None:
        """Make the server do everything once."""
        with self.load([["bench"]] * WARM_CLIENTS) as load:
            self.ready(load, ["bench"], WARM_CLIENTS)
            for _ in range(20):
                self.publish(["bench"])
                time.sleep(0.002)
        self.rest()

    def ready(self, load: Load, names: Sequence[str], expected: int) -> None:
        """Publish until all have received a message: a server may subscribe after the handshake."""
        if self.server.mute:
            return
        for _ in range(READY_TRIES):
            load.mark()
            self.publish(names)
            arrived, deadline = 0, time.monotonic() + READY_SECONDS
            while load.stat()["messages"] < expected and time.monotonic() < deadline:
                time.sleep(0.005)
                before, arrived = arrived, self._arrived(load)
                if arrived > before:
                    deadline = time.monotonic() + READY_SECONDS
            self.calm(load)
            if load.stat()["fewest"] >= 1:
                return
        raise RuntimeError(f"some clients receive no messages: {load.stat()}")

    def calm(self, load: Load) -> None:
        """Wait until no more messages arrive."""
        seconds = CALM_SECONDS if self.server.lossy else 0.05
        before = -1
        while (count := self._arrived(load)) != before:
            before = count
            time.sleep(seconds)

    def _arrived(self, load: Load) -> int:
        """Return the number of received messages, including those that are not ours."""
        stat = load.stat()
        return int(stat["messages"] + stat["others"])

    def rest(self) -> None:
        """Give the server time to finish its background work."""
        time.sleep(self.sizes.settle)

    def publish(self, names: Sequence[str], size: int = 0) -> None:
        """Publish one message to each channel."""
        size = size or self.sizes.message
        self.publisher.publish([(name, stamped(size)) for name in names])

    # Measurements

    def cpu_seconds(self) -> float:
        """Return the CPU time that all processes of the server have used."""
        return sum(process.cpu_seconds() for process in self.processes)

    def pss(self) -> int:
        """Return the memory of all processes of the server, in bytes."""
        return sum(process.pss() for process in self.processes)

    def redis_stat(self) -> Mapping[str, Any]:
        """Return the numbers of `publish` commands and of reads (`reads`) of Redis."""
        stats: dict[str, Any] = self.redis.info("stats")
        commands: dict[str, Any] = self.redis.info("commandstats")
        publish = commands.get("cmdstat_publish", {"calls": 0})
        return {"publish": publish["calls"], "reads": stats["total_reads_processed"]}

    # Actions

    def paced(
        self,
        load: Load,
        names: Sequence[str],
        subscribers: int,
        *,
        rate: float,
        seconds: float,
        least: int,
        size: int = 0,
    ) -> Figures:
        """Publish at a pace, to the channels in turn; return `cpu` of a delivery and latencies.

        It does so for some seconds, with at least `least` messages. A pace that would need too much
        of a CPU is lowered; `rate` is the actual one. A broadcast waits until all clients have
        received the one before, so that no messages are joined on a busy machine.
        """
        rate = min(rate, self._bearable(load, names, subscribers, size))
        count = max(least, int(rate * seconds))
        load.mark()
        by_one = len(names) == 1 and not self.server.lossy
        load.watch(subscribers if by_one else count * subscribers)
        cpu = self.cpu_seconds()
        due = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, due - time.monotonic()))
            self.publish([names[number % len(names)]], size)
            due += 1 / rate
            if by_one:
                load.progress()
        if self.server.lossy:
            self.calm(load)
        elif not by_one:
            load.progress()
        cpu = self.cpu_seconds() - cpu
        stat = self.check(load, count if len(names) == 1 else None)
        if stat["messages"] < count * subscribers and not self.server.lossy:
            raise RuntimeError(f"{count * subscribers} messages should have arrived: {stat}")
        return {
            "cpu": cpu / max(1, stat["messages"]),
            "p50": stat["p50_ms"],
            "p99": stat["p99_ms"],
            "rate": rate,
        }

    def _bearable(self, load: Load, names: Sequence[str], subscribers: int, size: int) -> float:
        """Return the pace that needs the allowed share of a CPU, measured with a few messages."""
        few = names[: max(1, len(names) // 20)]
        load.mark()
        load.watch(subscribers * len(few))
        cpu = self.cpu_seconds()
        self.publish(few, size)
        if self.server.lossy:
            self.calm(load)
        else:
            load.progress()
        cost = (self.cpu_seconds() - cpu) / len(few)
        return self.sizes.load_limit / max(cost, 1e-6)

    def saturated(self, load: Load, name: str, depth: int) -> Figures:
        """Publish whenever an earlier message has reached all, with `depth` outstanding."""
        load.mark()
        load.watch(load.connections)
        published = delivered = 0
        cpu, began = self.cpu_seconds(), time.monotonic()
        while (spent := time.monotonic() - began) < self.sizes.saturated_seconds:
            more = delivered // load.connections + depth - published
            self.publish([name] * more)
            published += more
            delivered = load.progress()
        rate = delivered / spent
        while delivered < published * load.connections:
            delivered = load.progress()
        cpu = self.cpu_seconds() - cpu
        self.check(load, published)
        return {"cpu": cpu / delivered, "rate": rate}

    def check(self, load: Load, count: int | None) -> dict[str, Any]:
        """Return the counters; raise RuntimeError for lost, repeated or unordered messages."""
        stat = load.stat()
        if stat["unordered"]:
            raise RuntimeError(f"{stat['unordered']} messages arrived out of order: {stat}")
        whole = count is None or stat["fewest"] == stat["most"] == count
        if stat["lost"] or not (whole or self.server.lossy):
            raise RuntimeError(f"each connection should have received {count} messages: {stat}")
        return stat
