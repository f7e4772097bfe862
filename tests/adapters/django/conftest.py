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
