"""Measure what a delivered message costs behind uWSGI's router, nginx and Apache.

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
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from processes import Process, choose_cpus
from run import (
    HERE,
    SETTLE_SECONDS,
    Bench,
    Figures,
    Options,
    circumstances,
    compile_programs,
)

from wsredis.embedded import EmbeddedRedis, free_port

# Debian keeps servers where only root looks.
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
MODULES = Path("/usr/lib/apache2/modules")

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


class Both:
    """Add up two servers, one behind the other."""

    def __init__(self, *servers: Process) -> None:
        self._servers = servers

    def cpu_seconds(self) -> float:
        return sum(server.cpu_seconds() for server in self._servers)


class Ways(Bench):
    """Drive uWSGI through the same phases, reached in several ways."""

    NAMES = ("direct", "router", "nginx", "apache")

    @contextmanager
    def reached(self, way: str) -> Iterator[tuple[Both, int]]:
        """Start uWSGI and what stands before it, and have them do everything once."""
        behind, port = free_port(), free_port()
        options = {"cpus": self.server_cpus, "log": self.log, "folder": self.options.build}
        env = {"WSREDIS_REDIS": self.redis_server.url}
        own = self._router(port) if way == "router" else self._uwsgi(behind)
        with ExitStack() as stack:
            servers = [stack.enter_context(Process(own, env=env, **options))]  # type: ignore[arg-type]
            if way == "direct":
                port = behind
            elif way != "router":
                servers[0].wait_for_port(behind)
                front = self._front(way, port, behind)
                servers.append(stack.enter_context(Process(front, **options)))  # type: ignore[arg-type]
            servers[-1].wait_for_port(port)
            with self.load(port, 20) as load:
                self._broadcast_and_wait(load, 20)
            time.sleep(SETTLE_SECONDS)
            yield Both(*servers), port

    def _router(self, port: int) -> list[str]:
        direct = self._uwsgi(port)
        direct[direct.index("--http-socket")] = "--http"
        return [*direct, "--http-websockets"]

    def _front(self, way: str, port: int, behind: int) -> list[str]:
        words = {"folder": self.options.build, "port": port, "behind": behind}
        conf = self.options.build / f"{way}.conf"
        if way == "nginx":
            user = "user root;" if os.geteuid() == 0 else ""  # as which it sees our folder
            conf.write_text(NGINX.format(user=user, **words))
            return [
                program("nginx"),
                "-p",
                str(self.options.build),
                "-c",
                str(conf),
                "-e",
                "stderr",
            ]
        threads = self.options.connections + 64
        conf.write_text(APACHE.format(modules=MODULES, threads=threads, **words))
        return [program("apache2"), "-f", str(conf), "-DFOREGROUND"]

    def measure(self, way: str) -> Figures:
        """Take the figures of one way."""
        with (
            self.reached(way) as (servers, port),
            self.load(port, self.options.connections) as load,
        ):
            figures = self.paced(servers, load)  # type: ignore[arg-type]
            return figures | self.saturated(servers, load)  # type: ignore[arg-type]

    def rounds(self) -> Iterator[dict[str, Figures]]:
        """Measure all ways again and again, each round in another order."""
        for number in range(self.options.rounds):
            print(f"round {number + 1} of {self.options.rounds} ...", file=sys.stderr, flush=True)
            shift = number % len(self.NAMES)
            order = (*self.NAMES[shift:], *self.NAMES[:shift])
            found = {way: self.measure(way) for way in order}
            yield {way: found[way] for way in self.NAMES}


def program(name: str) -> str:
    """Return where a server is."""
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SystemExit(f"there is no {name} here: apt-get install nginx apache2-bin")
    return found


def table(rounds: list[dict[str, Figures]]) -> str:
    """Return the medians as Markdown; a ratio is the median of the ratios of each round."""
    lines = [
        "| way | paced (µs) | ratio | saturated (µs) | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for way in Ways.NAMES:
        cells = [way]
        for key in ("paced_cpu", "saturated_cpu"):
            cost = statistics.median(found[way][key] for found in rounds)
            ratio = statistics.median(found[way][key] / found["direct"][key] for found in rounds)
            cells += [f"{cost * 1e6:.2f}", f"{ratio:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, help="how often (3)")
    parser.add_argument("--connections", type=int, default=500, help="subscribers (500)")
    parser.add_argument("--quick", action="store_true", help="short phases, one round")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder for programs, "
                        "the servers' log and proxies.json (benchmarks/build)")  # fmt: skip
    found = parser.parse_args(arguments)
    rounds = found.rounds or (1 if found.quick else 3)
    if min(rounds, found.connections) < 1:
        parser.error("numbers have to be above 0")
    return Options(rounds, found.connections, 0, found.quick, found.build.resolve())


def main(arguments: list[str]) -> int:
    """Run the measurement."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    compile_programs(options.build)
    with ExitStack() as stack:
        log = stack.enter_context(open(options.build / "proxies.log", "wb"))
        cpus = choose_cpus()
        os.sched_setaffinity(0, cpus[1])  # Redis and the clients inherit that
        bench = Ways(options, stack.enter_context(EmbeddedRedis()), log, cpus)
        stack.enter_context(bench.redis)
        about = circumstances(bench) | {name: version_of(name) for name in ("nginx", "apache2")}
        rounds = list(bench.rounds())
    result = {"about": about, "connections": options.connections, "rounds": rounds}
    (options.build / "proxies.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(rounds))
    return 0


def version_of(name: str) -> str:
    """Return what a server says of itself."""
    told = subprocess.run([program(name), "-v"], capture_output=True, text=True, check=True)
    return (told.stdout + told.stderr).splitlines()[0].partition("/")[2]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
