"""Applications for the real package channels, unmodified, on WSGI servers."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from ..servers.support import SECONDS, closed, new_room
from .conftest import DjangoSite

pytestmark = pytest.mark.servers


def opened(site: DjangoSite, path: str, cookie: str = "", **options: Any) -> Any:
    from websockets.sync.client import connect

    headers = {"Origin": f"http://127.0.0.1:{site.port}"}
    if cookie:
        headers["Cookie"] = cookie
    url = f"ws://127.0.0.1:{site.port}/ws/{path}"
    return connect(url, additional_headers=headers, open_timeout=SECONDS, proxy=None, **options)


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_room(site: DjangoSite, kind: str) -> None:
    name = new_room()
    with opened(site, f"{kind}/{name}/") as alice, opened(site, f"{kind}/{name}/") as bob:
        alice.send("hello")
        assert alice.recv(timeout=SECONDS) == "hello"
        assert bob.recv(timeout=SECONDS) == "hello"
        status, _, _ = site.get_with(f"/say/{name}/from-a-view")
        assert status == 200
        assert alice.recv(timeout=SECONDS) == "from-a-view"
        assert bob.recv(timeout=SECONDS) == "from-a-view"


def test_forty_views_at_once(site: DjangoSite) -> None:
    name = new_room()
    with opened(site, f"async/{name}/") as alice:
        found: list[int] = []

        def say(number: int) -> None:
            found.append(site.get_with(f"/say/{name}/{number}")[0])

        threads = [threading.Thread(target=say, args=[number]) for number in range(40)]
        for thread in threads:
            thread.start()
        got = sorted(int(alice.recv(timeout=SECONDS)) for _ in range(40))
        for thread in threads:
            thread.join()
        assert got == list(range(40))
        assert found == [200] * 40


def test_synchronous_handlers_run_in_parallel(site: DjangoSite) -> None:
    """Eight handlers overlap: each begins before any ends."""
    with ExitStack() as stack:
        clients = [stack.enter_context(opened(site, "sleeper/")) for _ in range(8)]
        for client in clients:
            client.send("0.5")
        times = [json.loads(client.recv(timeout=SECONDS)) for client in clients]
    assert max(began for began, _ in times) < min(ended for _, ended in times)


def test_the_user_and_the_end_of_the_session(site: DjangoSite) -> None:
    with pytest.raises(InvalidStatus) as info, opened(site, "me/"):
        pass
    assert info.value.response.status_code == 403
    _, _, cookie = site.get_with("/login/alice")
    with opened(site, "me/", cookie) as ws:
        said = json.loads(ws.recv(timeout=SECONDS))
        assert (said["user"], said["identity"]) == ("alice", "alice")
        site.get_with("/logout", cookie)
        assert closed(ws) == 4401


def test_no_route(site: DjangoSite) -> None:
    with pytest.raises(InvalidStatus) as info, opened(site, "nowhere/"):
        pass
    assert info.value.response.status_code == 500
