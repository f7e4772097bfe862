"""Measure what wsredis costs against the least a server can do; README.md explains the figures.

    .venv/bin/python benchmarks/run.py

prints a table and writes benchmarks/build/result.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import redis
from processes import Load, Process, choose_cpus

from wsredis.embedded import EmbeddedRedis, free_port

HERE = Path(__file__).resolve().parent
UWSGI = str(Path(sys.executable).with_name("uwsgi"))

CHANNEL = "ws:broadcast:bench"
TARGET = "/ws/bench?subscribe-broadcast"
MESSAGE_BYTES = 100
AT_ONCE = 128  # handshakes
OUTSTANDING = 16  # broadcasts, in the saturated phase
PACE = 50  # broadcasts a second
PACED_MESSAGES = 300
SATURATED_SECONDS = 3.0
NEWCOMERS = 500
SETTLE_SECONDS = 0.5

Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """Describe a figure: its line in the table and the unit it is shown in."""

    text: str
    scale: float = 1.0
    digits: int = 2
    target: str = ""


ROWS = {
    "paced_cpu": Row("CPU per delivered message, paced (µs)", 1e6, target="≤ 1.5 x floor"),
    "paced_p50": Row("latency at that pace, median (ms)"),
    "paced_p99": Row("latency at that pace, 99 % (ms)"),
    "saturated_cpu": Row("CPU per delivered message, saturated (µs)", 1e6),
    "saturated_rate": Row("deliveries per second, saturated (thousands)", 1e-3, 0),
    "idle_pss": Row("memory (PSS) per idle connection (KiB)", 1 / 1024, target="≤ 5 KiB"),
    "handshake_cpu": Row("CPU per handshake (µs)", 1e6, 0),
    "newcomer_cpu": Row("CPU per newcomer who speaks (µs)", 1e6, 0),
}


@dataclass(frozen=True)
class Options:
    """Hold what the command line says."""

    rounds: int
    connections: int
    idle: int
    quick: bool
    build: Path


class Bench:
    """Drive the servers through their phases."""

    def __init__(
        self,
        options: Options,
        redis_server: EmbeddedRedis,
        log: IO[bytes],
        cpus: tuple[set[int], set[int]],
    ) -> None:
        self.options = options
        self.server_cpus, self.client_cpus = cpus
        self.redis_server = redis_server
        self.redis = redis.Redis(port=redis_server.port)
        self.log = log

    # Servers

    @contextmanager
    def serving(self, name: str) -> Iterator[tuple[Process, int]]:
        """Start a server and have it do everything once, so that nothing is loaded later."""
        port = free_port()
        command = self._floor(port) if name == "floor" else self._uwsgi(port)
        env = {"WSREDIS_REDIS": self.redis_server.url}
        options = {"cpus": self.server_cpus, "log": self.log, "folder": self.options.build}
        with Process(command, env=env, **options) as server:  # type: ignore[arg-type]
            server.wait_for_port(port)
            with self.load(port, 20) as load:
                self._broadcast_and_wait(load, 20)
            time.sleep(SETTLE_SECONDS)
            yield server, port

    def _floor(self, port: int) -> list[str]:
        program = self.options.build / "floor"
        return [str(program), str(port), str(self.redis_server.port), CHANNEL]

    def _uwsgi(self, port: int) -> list[str]:
        backlog = min(1024, int(Path("/proc/sys/net/core/somaxconn").read_text()))
        return [
            *(UWSGI, "--master", "--die-on-term"),
            *("--workers", "1", "--gevent", "200", "--listen", str(backlog), "--disable-logging"),
            *("--http-socket", f"127.0.0.1:{port}", "--wsgi-file", str(HERE / "app.py")),
        ]

    def load(
        self, port: int, connections: int, *, at_once: int = AT_ONCE, speaking: bool = False
    ) -> Load:
        """Open websockets."""
        manner = "speaking" if speaking else "silent"
        words = (self.options.build / "load", port, TARGET, connections, at_once, manner)
        command = [str(word) for word in words]
        return Load(command, connections, cpus=self.client_cpus, log=self.log)

    # Phases

    def idle(self, server: Process, port: int) -> Figures:
        """Open many sockets that then hear nothing."""
        count = self.options.idle
        pss, cpu = server.pss(), server.cpu_seconds()
        with self.load(port, count):
            time.sleep(SETTLE_SECONDS)
            cpu, pss = server.cpu_seconds() - cpu, server.pss() - pss
        return {"idle_pss": pss / count, "handshake_cpu": cpu / count}

    def paced(self, server: Process, load: Load) -> Figures:
        """Broadcast at a pace that leaves the server time to rest."""
        count = PACED_MESSAGES // 10 if self.options.quick else PACED_MESSAGES
        self._broadcast_and_wait(load, 10)
        load.mark()
        load.watch(count * load.connections)
        cpu = server.cpu_seconds()
        due = time.monotonic()
        for _ in range(count):
            time.sleep(max(0.0, due - time.monotonic()))
            self._publish(1)
            due += 1 / PACE
        delivered = load.progress()
        cpu = server.cpu_seconds() - cpu
        stat = check_complete(load, count)
        return {
            "paced_cpu": cpu / delivered,
            "paced_p50": stat["p50_ms"],
            "paced_p99": stat["p99_ms"],
        }

    def saturated(self, server: Process, load: Load) -> Figures:
        """Broadcast as soon as an earlier message has reached everybody."""
        seconds = SATURATED_SECONDS / 6 if self.options.quick else SATURATED_SECONDS
        load.mark()
        load.watch(load.connections)
        published = delivered = 0
        cpu, began = server.cpu_seconds(), time.monotonic()
        while (spent := time.monotonic() - began) < seconds:
            more = delivered // load.connections + OUTSTANDING - published
            self._publish(more)
            published += more
            delivered = load.progress()
        rate = delivered / spent
        while delivered < published * load.connections:
            delivered = load.progress()
        cpu = server.cpu_seconds() - cpu
        check_complete(load, published)
        return {"saturated_cpu": cpu / delivered, "saturated_rate": rate}

    def newcomers(self, server: Process, port: int) -> Figures:
        """Open more sockets beside those that are there, each when the one before has spoken."""
        count = 50 if self.options.quick else NEWCOMERS
        cpu = server.cpu_seconds()
        with self.load(port, count, at_once=1, speaking=True):
            time.sleep(SETTLE_SECONDS)
            cpu = server.cpu_seconds() - cpu
        return {"newcomer_cpu": cpu / count}

    def _publish(self, count: int) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for _ in range(count):
            stamp = b"%020d " % time.monotonic_ns()
            pipeline.publish(CHANNEL, stamp.ljust(MESSAGE_BYTES, b"x"))
        pipeline.execute()

    def _broadcast_and_wait(self, load: Load, count: int) -> None:
        load.mark()
        load.watch(load.connections)
        for _ in range(count):
            self._publish(1)
            load.progress()

    # Rounds

    def measure(self, name: str) -> Figures:
        """Take all figures of one server; memory from a process that has freed none yet."""
        with self.serving(name) as (server, port):
            figures = self.idle(server, port)
        with (
            self.serving(name) as (server, port),
            self.load(port, self.options.connections) as load,
        ):
            figures |= self.paced(server, load)
            figures |= self.saturated(server, load)
            figures |= self.newcomers(server, port)
        return figures

    def rounds(self) -> Iterator[dict[str, Figures]]:
        """Measure both servers again and again, each first every other time."""
        for number in range(self.options.rounds):
            print(f"round {number + 1} of {self.options.rounds} ...", file=sys.stderr, flush=True)
            order = ["floor", "wsredis"] if number % 2 == 0 else ["wsredis", "floor"]
            yield {name: self.measure(name) for name in order}


def check_complete(load: Load, count: int) -> dict[str, Any]:
    """Refuse figures of a run in which a message was lost or came twice."""
    stat = load.stat()
    if not stat["fewest"] == stat["most"] == count or stat["lost"]:
        raise RuntimeError(f"each connection should have had {count} messages: {stat}")
    return stat


def compile_programs(build: Path) -> None:
    """Compile both C programs; `CC` names another compiler."""
    build.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "load"):
        compiler = shlex.split(os.environ.get("CC", "cc"))
        flags = ["-O2", "-Wall", "-Wextra"]
        subprocess.run(
            [*compiler, *flags, "-o", str(build / name), str(HERE / f"{name}.c")], check=True
        )


def summarize(rounds: list[dict[str, Figures]]) -> dict[str, Figures]:
    """Return the medians of both servers and of the ratio of each round."""
    median: Callable[[list[float]], float] = statistics.median
    return {
        "floor": {key: median([r["floor"][key] for r in rounds]) for key in ROWS},
        "wsredis": {key: median([r["wsredis"][key] for r in rounds]) for key in ROWS},
        "ratio": {
            key: median([r["wsredis"][key] / (r["floor"][key] or 1) for r in rounds])
            for key in ROWS
            if key != "idle_pss"  # the floor's is near nothing
        },
    }


def table(medians: dict[str, Figures]) -> str:
    """Return the summary as Markdown."""
    lines = ["| figure | C floor | wsredis | ratio | target |", "|---|---:|---:|---:|---|"]
    for key, row in ROWS.items():
        floor, own = (medians[name][key] * row.scale for name in ("floor", "wsredis"))
        ratio = f"{medians['ratio'][key]:.2f}" if key in medians["ratio"] else ""
        cells = [row.text, f"{floor:.{row.digits}f}", f"{own:.{row.digits}f}", ratio, row.target]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def circumstances(bench: Bench) -> dict[str, Any]:
    """Return what one has to know of a run to compare it with another."""
    uwsgi = [UWSGI, "--version"]
    server = bench.redis.info("server")
    return {
        "date": date.today().isoformat(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "gevent": version("gevent"),
        "uwsgi": subprocess.run(uwsgi, capture_output=True, text=True, check=True).stdout.strip(),
        "redis": server.get("valkey_version") or server["redis_version"],
    }


def parse(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, help="how often (3)")
    parser.add_argument("--connections", type=int, default=1000, help="subscribers (1000)")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections (5000)")
    parser.add_argument("--quick", action="store_true", help="short phases, one round")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder for programs, "
                        "the servers' log and result.json (benchmarks/build)")  # fmt: skip
    found = parser.parse_args(arguments)
    found.rounds = found.rounds or (1 if found.quick else 3)
    if min(found.rounds, found.connections, found.idle) < 1:
        parser.error("numbers have to be above 0")
    found.build = found.build.resolve()
    return Options(**vars(found))


def main(arguments: list[str]) -> int:
    """Run the benchmark."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    compile_programs(options.build)
    with ExitStack() as stack:
        log = stack.enter_context(open(options.build / "servers.log", "wb"))
        cpus = choose_cpus()
        os.sched_setaffinity(0, cpus[1])  # Redis and the clients inherit that
        bench = Bench(options, stack.enter_context(EmbeddedRedis()), log, cpus)
        stack.enter_context(bench.redis)
        about = circumstances(bench)
        rounds = list(bench.rounds())
    medians = summarize(rounds)
    result = {"about": about, "options": asdict(options), "rounds": rounds, "medians": medians}
    (options.build / "result.json").write_text(json.dumps(result, indent=2, default=str) + "\n")
    print(table(medians))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
