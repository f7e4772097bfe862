"""Servers as fixtures: `server` is each setup in turn, `start` starts one for a single test."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from wsredis.embedded import EmbeddedRedis

from ..faults.proxy import Proxy
from .support import SETUPS, Setup, Site, new_room, parameters
from .wire import TEXT

SECRET = "the session store has a secret problem"
"""What the application under test raises on request; its traceback belongs into the log."""

TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n((?:[ \t].*\n)*)(.*)")

RECORD = re.compile(r"\d{4}-\d\d-\d\d |127\.0\.0\.1 - - ")

CONFIG = {
    "heartbeat": "--heartbeat--",
    "heartbeat_interval": 3600,
    "max_fragments": 128,
    "serve_client": 1,
    "subprotocols": "chat.v2 chat.v1",
}


@pytest.fixture(scope="session", params=parameters(*SETUPS))
def server(
    request: pytest.FixtureRequest,
    redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Run each set-up once for all tests that take it, and then read its log."""
    setup: Setup = request.param
    site = Site(setup, tmp_path_factory.mktemp("site"), redis_server.url, config=CONFIG)
    site.start()
    try:
        yield site
    finally:
        site.stop()
    assert_calm(site)


@pytest.fixture
def start(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Start a server for this test: ``start(setup, app=..., options=..., redis=..., **config)``."""
    with ExitStack() as stack:
        sites: list[Site] = []

        def start(setup: Setup | str, **options: Any) -> Site:
            names = {"app", "options", "trust"} & options.keys()
            chosen = {name: options.pop(name) for name in names}
            url = options.pop("redis", redis_server.url)
            which = SETUPS[setup] if isinstance(setup, str) else setup
            site = Site(which, tmp_path_factory.mktemp("site"), url, config=options, **chosen)
            sites.append(site)
            stack.callback(site.stop)
            return site.start()

        start.sites = sites  # type: ignore[attr-defined]
        yield start
    for site in sites:
        assert_calm(site)


@pytest.fixture
def proxy(own_redis: EmbeddedRedis) -> Iterator[Proxy]:
    """Give a way to the Redis of this test that can break."""
    proxy = Proxy(own_redis.port)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def room() -> str:
    """Return a facility that is this test's alone."""
    return new_room()


@pytest.fixture
def steady(server: Site, room: str) -> Iterator[None]:
    """Keep a websocket in the same process beside each test: it neither ends nor misses a word."""
    pids = server.pids()
    with server.wire(f"/ws/{room}beside?subscribe-broadcast&publish-broadcast&echo") as wire:
        yield
        wire.send_frame(TEXT, b"and now")
        assert wire.receive_text() == "and now"
    assert server.pids() == pids


def assert_calm(site: Site) -> None:
    """Find nothing in a log that went wrong, but for what the tests have asked for.

    Some servers tell at length of a client that vanished before its request was whole, which is
    their own business as long as nothing of ours was called.
    """
    text = site.log()
    # Threads that log while another one writes its traceback put their lines into it.
    rest = "".join(line for line in text.splitlines(True) if not RECORD.match(line))
    for stack, error in TRACEBACK.findall(rest):
        vanished = error.startswith(("ConnectionResetError", "BrokenPipeError"))
        # gunicorn's sync worker ends like this while it sends the last bytes of a page.
        vanished = vanished or error == "SystemExit: 0"
        asked = SECRET in error or error == "KeyboardInterrupt"
        if not asked and ("wsredis" in stack or not vanished):
            pytest.fail(f"{site.setup.name} has logged:\n{stack}{error}\n\n{text[-9000:]}")
    for word in ("Exception ignored", "SystemError", "Segmentation", "DAMN"):
        assert word not in text or word in site.excused, (
            f"{site.setup.name} has logged:\n{text[-9000:]}"
        )


@pytest.fixture(autouse=True)
def _mark(request: pytest.FixtureRequest) -> None:
    """Let the log of a shared server begin with the test."""
    if "server" in request.fixturenames:
        request.getfixturevalue("server").mark()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Iterator[None]:
    """Show what the servers of a failed test have said meanwhile."""
    report: Any = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for site in getattr(value, "sites", [value]):
                if isinstance(site, Site):
                    title = f"log of {site.setup.name}"
                    report.sections.append((title, site.news()[-20_000:]))
    return report
