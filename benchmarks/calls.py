"""Count the function calls of wsredis for a handshake, a message, a delivery and a close.

    .venv/bin/python benchmarks/calls.py --json before.json
    .venv/bin/python benchmarks/calls.py --compare before.json

prints a table. The counts are the same on every run, even on a busy machine, so two versions can be
compared exactly. README.md explains the figures.
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
"""How many seconds without a call mean that an action is complete."""


@dataclass(frozen=True)
class Sizes:
    """The numbers of a run."""

    few: int = 100
    """The number of sockets to which a message is written at once."""
    many: int = 1000
    """The number of sockets to which a message is written in batches, between other work."""
    users: int = 200
    handshakes: int = 100
    broadcasts: int = 20
    said: int = 100
    closings: int = 100
    warm: int = 20
    """How many of each are done before counting starts."""


FULL = Sizes()
TINY = Sizes(few=5, many=150, users=5, handshakes=5, broadcasts=3, said=5, closings=5, warm=3)


class Tally:
    """A profile function of the server's thread, which counts the calls of wsredis.

    A call counts if the called function or one of its callers is in wsredis; functions of this
    file, such as the resolver, do not count. Each greenlet has its own stack, so greenlets that
    yield are counted correctly. The profile function must be set before the first greenlet starts,
    as it is not called in greenlets that were started without it.

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
    """The numbers of calls, by function."""

    python: Counter[CodeType]
    c: Counter[tuple[str | None, str]]

    def since(self, before: Counted) -> Counted:
        """Return the calls since an earlier copy."""
        return Counted(self.python - before.python, self.c - before.c)

    def each(self, count: int) -> Cost:
        """Return the calls divided by a number of actions."""
        functions: Counter[str] = Counter()
        for code, calls in self.python.items():
            functions[python_name(code)] += calls
        for (module, name), calls in self.c.items():
            functions[c_name(module, name)] += calls
        named = {name: calls / count for name, calls in functions.most_common()}
        return Cost(self.python.total() / count, self.c.total() / count, named)


@dataclass(frozen=True)
class Cost:
    """The calls for one action, in total and by function, the most called function first."""

    python: float
    c: float
    functions: dict[str, float]


def python_name(code: CodeType) -> str:
    """Return a function's name with its module's last part, which stays if the module is moved."""
    path = Path(code.co_filename)
    module = path.parent.name if path.stem == "__init__" else path.stem
    return f"{module}.{code.co_qualname}"


def c_name(module: str | None, name: str) -> str:
    """Return the name of a C function; of a method with its type."""
    return f"{name} (C)" if module in (None, "builtins") else f"{module}.{name} (C)"


class Crowd:
    """The clients and the publisher, in another process."""

    def __init__(self) -> None:
        self._probes: list[Probe] = []

    def open(self, port: int, targets: Sequence[str]) -> None:
        """Open a websocket for each target, one after the other."""
        for target in targets:
            self._probes.append(Probe(port, target))

    def broadcast(self, times: int) -> None:
        """Publish to all clients, and wait until all have the message before the next one."""
        publisher = Publisher(FACILITY, broadcast=True)
        for _ in range(times):
            publisher.publish(TEXT)
            for probe in self._probes:
                probe.wait_for(1)

    def unicast(self, users: Sequence[int]) -> None:
        """Publish to each of these users, given in the order of opening, and wait for delivery."""
        for user in users:
            Publisher(FACILITY, users=[f"u{user}"]).publish(TEXT)
            self._probes[user].wait_for(1)

    def say(self, times: int) -> None:
        """Send messages from the first client, and wait until all others have each."""
        speaker, *others = self._probes
        for _ in range(times):
            speaker.say(TEXT)
            for probe in others:
                probe.wait_for(1)

    def part(self, times: int) -> None:
        """Close some websockets with a close handshake, the last one first."""
        for _ in range(times):
            self._probes.pop().part()

    def leave(self) -> None:
        """Close all connections without a close frame."""
        while self._probes:
            self._probes.pop().__exit__()


