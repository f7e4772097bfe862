#!/usr/bin/env python3
"""Mutation testing: change a module of the core in one place at a time and run the module's tests.

Usage: scripts/mutate.py naming access/policy hub/gaps

The tests of `wsredis/FOLDER/NAME.py` are `tests/FOLDER/test_NAME*.py`, and those in `ALSO`. It
needs an environment with wsredis[test], where the source tree is installed in editable mode. A
mutant that passes all tests is printed as its changed line; docs/reliability.md explains those of
the last run.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

ASGI = ("asgi/test_bad_input.py", "asgi/test_host.py", "asgi/test_states.py")

ALSO = {
    "asgi/endpoint": ASGI,
    "asgi/host": ASGI,
    "asgi/lifespan": ASGI,
    "asgi/loop": (*ASGI, "asgi/test_watch.py"),
    "asgi/run": ASGI,
    "handshake/origin": ("handshake/test_refusal.py",),
    "handshake/refusal": ("endpoints/test_base.py", "transports/test_opening.py"),
    "handshake/upgrade": (
        "endpoints/test_base.py",
        "handshake/test_negotiation.py",
        "handshake/test_origin.py",
        "handshake/test_refusal.py",
        "transports/test_opening.py",
    ),
    "hub/hub": (
        "hub/test_dispatch_edges.py",
        "transports/test_slow_readers.py",
        "transports/test_websocket.py",
    ),
    "hub/keepalive": ("transports/test_opening.py",),
    "transports/opening": ("transports/test_websocket.py", "endpoints/test_base.py"),
    "transports/stream": ("transports/test_websocket.py", "transports/test_slow_readers.py"),
}
"""Additional tests of modules that are used through, or together with, another module."""

LONGER = 10
"""How many times longer than without changes the tests of a mutant may take, else it is killed."""

SWAPS: dict[type, type] = {
    ast.Eq: ast.NotEq,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
    ast.And: ast.Or,
    ast.Add: ast.Sub,
    ast.Mult: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.Break: ast.Continue,
}
SWAPS |= {new: old for old, new in SWAPS.items()}


def changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    """Yield functions that change a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        new = SWAPS[type(node.ops[0])]()
        yield lambda it: it.ops.__setitem__(0, new)
    elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign) and type(node.op) in SWAPS:
        operator = SWAPS[type(node.op)]()
        yield lambda it: setattr(it, "op", operator)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda it: become(it, it.operand)
    elif isinstance(node, ast.Break | ast.Continue):
        yield lambda it: become(it, SWAPS[type(it)]())
    elif isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        yield lambda it: setattr(it, "test", ast.UnaryOp(ast.Not(), it.test))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield lambda it: it.ifs.clear()
    elif isinstance(node, ast.Return | ast.Assign) and not _is_none(node.value) | _is_all(node):
        yield lambda it: setattr(it, "value", ast.Constant(None))
    elif isinstance(node, ast.Raise | ast.Expr) and not _is_text(node):
        yield lambda it: become(it, ast.Pass())
    elif isinstance(node, ast.Constant) and node.value is not None:
        value: Any = node.value
        if isinstance(value, bool):
            yield lambda it: setattr(it, "value", not value)
        elif isinstance(value, int | float):
            yield lambda it: setattr(it, "value", value + 1)
        elif isinstance(value, str | bytes) and not _is_sentence(value):
            more = "x" if isinstance(value, str) else b"x"
            yield lambda it: setattr(it, "value", value + more)  # type: ignore[operator]


def become(node: Any, other: ast.AST) -> None:
    """Replace a node with another in place."""
    node.__class__ = other.__class__
    node.__dict__.update(other.__dict__)


def _is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run: no docstrings, no annotations, no ``__all__``."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns") or _is_all(tree):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_text(child):
                yield child
                yield from nodes(child)


def _is_sentence(text: str | bytes) -> bool:
    """Return whether a text is for people to read, and not part of a protocol."""
    return isinstance(text, str) and " " in text


def _is_all(node: ast.AST) -> bool:
    """Return whether a node is the assignment of ``__all__``."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the original code and the changed module of each mutant."""
    tree = ast.parse(source)
    for index, node in enumerate(nodes(tree)):
        for number, _ in enumerate(changes(node)):
            other = copy.deepcopy(tree)
            changed: Any = list(nodes(other))[index]
            list(changes(changed))[number](changed)
            yield _line(node), ast.unparse(node), ast.unparse(ast.fix_missing_locations(other))


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0) or _line(node.target)  # type: ignore[attr-defined]


def survives(module: str, source: str, seconds: int = 300) -> bool:
    """Run a module's tests with changed source in a separate process; return whether all pass."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    signal.alarm(seconds)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    code = 1
    try:
        put(f"wsredis.{module.replace('/', '.')}", source)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        folder, _, name = module.rpartition("/")
        files = map(str, sorted((ROOT / "tests" / folder).glob(f"test_{name}*.py")))
        files = [*files, *(str(ROOT / "tests" / more) for more in ALSO.get(module, ()))]
        code = pytest.main([*options, *files])
    finally:
        os._exit(int(code))


def put(name: str, source: str) -> None:
    """Let a module be imported from the given source."""

    class Finder:
        @staticmethod
        def find_spec(wanted: str, *_: object) -> Any:
            if wanted != name:
                return None
            file = str(ROOT / f"{name.replace('.', '/')}.py")
            spec: Any = importlib.util.spec_from_file_location(name, file)
            spec.loader.get_code = lambda _: compile(source, file, "exec")
            return spec

    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]


def main(modules: list[str]) -> int:
    """Print the surviving mutants and return the exit code, 1 if there are any."""
    os.chdir(ROOT)
    lived = 0
    for module in modules:
        file = ROOT / "wsredis" / f"{module}.py"
        if not file.is_file():
            raise SystemExit(f"there is no module {module}: write names such as hub/gaps")
        text = file.read_text()
        began = time.monotonic()
        if not survives(module, text):
            raise SystemExit(f"the tests of {module} fail without changes, or there are none")
        seconds = 5 + LONGER * round(time.monotonic() - began)
        made = list(mutants(text))
        original = ast.unparse(ast.parse(text)).splitlines()
        found = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            texts = (text for *_, text in made)
            alive = pool.map(partial(survives, module, seconds=seconds), texts)
            for (line, was, mutant), lives in zip(made, alive, strict=True):
                if lives:
                    found += 1
                    lines = mutant.splitlines()
                    new = next((b for a, b in zip(original, lines, strict=False) if a != b), "")
                    where = f"wsredis/{module}.py:{line}"
                    print(f"{where}: {was.splitlines()[0]}\n    {new.strip()}", flush=True)
        print(f"{module}: {len(made)} mutants, {found} survive", flush=True)
        lived += found
    return 1 if lived else 0


if __name__ == "__main__":
    import gevent.monkey  # imported once for all tests
    import redis
    import webob
    import websockets.server

    del gevent, redis, webob, websockets
    sys.exit(main(sys.argv[1:] or ["naming", "access/policy", "handshake/upgrade"]))
