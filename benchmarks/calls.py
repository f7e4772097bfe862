"""Count the calls that wsredis makes for a handshake, a message, a delivery and a closing.

    .venv/bin/python benchmarks/calls.py --json before.json
    .venv/bin/python benchmarks/calls.py --compare before.json

prints a table. The counts are the same on every run, whatever else the machine does, so that two
versions can be compared closely. README.md explains the figures.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import gevent
from gevent.pywsgi import WSGIServer
from gevent.socket import wait_read
from probe import Probe

import wsredis
from wsredis import Identity, Publisher, WebSocketMiddleware
from wsredis.embedded import EmbeddedRedis

PACKAGE = Path(wsredis.__file__).parent
FACILITY = "bench"
ADDRESS = f"/ws/{FACILITY}"
BROADCAST = f"{ADDRESS}?subscribe-broadcast"
TEXT = "x" * 100

QUIET = 0.1
"""Seconds without a call after which what was asked for is done to its end."""


@dataclass(frozen=True)
class Sizes:
    """Hold the numbers of a run."""

    few: int = 100
    """Sockets that are written to as soon as a message is here."""
    many: int = 1000
    """Sockets that are written to in batches, between other work."""
    users: int = 200
    handshakes: int = 100
    broadcasts: int = 20
    said: int = 100
    closings: int = 100
    warm: int = 20
    """What is done of each before anything is counted."""


FULL = Sizes()
TINY = Sizes(few=5, many=150, users=5, handshakes=5, broadcasts=3, said=5, closings=5, warm=3)


class Tally:
    """Count the calls below wsredis, as the profile function of the server's thread.

    A call counts if a function of wsredis is among its callers, or is what is called; what this
    file does, as a resolver for one, does not count. Each greenlet has a stack of its own, so that
    one that yields takes nothing with it. The profile function has to be there before the first
    greenlet: one that was begun without it keeps silent.

    Args:
        package: the folder of wsredis.
    """

    def __init__(self, package: Path) -> None:
        self._below = f"{package}{os.sep}"
        self._here = Tally.__call__.__code__.co_filename
        self.python: Counter[CodeType] = Counter()
        self.c: Counter[tuple[str | None, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event not in ("call", "c_call") or frame.f_code.co_filename == self._here:
            return
        caller: FrameType | None = frame
        while caller is not None and not caller.f_code.co_filename.startswith(self._below):
            caller = caller.f_back
        if caller is None:
            return
        if event == "call":
            self.python[frame.f_code] += 1
        else:
            self.c[arg.__module__, arg.__qualname__] += 1

    def copy(self) -> Counted:
        """Return what has been counted so far."""
        return Counted(Counter(self.python), Counter(self.c))


@dataclass(frozen=True)
class Counted:
    """Hold calls by what was called."""

    python: Counter[CodeType]
    c: Counter[tuple[str | None, str]]

    def since(self, before: Counted) -> Counted:
        """Return what has come since an earlier copy."""
        return Counted(self.python - before.python, self.c - before.c)

    def each(self, count: int) -> Cost:
        """Return the calls for each of so many."""
        functions: Counter[str] = Counter()
        for code, calls in self.python.items():
            functions[python_name(code)] += calls
        for (module, name), calls in self.c.items():
            functions[c_name(module, name)] += calls
        named = {name: calls / count for name, calls in functions.most_common()}
        return Cost(self.python.total() / count, self.c.total() / count, named)


@dataclass(frozen=True)
class Cost:
    """Hold the calls for one of something, and those of each function, the most first."""

    python: float
    c: float
    functions: dict[str, float]


def python_name(code: CodeType) -> str:
    """Name a function by its module alone: it keeps that name where the module only moves."""
    path = Path(code.co_filename)
    module = path.parent.name if path.stem == "__init__" else path.stem
    return f"{module}.{code.co_qualname}"


def c_name(module: str | None, name: str) -> str:
    """Name a function in C, a method by its type."""
    return f"{name} (C)" if module in (None, "builtins") else f"{module}.{name} (C)"


class Crowd:
    """Be the clients and the publisher, in another process."""

    def __init__(self) -> None:
        self._probes: list[Probe] = []

    def open(self, port: int, targets: Sequence[str]) -> None:
        """Open a websocket for each target, one after the other."""
        for target in targets:
            self._probes.append(Probe(port, target))

    def broadcast(self, times: int) -> None:
        """Publish to everybody and wait until all have it, before the next one."""
        publisher = Publisher(FACILITY, broadcast=True)
        for _ in range(times):
            publisher.publish(TEXT)
            for probe in self._probes:
                probe.wait_for(1)

    def unicast(self, users: Sequence[int]) -> None:
        """Publish to each of these users, who came in that order, and wait until it is there."""
        for user in users:
            Publisher(FACILITY, users=[f"u{user}"]).publish(TEXT)
            self._probes[user].wait_for(1)

    def say(self, times: int) -> None:
        """Let the first one say something, and wait until all the others have it."""
        speaker, *others = self._probes
        for _ in range(times):
            speaker.say(TEXT)
            for probe in others:
                probe.wait_for(1)

    def part(self, times: int) -> None:
        """Close some in good order, the last one first."""
        for _ in range(times):
            self._probes.pop().part()

    def leave(self) -> None:
        """Close all without a word."""
        while self._probes:
            self._probes.pop().__exit__()


def be_the_crowd(pipe: Connection, others: Connection) -> None:
    """Do what the server's process asks for, until that ends."""
    others.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    crowd = Crowd()
    while True:
        try:
            name, args = pipe.recv()
        except EOFError:
            return
        try:
            getattr(crowd, name)(*args)
        except Exception as exc:
            pipe.send(f"{name}: {exc!r}")
        else:
            pipe.send(None)


