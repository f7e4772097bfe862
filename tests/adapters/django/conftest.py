"""The site under test inside this process: its database, a live server, people who log in."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parent / "project"
FOLDER = tempfile.TemporaryDirectory(prefix="wsredis-django-")

sys.path.insert(0, str(PROJECT))
os.environ["DJANGO_SETTINGS_MODULE"] = "chatsite.settings"
os.environ["CHATSITE_DB"] = str(Path(FOLDER.name, "db.sqlite3"))

import django  # noqa: E402

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.servers.basehttp import WSGIRequestHandler  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

from wsredis.adapters.django.testing import LiveServer  # noqa: E402


@pytest.fixture(scope="session")
def _tables() -> Iterator[None]:
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def db(_tables: None) -> Iterator[None]:
    """Give the tables, and empty them afterwards."""
    yield
    call_command("flush", interactive=False, verbosity=0)
    connections.close_all()


@pytest.fixture(autouse=True)
def site(redis_url: str) -> Iterator[Callable[..., Any]]:
    """Point the site to this process's Redis; call it to change its options for the test."""
    with ExitStack() as stack:

        def change(options: dict[str, Any] | None = None, **settings: Any) -> None:
            given = {"redis": redis_url, **(options or {})}
            stack.enter_context(override_settings(WSREDIS=given, **settings))

        change({"allowed_channels": "chatsite.channels.members"})
        yield change


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Live:
    """Hold the live server: where it is, and what its threads could not help raising."""

    host: str
    errors: list[str] = field(default_factory=list)

    def open(self, path: str, client: Client | None = None, **headers: str) -> ClientConnection:
        """Open a websocket as a page of the site would, with the cookies of a client."""
        if client is not None:
            headers["Cookie"] = "; ".join(f"{k}={m.value}" for k, m in client.cookies.items())
        headers.setdefault("Origin", f"http://{self.host}")
        return connect(f"ws://{self.host}{path}", additional_headers=headers)


@contextmanager
def serving() -> Iterator[Live]:
    """Run a live server in a thread."""
    server = LiveServer(("127.0.0.1", 0), _Quiet)
    live = Live(f"127.0.0.1:{server.server_address[1]}")
    server.handle_error = lambda *_: live.errors.append(repr(sys.exc_info()[1]))
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield live
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def _server(redis_url: str) -> Iterator[Live]:
    with serving() as live:
        yield live


@pytest.fixture
def live(_server: Live, site: object) -> Iterator[Live]:
    """Give the live server, whose settings are those of the test."""
    yield _server
    errors, _server.errors = _server.errors, []
    assert not errors


@pytest.fixture
def person(db: None) -> Callable[..., Any]:
    """Give a function that makes a user who is in some groups."""

    def make(name: str, *groups: str, **fields: Any) -> Any:
        user = get_user_model().objects.create_user(name, password="secret", **fields)
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
