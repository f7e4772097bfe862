"""The site under test in this process, live on a port if a test needs that."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from wsredis import Config, Publisher

from ..support import Browser

PROJECT = Path(__file__).parent / "project"
sys.path.insert(0, str(PROJECT))

import flasksite  # noqa: E402


@pytest.fixture
def make(config: Config, nothing_is_configured: None) -> Callable[..., Flask]:
    """Give the factory of the site; its Redis is empty."""

    def make(**options: Any) -> Flask:
        app: Flask = flasksite.create_app(**{"WSREDIS_REDIS": config.redis, **options})
        app.testing = True
        return app

    return make


@pytest.fixture
def retained(room: str, config: Config) -> Callable[[], Any]:
    """Give what a publication has left in Redis."""
    return Publisher(room, broadcast=True, config=config).fetch


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def serving(app: Flask, application: Any = None) -> Iterator[Browser]:
    """Run an application in threads of this process, and give a browser."""
    server = make_server("127.0.0.1", 0, application or app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Browser(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["wsredis"].close()


@pytest.fixture
def live(make: Callable[..., Flask]) -> Iterator[Callable[..., Browser]]:
    """Give a function that serves the site, with options, and returns a browser."""
    with ExitStack() as stack:

        def serve(app: Flask | None = None, application: Any = None, **options: Any) -> Browser:
            return stack.enter_context(serving(app or make(**options), application))

        yield serve


@pytest.fixture
def room() -> str:
    """Return a facility that is this test's alone."""
    return f"room-{os.urandom(6).hex()}"
