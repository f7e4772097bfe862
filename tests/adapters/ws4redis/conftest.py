"""A site that used django-websocket-redis, in this process: settings, people, a live server."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings

FOLDER = tempfile.TemporaryDirectory(prefix="ws4redis-tests-")

# One process has one Django: where the adapter's tests have set theirs up, it serves here too.
if not settings.configured and "DJANGO_SETTINGS_MODULE" not in os.environ:
    settings.configure(
        SECRET_KEY="a key that only the tests know",
        ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver", "chat.example"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(FOLDER.name, "db.sqlite3")),
                "OPTIONS": {"timeout": 20},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
    )
urlpatterns: list[Any] = []
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402
from django.contrib.auth.signals import user_logged_in  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.models.signals import m2m_changed  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402
from ws4redis import django_runserver, groups  # noqa: E402

from wsredis.embedded import EmbeddedRedis  # noqa: E402


@pytest.fixture(scope="session")
def _tables() -> Iterator[None]:
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def db(_tables: None) -> Iterator[None]:
    """Give the tables, and the receivers that the application connects; empty them afterwards."""
    groups.connect()
    yield
    user_logged_in.disconnect(dispatch_uid="ws4redis.login")
    through = get_user_model().groups.through
    m2m_changed.disconnect(sender=through, dispatch_uid="ws4redis.groups")
    call_command("flush", interactive=False, verbosity=0)
    connections.close_all()


@pytest.fixture(autouse=True)
def site(redis_server: EmbeddedRedis) -> Iterator[Callable[..., None]]:
    """Point the site to this process's Redis; call it to change more settings for the test."""
    with ExitStack() as stack:

        def change(**changed: Any) -> None:
            stack.enter_context(override_settings(**changed))

        change(
            WSREDIS={}, WS4REDIS_CONNECTION={"host": "127.0.0.1", "port": redis_server.port},
        )  # fmt: skip
        yield change


@pytest.fixture
def redis(redis_server: EmbeddedRedis) -> Iterator[Any]:
    """Give a client as anybody may have one."""
    import redis

    with redis.Redis(port=redis_server.port, socket_timeout=10) as client:
        yield client


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Live:
    """Hold the live server: where it is, and what it could not help raising."""

    host: str
    server: Any = django_runserver._websocket_app
    errors: list[str] = field(default_factory=list)

    def open(
        self, path: str, client: Client | None = None, options: Any = None, **headers: str
    ) -> ClientConnection:
        """Open a websocket as a page of the site would, with the cookies of a client."""
        if client is not None:
            headers["Cookie"] = "; ".join(f"{k}={m.value}" for k, m in client.cookies.items())
        headers.setdefault("Origin", f"http://{self.host}")
        options = {"proxy": None, "open_timeout": 10, **(options or {})}
        return connect(f"ws://{self.host}{path}", additional_headers=headers, **options)


@pytest.fixture(scope="session")
def _server(redis_server: EmbeddedRedis) -> Iterator[Live]:
    server = ThreadedWSGIServer(("127.0.0.1", 0), _Quiet)
    live = Live(f"127.0.0.1:{server.server_address[1]}")
    server.handle_error = lambda *_: live.errors.append(repr(sys.exc_info()[1]))
    server.set_app(django_runserver.application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield live
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        live.server.close()


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