def be_the_crowd(pipe: Connection, others: Connection) -> None:
    """Run the commands of the server's process, until that ends."""
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
    """Disable periodic timers, such as those of pings, which would be in the figures.

    Call it before gevent's hub is created.
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
    """A server with its clients.

    Args:
        sizes: the numbers of the run.
        port: the port of the server.
        pipe: the pipe to the clients' process.
        tally: the counter of calls.
    """

    def __init__(self, sizes: Sizes, port: int, pipe: Connection, tally: Tally) -> None:
        self.sizes = sizes
        self._port = port
        self._pipe = pipe
        self._tally = tally

    def open(self, targets: Sequence[str]) -> Counted:
        """Open websockets, and return the calls for it."""
        return self.ask("open", self._port, targets)

    def ask(self, name: str, *args: Any) -> Counted:
        """Run a command of the clients, and return the calls until it is complete.

        Raises:
            RuntimeError: the command failed.
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
    # Some websockets stay open, so the channel stays subscribed.
    stage.open([BROADCAST] * (sizes.closings + 2 * sizes.warm))
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
"""The scenarios, each with the arguments of the middleware that are not the default."""

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
    """Count the calls of some scenarios, each on a separate server.

    Raises:
        RuntimeError: a scenario failed, or nothing was counted.
    """
    costs: Costs = {}
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis())
        os.environ["WSREDIS_REDIS"] = redis.url  # for the publisher of the clients
        pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")  # before gevent is used
        crowd = context.Process(target=be_the_crowd, args=(theirs, pipe), daemon=True)
        crowd.start()
        theirs.close()
        stack.callback(crowd.join)
        stack.callback(pipe.close)
        without_ticks()
        tally = Tally(PACKAGE)
        gc.disable()  # finalizers would be counted for the function that is running
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
        raise RuntimeError(f"no function in {PACKAGE} was called")
    return costs


def circumstances() -> dict[str, str]:
    """Return the versions that the figures depend on; call it after all imports."""
    packages = ("gevent", "greenlet", "redis", "WebOb", "websockets")
    return {
        "wsredis": str(PACKAGE),
        "fan-out": fan_out_loop(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def fan_out_loop() -> str:
    """Return the language of the loop over the sockets."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("wsredis.") and name.endswith("_fanout"):
            path = getattr(module, "__file__", None) or ""
            if path.endswith(tuple(EXTENSION_SUFFIXES)):
                own = PACKAGE in Path(path).parents
                return "C" if own else f"C, of another tree: {path}"
    return "Python, the C extension is not built"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal, with the header row first."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    return "\n".join(text)


def table(costs: Costs, sizes: Sizes) -> str:
    """Return a table of the figures."""
    lines = [["calls for each", "Python", "C"]]
    for key, cost in costs.items():
        lines.append([text_of(key, sizes), f"{cost.python:,.2f}", f"{cost.c:,.2f}"])
    return aligned(lines)


def comparison(before: Costs, after: Costs, sizes: Sizes) -> str:
    """Return a table of the figures and those of an earlier run."""
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
    """Return a figure before and after, and the difference."""
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
    """Return the title of a row."""
    return LINES[key].format(**asdict(sizes))


@dataclass(frozen=True)
class Run:
    """The figures of a run, with the versions and sizes they depend on."""

    about: dict[str, str]
    sizes: Sizes
    costs: Costs

    def write(self, path: Path) -> None:
        """Write the run to a file as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read an earlier run from a file."""
        found = json.loads(path.read_text())
        costs = {key: Cost(**cost) for key, cost in found["costs"].items()}
        return cls(found["about"], Sizes(**found["sizes"]), costs)

    def unlike(self, other: Run) -> list[str]:
        """Return the differences other than the tree, a line for each."""
        mine, theirs = (run.about | asdict(run.sizes) for run in (self, other))
        return [
            f"{key} was {theirs.get(key)}, now {mine[key]}"
            for key in mine
            if key != "wsredis" and mine[key] != theirs.get(key)
        ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a quick test, without valid figures")
    parser.add_argument("--scenarios", default="", help="run only these, separated by commas")
    parser.add_argument("--top", type=int, default=0, metavar="N", help="list N functions for each "
                        "row: the most called, or with --compare the most changed")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="figures of an earlier run")
    found = parser.parse_args(arguments)
    found.scenarios = [name for name in found.scenarios.split(",") if name] or list(SCENARIOS)
    for name in found.scenarios:
        if name not in SCENARIOS:
            parser.error(f"unknown scenario {name}: write some of {', '.join(SCENARIOS)}")
    return found


def main(arguments: Sequence[str]) -> int:
    """Count the calls and print the tables."""
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
            print(f"different: {line}")
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