def without_ticks() -> None:
    """Let what is done every so many seconds, like pings, never come: it would be in the figures.

    Call it before the hub of gevent is there.
    """
    base: Any = gevent.config.loop

    class Loop(base):  # type: ignore[misc]
        def timer(
            self, after: float, repeat: float = 0.0, ref: bool = True, priority: Any = None
        ) -> Any:
            after = 1e9 if repeat else after
            return super().timer(after, repeat, ref=ref, priority=priority)

    gevent.config.loop = Loop


class Stage:
    """Hold a server with its clients.

    Args:
        sizes: how much is done.
        port: of the server.
        pipe: leads to the clients' process.
        tally: what counts.
    """

    def __init__(self, sizes: Sizes, port: int, pipe: Connection, tally: Tally) -> None:
        self.sizes = sizes
        self._port = port
        self._pipe = pipe
        self._tally = tally

    def open(self, targets: Sequence[str]) -> Counted:
        """Have websockets opened, and return the calls of that."""
        return self.ask("open", self._port, targets)

    def ask(self, name: str, *args: Any) -> Counted:
        """Have the clients do something, and return the calls until it is done to its end.

        Raises:
            RuntimeError: it did not work.
        """
        before = self._tally.copy()
        self._pipe.send((name, args))
        wait_read(self._pipe.fileno())
        problem = self._pipe.recv()
        if problem is not None:
            raise RuntimeError(problem)
        last, now = before, self._tally.copy()
        while last != now:
            gevent.sleep(QUIET)
            last, now = now, self._tally.copy()
        return now.since(before)


Costs = dict[str, Cost]


def handshake(stage: Stage) -> Costs:
    sizes = stage.sizes
    stage.open([BROADCAST] * sizes.warm)
    return {"handshake": stage.open([BROADCAST] * sizes.handshakes).each(sizes.handshakes)}


def identity(stage: Stage) -> Costs:
    sizes = stage.sizes
    targets = [
        f"{ADDRESS}?subscribe-user&subscribe-group\tX-Bench-User: u{user}"
        for user in range(sizes.warm + sizes.handshakes)
    ]
    stage.open(targets[: sizes.warm])
    return {"identity": stage.open(targets[sizes.warm :]).each(sizes.handshakes)}


def few(stage: Stage) -> Costs:
    return fan_out(stage, "few", stage.sizes.few)


def many(stage: Stage) -> Costs:
    return fan_out(stage, "many", stage.sizes.many)


def fan_out(stage: Stage, name: str, sockets: int) -> Costs:
    times = stage.sizes.broadcasts
    stage.open([BROADCAST] * sockets)
    stage.ask("broadcast", stage.sizes.warm)
    found = stage.ask("broadcast", times)
    return {f"{name}_message": found.each(times), f"{name}_delivery": found.each(times * sockets)}


def unicast(stage: Stage) -> Costs:
    users = range(stage.sizes.users)
    stage.open([f"{ADDRESS}?subscribe-user\tX-Bench-User: u{user}" for user in users])
    stage.ask("unicast", users[: stage.sizes.warm])
    return {"unicast": stage.ask("unicast", users).each(len(users))}


