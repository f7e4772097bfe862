"""A Django site in this process: its tables, users who log in, a live server.

A conftest imports the fixtures it needs after it has set up its site.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connections
from django.test import Client
from websockets.sync.client import ClientConnection, connect

from wsredis.adapters.django.revoke import without_revocations

__all__ = ["Live", "empty", "live", "login", "person", "room", "serving", "tables"]


@pytest.fixture(scope="session")
def tables() -> Iterator[None]:
    """Make the tables; a fixture ``db`` of the conftest empties them after each test."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


def empty() -> None:
    """Empty all tables."""
    call_command("flush", interactive=False, verbosity=0)
    connections.close_all()


@pytest.fixture
def person(db: None) -> Callable[..., Any]:
    """Give a function that makes a user who is in some groups.

    It sends no revocation, which could arrive after a websocket of the test has opened.
    """

    def make(name: str, *groups: str, **fields: Any) -> Any:
        user = get_user_model().objects.create_user(name, password="secret", **fields)
        with without_revocations():
            user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
        return user

    return make


@pytest.fixture
def login() -> Callable[[Any], Client]:
    """Give a function that returns a browser in which a user has logged in."""

    def make(user: Any) -> Client:
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return client

    return make


@pytest.fixture
def room() -> str:
    """Return a facility that is this test's alone."""
    return f"room-{os.urandom(6).hex()}"


@dataclass
class Live:
    """The live server: its address, and the exceptions of its threads."""

    host: str
    errors: list[str] = field(default_factory=list)

    def open(
        self, path: str, client: Client | None = None, options: Any = None, **headers: str
    ) -> ClientConnection:
        """Open a websocket as a page of the site would, with the cookies of a client."""
        if client is not None:
            headers["Cookie"] = "; ".join(f"{k}={m.value}" for k, m in client.cookies.items())
        headers.setdefault("Origin", f"http://{self.host}")
        options = {"proxy": None, "open_timeout": 30, **(options or {})}
        return connect(f"ws://{self.host}{path}", additional_headers=headers, **options)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(
    application: Any,
    kind: type[ThreadedWSGIServer] = ThreadedWSGIServer,
    held: Callable[[str], Live] = Live,
) -> Iterator[Live]:
    """Run a server of Django's in a thread; a conftest's fixture ``server`` does so."""
    server = kind(("127.0.0.1", 0), _Quiet)
    live = held(f"127.0.0.1:{server.server_address[1]}")
    server.handle_error = lambda *_: live.errors.append(repr(sys.exc_info()[1]))
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield live
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def live(server: Live, site: object) -> Iterator[Live]:
    """Give the live server, whose settings are those of the test."""
    yield server
    errors, server.errors = server.errors, []
    assert not errors
