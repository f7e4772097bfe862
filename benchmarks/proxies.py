"""Measure the cost of a delivered message behind uWSGI's router, nginx and Apache.

    .venv/bin/python benchmarks/proxies.py

prints a table and writes benchmarks/build/proxies.json. README.md explains the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from environment import compile_programs
from processes import Process, choose_cpus
from run import circumstances
from scenarios import SCENARIOS
from servers import HERE, SERVERS, Place
from sizes import FULL, TINY, Sizes
from stage import Figures, Stage, Theatre

from wsredis.embedded import EmbeddedRedis, free_port

# Debian installs servers in /usr/sbin, which may not be on a user's PATH.
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
MODULES = Path("/usr/lib/apache2/modules")
PACE = 50  # broadcasts a second

NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    uwsgi_temp_path {folder}/uwsgied;
    fastcgi_temp_path {folder}/fastcgied;
    scgi_temp_path {folder}/scgied;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""

# One thread for each websocket.
APACHE = """
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
Mutex pthread default
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
User www-data
Group www-data
ServerLimit 1
StartServers 1
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {threads}
Listen 127.0.0.1:{port}
ProxyPreserveHost On
ProxyPass / http://127.0.0.1:{behind}/ upgrade=websocket
"""


class Ways:
    """The scenarios for uWSGI, reached directly and through proxies."""

    NAMES = ("direct", "router", "nginx", "apache")

    def __init__(self, theatre: Theatre) -> None:
        self.theatre = theatre
        (self.server,) = (server for server in SERVERS if server.key == "wsredis")

    @contextmanager
    def reached(self, way: str) -> Iterator[Stage]:
        """Start uWSGI and the proxy in front of it, and run everything once."""
        theatre = self.theatre
        place = Place(free_port(), theatre.redis_server.port, theatre.build)
        behind = place if way in ("direct", "router") else replace(place, port=free_port())
        command = self.server.command(behind)
        if way == "router":
            command[command.index("--http-socket")] = "--http"
            command.append("--http-websockets")
        with ExitStack() as stack:
            own = Process(command, env={"WSREDIS_REDIS": theatre.redis_server.url}, **self._options)
            processes = [stack.enter_context(own)]
            own.wait_for_port(behind.port)
            if behind is not place:
                front = Process(self._front(way, place.port, behind.port), **self._options)
                processes.append(stack.enter_context(front))
                front.wait_for_port(place.port)
            publisher = self.server.publisher(place)
            stack.callback(publisher.close)
            stage = Stage(theatre, self.server, place, processes, publisher)
            stack.callback(stage.leave)
            stage.warm()
            yield stage

    @property
    def _options(self) -> dict[str, Any]:
        theatre = self.theatre
        return {"cpus": theatre.cpus[1][0], "log": theatre.log, "folder": theatre.build}

    def _front(self, way: str, port: int, behind: int) -> list[str]:
        build = self.theatre.build
        words = {"folder": build, "port": port, "behind": behind}
        conf = build / f"{way}.conf"
        if way == "nginx":
            user = "user root;" if os.geteuid() == 0 else ""  # so that it can read our folder
            conf.write_text(NGINX.format(user=user, **words))
            return [program("nginx"), "-p", str(build), "-c", str(conf), "-e", "stderr"]
        threads = self.theatre.sizes.small + 64
        conf.write_text(APACHE.format(modules=MODULES, threads=threads, **words))
        return [program("apache2"), "-f", str(conf), "-DFOREGROUND"]

    def measure(self, way: str) -> Figures:
        """Return the figures of one way."""
        with self.reached(way) as stage:
            return SCENARIOS["fan_small"](stage) | SCENARIOS["saturated"](stage)

    def rounds(self) -> Iterator[dict[str, Figures]]:
        """Measure all ways in each round, in another order each time."""
        for number in range(self.theatre.sizes.rounds):
            print(f"round {number + 1} of {self.theatre.sizes.rounds} ...", file=sys.stderr)
            shift = number % len(self.NAMES)
            order = (*self.NAMES[shift:], *self.NAMES[:shift])
            found = {way: self.measure(way) for way in order}
            yield {way: found[way] for way in self.NAMES}


def program(name: str) -> str:
    """Return the path of a server's program."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SystemExit(f"{name} is not installed: apt-get install nginx apache2-bin")
    return found


def table(rounds: list[dict[str, Figures]]) -> str:
    """Return the medians as Markdown; a ratio is the median of the ratios of each round."""
    lines = [
        "| way | paced (µs) | ratio | saturated (µs) | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in Ways.NAMES:
        cells = [way]
        for key in ("fan_small_cpu", "saturated_cpu"):
            cost = statistics.median(found[way][key] for found in rounds)
            ratio = statistics.median(found[way][key] / found["direct"][key] for found in rounds)
            cells += [f"{cost * 1e6:.2f}", f"{ratio:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: list[str]) -> tuple[Sizes, Path]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, help="number of rounds (3)")
    parser.add_argument("--connections", type=int, default=500, help="subscribers (500)")
    parser.add_argument("--quick", action="store_true", help="short scenarios, one round")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder for programs, "
                        "the servers' log and proxies.json (benchmarks/build)")  # fmt: skip
    found = parser.parse_args(arguments)
    sizes = TINY if found.quick else FULL
    rounds = sizes.rounds if found.rounds is None else found.rounds
    if min(rounds, found.connections) < 1:
        parser.error("--rounds and --connections must be greater than 0")
    sizes = replace(
        sizes,
        rounds=rounds,
        small=found.connections,
        depths=sizes.depths[:1],
        deliveries_per_second=PACE * found.connections,
        paced_seconds=sizes.paced_seconds * 4,
    )
    return sizes, found.build.resolve()


def main(arguments: list[str]) -> int:
    """Run the measurement."""
    sizes, build = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    compile_programs(build)
    with ExitStack() as stack:
        log = stack.enter_context((build / "proxies.log").open("wb"))
        cpus = choose_cpus(1)
        os.sched_setaffinity(0, cpus[1])  # inherited by Redis and the clients
        store = stack.enter_context(EmbeddedRedis())
        ways = Ways(Theatre(sizes, build, store, log, {1: cpus}))
        about = circumstances(store) | {name: version_of(name) for name in ("nginx", "apache2")}
        rounds = list(ways.rounds())
    result = {"about": about, "connections": sizes.small, "rounds": rounds}
    (build / "proxies.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(rounds))
    return 0


def version_of(name: str) -> str:
    """Return the version that a server prints."""
    told = subprocess.run([program(name), "-v"], capture_output=True, text=True, check=True)
    return (told.stdout + told.stderr).splitlines()[0].partition("/")[2]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
