"""A site that used django-websocket-redis, in this process: settings, users, a live server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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
from django.contrib.auth.signals import user_logged_in  # noqa: E402
from django.db.models.signals import m2m_changed  # noqa: E402
from django.test import override_settings  # noqa: E402
from ws4redis import django_runserver, groups  # noqa: E402

from wsredis.embedded import EmbeddedRedis  # noqa: E402

from .. import django_site  # noqa: E402
from ..django_site import live, login, person, room, tables  # noqa: E402

__all__ = ["live", "login", "person", "room", "tables"]


@pytest.fixture
def db(tables: None) -> Iterator[None]:
    """Give the tables, and the receivers that the application connects; empty them afterwards."""
    groups.connect()
    yield
    user_logged_in.disconnect(dispatch_uid="ws4redis.login")
    through = get_user_model().groups.through
    m2m_changed.disconnect(sender=through, dispatch_uid="ws4redis.groups")
    django_site.empty()


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

    with redis.Redis(port=redis_server.port, socket_timeout=30) as client:
        yield client


@dataclass
class Live(django_site.Live):
    """The live server, with the server of the websockets."""

    server: Any = django_runserver._websocket_app


@pytest.fixture(scope="session")
def server(redis_server: EmbeddedRedis) -> Iterator[Live]:
    with django_site.serving(django_runserver.application, held=Live) as live:
        yield live
    live.server.close()
