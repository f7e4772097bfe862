"""The site under test in this process: its settings, its database, its live server."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import pytest

PROJECT = Path(__file__).parent / "project"
FOLDER = tempfile.TemporaryDirectory(prefix="wsredis-django-")

sys.path.insert(0, str(PROJECT))
os.environ["DJANGO_SETTINGS_MODULE"] = "chatsite.settings"
os.environ["CHATSITE_DB"] = str(Path(FOLDER.name, "db.sqlite3"))
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.test import override_settings  # noqa: E402

from wsredis.adapters.django.testing import LiveServer  # noqa: E402

from ..django_site import Live, empty, live, login, person, room, serving, tables  # noqa: E402
from .support import BACKENDS, ENGINES, Person, store  # noqa: E402

__all__ = ["live", "login", "person", "room", "tables"]


@pytest.fixture
def db(tables: None) -> Iterator[None]:
    """Give the tables, and empty them afterwards."""
    yield
    empty()


@pytest.fixture(autouse=True)
def site(redis_url: str) -> Iterator[Callable[..., Any]]:
    """Point the site to this process's Redis; call it to change its options for the test."""
    with ExitStack() as stack:

        def change(options: dict[str, Any] | None = None, **settings: Any) -> None:
            given = {"redis": redis_url, **(options or {})}
            stack.enter_context(override_settings(WSREDIS=given, **settings))

        change({"allowed_channels": "chatsite.channels.members"})
        yield change


@pytest.fixture(scope="session")
def server(redis_url: str) -> Iterator[Live]:
    with serving(WSGIHandler(), LiveServer) as live:
        yield live


@pytest.fixture(params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, db: None
) -> Iterator[str]:
    """Let the site have each of Django's session engines, or those of `support.engines`."""
    name: str = request.param
    cache = "django.core.cache.backends.locmem.LocMemCache"
    if name == "redis":
        cache = "django.core.cache.backends.redis.RedisCache"
    with override_settings(
        SESSION_ENGINE=BACKENDS + name.replace("redis", "cache"),
        SESSION_FILE_PATH=str(tmp_path),
        CACHES={"default": {"BACKEND": cache, "LOCATION": redis_url}},
    ):
        for kind in type(store()).__mro__:
            if "_storage_path" in vars(kind):  # that of an earlier test
                del kind._storage_path
        yield name


@pytest.fixture
def alice(person: Person) -> Any:
    return person("alice", "editors")


@pytest.fixture
def path(room: str) -> str:
    return f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session"


@pytest.fixture
def revocations(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect the revocations instead of sending them."""
    given: list[dict[str, Any]] = []

    def disconnect(config: Any, **revocation: Any) -> None:
        given.append(revocation)

    monkeypatch.setattr("wsredis.adapters.django.revoke.disconnect", disconnect)
    return given
