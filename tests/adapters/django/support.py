"""Support for the tests of the adapter: session engines, the ends of websockets, checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import django
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import checks
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from ..support import SECONDS

Login = Callable[[Any], Client]
Person = Callable[..., Any]
Site = Callable[..., None]

BACKENDS = "django.contrib.sessions.backends."
ENGINES = ["db", "cache", "redis", "cached_db", "file", "signed_cookies"]
WITH_STORE = ENGINES[:-1]
WITH_TABLE = ["db", "cached_db"]

ASYNC = pytest.mark.skipif(
    django.VERSION < (5, 1), reason="sessions have methods for asyncio since 5.1"
)


def engines(*names: str) -> pytest.MarkDecorator:
    """Run a test with these engines instead of all."""
    return pytest.mark.parametrize("engine", names, indirect=True)


def store(client: Client | None = None) -> Any:
    """Return the store of a client's session, as code outside a request makes it."""
    key = client.cookies[settings.SESSION_COOKIE_NAME].value if client else None
    return import_module(settings.SESSION_ENGINE).SessionStore(key)


def expired(count: int) -> None:
    """Make ``count`` rows of expired sessions."""
    old = timezone.now() - timedelta(days=1)
    rows = [Session(pk=f"expired{n}", session_data="", expire_date=old) for n in range(count)]
    Session.objects.bulk_create(rows)


def ended(ws: ClientConnection) -> int:
    """Wait for the end and return its close code."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def stays(ws: ClientConnection) -> bool:
    """Return whether a websocket answers, and so has got no close frame before."""
    assert ws.ping().wait(SECONDS)
    return ws.close_code is None


def found(deploy: bool = False) -> dict[str, checks.CheckMessage]:
    """Return what the checks say, by id."""
    messages = checks.run_checks(tags=["wsredis"], include_deployment_checks=deploy)
    by_id = {message.id: message for message in messages}
    assert len(by_id) == len(messages)
    assert all(message.hint and message.msg.endswith((".", ")")) for message in messages), messages
    return by_id


def only(identifier: str, deploy: bool = False) -> checks.CheckMessage:
    """Return the one thing that is found."""
    messages = found(deploy)
    assert set(messages) == {identifier}
    return messages[identifier]
