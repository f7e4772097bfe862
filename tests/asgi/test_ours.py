"""Consumers of wsredis in a Django site: users, sessions, the database, and async_to_sync."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack

import pytest

from ..servers.support import SECONDS, closed, eventually, new_room
from .conftest import DjangoSite
from .test_channels import opened

pytestmark = pytest.mark.servers


def test_a_room_with_consumers_of_channels(site: DjangoSite) -> None:
    name = new_room()
    with ExitStack() as stack:
        paths = (f"ours/{name}/", f"async/{name}/", f"sync/{name}/", f"ours/{name}/")
        members = [stack.enter_context(opened(site, path)) for path in paths]
        for number, sender in enumerate(members):
            sender.send(f"hello {number}")
            for member in members:
                assert member.recv(timeout=SECONDS) == f"hello {number}"
        assert site.get_with(f"/say/{name}/from-a-view")[0] == 200
        for member in members:
            assert member.recv(timeout=SECONDS) == "from-a-view"


def test_async_to_sync_at_once(site: DjangoSite) -> None:
    name = new_room()
    with ExitStack() as stack:
        members = [stack.enter_context(opened(site, f"ours/{name}/")) for _ in range(8)]
        senders = [threading.Thread(target=member.send, args=["hello"]) for member in members]
        for sender in senders:
            sender.start()
        for member in members:
            assert [member.recv(timeout=SECONDS) for _ in members] == ["hello"] * len(members)


def test_the_user_and_the_session(site: DjangoSite) -> None:
    _, key, cookie = site.get_with("/login/alice")
    with opened(site, f"ours/{new_room()}/", cookie) as ws:
        ws.send("/who")
        assert json.loads(ws.recv(timeout=SECONDS)) == ["alice", key]
        site.get_with("/logout", cookie)
        assert closed(ws) == 4401


def test_handlers_use_the_database(site: DjangoSite) -> None:
    before = int(site.get("/databases")[1])  # with Django 4.2, runserver itself keeps one open
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(site, f"ours/{new_room()}/")) for _ in range(10)]
        for client in clients:
            client.send(f"/count {new_room()}")
            assert client.recv(timeout=SECONDS) == "1"
    eventually(lambda: int(site.get("/databases")[1]) <= before, "they are closed")