def publish(stage: Stage) -> Costs:
    return say(stage, "publish", f"{BROADCAST}&publish-broadcast")


def echo(stage: Stage) -> Costs:
    return say(stage, "echo", f"{BROADCAST}&publish-broadcast&echo")


def say(stage: Stage, name: str, target: str) -> Costs:
    said = stage.sizes.said
    stage.open([target, BROADCAST])
    stage.ask("say", stage.sizes.warm)
    return {name: stage.ask("say", said).each(said)}


def close(stage: Stage) -> Costs:
    sizes = stage.sizes
    stage.open([BROADCAST] * (sizes.closings + 2 * sizes.warm))  # some stay, and the channel too
    stage.ask("part", sizes.warm)
    return {"close": stage.ask("part", sizes.closings).each(sizes.closings)}


def identify(request: Any) -> Identity | None:
    user = request.environ.get("HTTP_X_BENCH_USER")
    return Identity(user=user, groups=("staff", "editors")) if user else None


def allow(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    return requested


SCENARIOS: dict[str, tuple[Callable[[Stage], Costs], dict[str, Any]]] = {
    "handshake": (handshake, {}),
    "identity": (identity, {"identity": identify}),
    "few": (few, {}),
    "many": (many, {}),
    "unicast": (unicast, {"identity": identify}),
    "publish": (publish, {"allowed_channels": allow}),
    "echo": (echo, {"allowed_channels": allow}),
    "close": (close, {}),
}
"""What is done, and what of the middleware is not the default for it."""

LINES = {
    "handshake": "handshake, anonymous",
    "identity": "handshake, user and 2 groups",
    "few_message": "broadcast to {few:,}, message",
    "few_delivery": "broadcast to {few:,}, delivery",
    "many_message": "broadcast to {many:,}, message",
    "many_delivery": "broadcast to {many:,}, delivery",
    "unicast": "message to one of {users:,} users",
    "publish": "message from a socket",
    "echo": "message from a socket, echo",
    "close": "closing by the client",
}


@contextmanager
def serving(url: str, options: dict[str, Any]) -> Iterator[int]:
    """Serve websockets in this process and return the port."""
    middleware = WebSocketMiddleware(None, redis=url, **options)
    server = WSGIServer(("127.0.0.1", 0), middleware, log=None, error_log=None)
    server.start()
    port: int = server.socket.getsockname()[1]
    try:
        yield port
    finally:
        server.stop()
        middleware.close()


def measure(sizes: Sizes, names: Sequence[str]) -> Costs:
    """Count the calls of some scenarios, each on a server of its own.

    Raises:
        RuntimeError: something did not work, or nothing was counted.
    """
    costs: Costs = {}
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        os.environ["WSREDIS_REDIS"] = redis.url  # for the publisher of the clients
        pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")  # before there is anything of gevent's
        crowd = context.Process(target=be_the_crowd, args=(theirs, pipe), daemon=True)
        crowd.start()
        theirs.close()
        stack.callback(crowd.join)
        stack.callback(pipe.close)
        without_ticks()
        tally = Tally(PACKAGE)
        gc.disable()  # what it finds would be finalized below whoever happens to be running
        sys.setprofile(tally)
        stack.callback(sys.setprofile, None)
        for name in names:
            scenario, options = SCENARIOS[name]
            with serving(redis.url, options) as port:
                stage = Stage(sizes, port, pipe, tally)
                costs |= scenario(stage)
                stage.ask("leave")
            gc.collect()
    if not all(cost.python for cost in costs.values()):
        raise RuntimeError(f"nothing that is called lies in {PACKAGE}")
    return costs


def circumstances() -> dict[str, str]:
    """Return what the figures depend on; call it when everything has been imported."""
    packages = ("gevent", "greenlet", "redis", "WebOb", "websockets")
    return {
        "wsredis": str(PACKAGE),
        "fan-out": fan_out_loop(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def fan_out_loop() -> str:
    """Return in which language the loop over the sockets is."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("wsredis.") and name.endswith("_fanout"):
            path = getattr(module, "__file__", None) or ""
            if path.endswith(tuple(EXTENSION_SUFFIXES)):
                own = PACKAGE in Path(path).parents
                return "C" if own else f"C, of another tree: {path}"
    return "Python, no C extension is built"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal, its head first."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    return "\n".join(text)


def table(costs: Costs, sizes: Sizes) -> str:
    """Return the figures."""
    lines = [["calls for each", "Python", "C"]]
    for key, cost in costs.items():
        lines.append([text_of(key, sizes), f"{cost.python:,.2f}", f"{cost.c:,.2f}"])
    return aligned(lines)


def comparison(before: Costs, after: Costs, sizes: Sizes) -> str:
    """Return the figures beside those of an earlier run."""
    columns = ("before", "after", "difference")
    lines = [["calls for each", *(f"{kind}, {c}" for kind in ("Python", "C") for c in columns)]]
    for key, cost in after.items():
        old = before.get(key)
        line = [text_of(key, sizes)]
        line += compared(old.python if old else None, cost.python)
        line += compared(old.c if old else None, cost.c)
        lines.append(line)
    return aligned(lines)


def compared(was: float | None, now: float) -> list[str]:
    """Return a figure before and after, and by how much it differs."""
    if was is None:
        return ["", f"{now:,.2f}", ""]
    return [f"{was:,.2f}", f"{now:,.2f}", f"{now - was:+,.2f}"]


def most_called(text: str, cost: Cost, count: int) -> str:
    """Return the functions that are called most."""
    found = list(cost.functions.items())[:count]
    return aligned([[text, "calls"], *([name, f"{calls:,.2f}"] for name, calls in found)])


def most_changed(text: str, before: Cost, after: Cost, count: int) -> str:
    """Return the functions whose calls differ most."""
    was, now = before.functions, after.functions
    difference = {name: now.get(name, 0.0) - was.get(name, 0.0) for name in {*now, *was}}
    changed = [name for name, calls in difference.items() if round(calls, 2)]
    changed.sort(key=lambda name: (-abs(difference[name]), name))
    lines = [[text, "before", "after", "difference"]]
    for name in changed[:count]:
        lines.append([name, *compared(was.get(name, 0.0), now.get(name, 0.0))])
    return aligned(lines)


def text_of(key: str, sizes: Sizes) -> str:
    """Return how a row is called."""
    return LINES[key].format(**asdict(sizes))


@dataclass(frozen=True)
class Run:
    """Hold the figures of a run, what they depend on, and how much was done."""

    about: dict[str, str]
    sizes: Sizes
    costs: Costs

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read what an earlier run has written."""
        found = json.loads(path.read_text())
        costs = {key: Cost(**cost) for key, cost in found["costs"].items()}
        return cls(found["about"], Sizes(**found["sizes"]), costs)

    def unlike(self, other: Run) -> list[str]:
        """Return what else differs, beside the tree."""
        mine, theirs = (run.about | asdict(run.sizes) for run in (self, other))
        return [
            f"{key} was {theirs.get(key)}, is {mine[key]}"
            for key in mine
            if key != "wsredis" and mine[key] != theirs.get(key)
        ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="to see that it works, not for figures")
    parser.add_argument("--scenarios", default="", help="only these, with commas between them")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="list N functions for each "
                        "row: the most called, in a comparison the most changed")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="figures of an earlier run")
    found = parser.parse_args(arguments)
    found.scenarios = [name for name in found.scenarios.split(",") if name] or list(SCENARIOS)
    for name in found.scenarios:
        if name not in SCENARIOS:
            parser.error(f"{name} is none of {', '.join(SCENARIOS)}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Count, and print what was found."""
    options = parse(arguments)
    before = Run.read(options.compare) if options.compare else None
    sizes = TINY if options.tiny else FULL
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    costs = measure(sizes, options.scenarios)
    run = Run(circumstances(), sizes, costs)
    if options.json:
        run.write(options.json)
    print(", ".join(f"{key}: {value}" for key, value in run.about.items()), end="\n\n")
    if before is None:
        print(table(costs, sizes))
    else:
        for line in run.unlike(before):
            print(f"not alike: {line}")
        print(comparison(before.costs, costs, sizes))
    for key, cost in costs.items() if options.top else ():
        old = before.costs.get(key) if before else None
        if key.endswith("_delivery"):
            continue  # the same functions as for the message
        if old is None:
            print("", most_called(text_of(key, sizes), cost, options.top), sep="\n")
        elif old.functions != cost.functions:
            print("", most_changed(text_of(key, sizes), old, cost, options.top), sep="\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
