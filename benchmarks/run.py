"""Measure the cost of websockets on wsredis and on its peers; README.md explains the figures.

    make bench

prints one table and writes benchmarks/build/result.json and benchmarks/build/performance.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from chart import draw
from environment import compile_programs, install, versions
from page import fill
from processes import choose_cpus
from report import Result, markdown, table, verdicts
from scenarios import FRESH, SCENARIOS
from servers import SERVERS, Server
from sizes import FULL, QUICK, TINY, Sizes
from stage import Figures, Stage, Theatre

from wsredis.embedded import EmbeddedRedis

HERE = Path(__file__).resolve().parent
FALSE = ("", "0", "false", "no")

interrupted: list[bool] = []


@dataclass(frozen=True)
class Options:
    """The options of the command line and the environment."""

    sizes: Sizes
    servers: tuple[Server, ...]
    scenarios: frozenset[str]
    build: Path
    page: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; `BENCH_QUICK` and `BENCH_PAGE` in the environment are defaults."""
    quick = os.environ.get("BENCH_QUICK", "").lower() not in FALSE
    page = os.environ.get("BENCH_PAGE")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=quick, help="one short round")
    parser.add_argument("--tiny", action="store_true", help="a quick test, without valid figures")
    parser.add_argument("--rounds", type=int, help="number of rounds (5; 3 for distant servers)")
    parser.add_argument("--servers", default="", help="run only these, separated by commas")
    parser.add_argument("--scenarios", default="", help="run only these, separated by commas")
    parser.add_argument("--page", type=Path, default=page, help="page to insert the table into")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="folder for programs, "
                        "peers, the servers' log and the result (benchmarks/build)")  # fmt: skip
    found = parser.parse_args(arguments)
    sizes = TINY if found.tiny else QUICK if found.quick else FULL
    if found.rounds is not None:
        sizes = replace(sizes, rounds=found.rounds, rounds_close=found.rounds)
    if sizes.rounds < 1:
        parser.error("--rounds must be at least 1")
    keys = [key for key in found.servers.split(",") if key]
    names = [name for name in found.scenarios.split(",") if name] or list(SCENARIOS)
    known = [server.key for server in SERVERS]
    for word in (*keys, *names):
        if word not in (*known, *SCENARIOS):
            parser.error(f"unknown name {word}: write some of {', '.join((*known, *SCENARIOS))}")
    servers = tuple(server for server in SERVERS if not keys or server.key in keys)
    path = Path(found.page).resolve() if found.page else None
    return Options(sizes, servers, frozenset(names), found.build.resolve(), path)


def measure(theatre: Theatre, server: Server, names: frozenset[str]) -> tuple[Figures, list[str]]:
    """Run a server's scenarios; return the figures and the problems."""
    figures: Figures = {}
    problems: list[str] = []
    sizes = theatre.sizes
    skipped = {*sizes.skip, *(sizes.peers_skip if server.needs else ())}
    skipped |= {*(sizes.slow_skip if server.slow else ())}
    names &= set(server.scenarios) - skipped
    mine = [name for name in SCENARIOS if name in names]
    for part in ([n for n in mine if n in FRESH], [n for n in mine if n not in FRESH]):
        if not part:
            continue
        try:
            with theatre.serving(server) as stage:
                figures["cpus"] = len(theatre.cpus[server.workers][0])
                for name in part:
                    problems += attempt(stage, name, figures)
        except (OSError, RuntimeError) as error:
            problems.append(f"{server.title}: {error}")
    return figures, problems


def attempt(stage: Stage, name: str, figures: Figures) -> list[str]:
    """Run one scenario and return the problems; if it fails, the other figures are kept."""
    began = time.monotonic()
    if interrupted:
        raise KeyboardInterrupt
    try:
        figures.update(SCENARIOS[name](stage))
    except (OSError, RuntimeError) as error:
        stage.leave()
        return [f"{stage.server.title}, {name}: {error}"]
    finally:
        tell(f"    {name:<12} {time.monotonic() - began:5.1f} s")
    return []


def tell(text: str) -> None:
    """Print progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def run(options: Options, stack: ExitStack) -> Result:
    """Measure all servers in each round, in another order each time."""
    sizes, build = options.sizes, options.build
    compile_programs(build)
    tell("installing the peers (once) ...")
    missing = install(build, [server.needs for server in options.servers])
    servers = [server for server in options.servers if server.needs not in missing]
    absent = {s.title: missing[s.needs] for s in options.servers if s.needs in missing}
    cpus = {workers: choose_cpus(workers) for workers in (1, 2)}
    os.sched_setaffinity(0, cpus[1][1])  # inherited by Redis
    log = stack.enter_context((build / "servers.log").open("wb"))
    store = stack.enter_context(EmbeddedRedis(args=("--maxclients", "12000")))
    theatre = Theatre(sizes, build, store, log, cpus)
    about = circumstances(store) | versions(build, {s.needs for s in servers})
    rounds: list[dict[str, Figures]] = []
    problems: list[str] = []
    most = max(sizes.rounds, sizes.rounds_close)
    for number in range(most):
        rounds.append({})
        for server in servers if number % 2 == 0 else servers[::-1]:
            if number >= (sizes.rounds if server.far else sizes.rounds_close):
                continue
            began, cpu = time.monotonic(), cpu_of_children()
            tell(f"round {number + 1} of {most}: {server.title} ...")
            figures, wrong = measure(theatre, server, options.scenarios)
            rounds[-1][server.key] = figures
            problems += [f"round {number + 1}: {text}" for text in wrong]
            spent, cpu = time.monotonic() - began, cpu_of_children() - cpu
            tell(f"    {server.title}: {spent:.1f} s, CPU {cpu:.1f} s")
    return Result(about, asdict(sizes), rounds, absent, problems)


def cpu_of_children() -> float:
    """Return the CPU seconds of all servers and clients that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def circumstances(store: EmbeddedRedis) -> dict[str, Any]:
    """Return the machine and the versions that the figures depend on."""
    info: dict[str, Any] = redis.Redis(port=store.port).info("server")
    name = info.get("server_name", "redis").capitalize()
    return {
        "date": date.today().isoformat(),
        "CPUs": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "Linux": ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
        **{package: version(package) for package in ("wsredis", "gevent", "pyuwsgi")},
        name: str(info.get("valkey_version", info["redis_version"])),
    }


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, and remember it, because an exception during a fork gets lost."""
    interrupted.append(True)
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit code, 1 if wsredis or the floor had problems."""
    options = parse(arguments)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    began = time.monotonic()
    with ExitStack() as stack:
        result = run(options, stack)
    (options.build / "result.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    (options.build / "performance.svg").write_text(draw(result))
    if options.page is not None:
        options.page.with_suffix(".svg").write_text(draw(result))
        fill(options.page, markdown(result, options.page.stem))
    print(table(result))
    print(verdicts(result))
    tell(f"{time.monotonic() - began:.0f} s in all, CPU {cpu_of_children():.0f} s")
    ours = [s.title for s in SERVERS if s.form is not None and not s.needs]
    return int(any(f": {title}" in text for text in result.problems for title in ours))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
