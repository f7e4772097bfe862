"""The common behaviour of all deployments, as seen by a browser."""

from __future__ import annotations

import sys
from importlib.resources import files

import pytest

from ..servers.support import eventually
from ..servers.wire import BINARY, CLOSE, TEXT
from .support import RECIPES, Deployment, deployments, target

pytestmark = pytest.mark.servers

BROADCAST = "subscribe-broadcast"
TALK = ("subscribe-broadcast", "publish-broadcast")
MEBIBYTE = 2**20

# gunicorn serves no files: with nothing in front of it the site does.
WITH_FILES = [name for name in RECIPES if name != "gunicorn-tls"]

# Debian's uwsgi_params passes the Host on without its port.
WITH_PORT = [name for name in RECIPES if name != "nginx-one-uwsgi"]
JAVASCRIPT = ("text/javascript", "application/javascript")


def test_pages_are_answered(deployment: Deployment, room: str) -> None:
    assert deployment.request("GET", f"/{room}")[::2] == (200, f"the page {room}\n")


@pytest.mark.parametrize("deployment", deployments(*WITH_FILES), indirect=True)
def test_the_browser_client_is_a_static_file(deployment: Deployment) -> None:
    status, headers, text = deployment.request("GET", "/static/wsredis/wsredis.js")
    assert status == 200
    assert text == (files("wsredis") / "static/wsredis/wsredis.js").read_text(encoding="utf-8")
    assert headers.get("Content-Type", "").partition(";")[0] in JAVASCRIPT
    assert deployment.request("GET", "/static/wsredis/nothing.js")[0] == 404


def test_two_sockets_talk(deployment: Deployment, room: str) -> None:
    with deployment.open(room, *TALK) as alice, deployment.open(room, *TALK) as bob:
        for number in range(20):
            alice.send_frame(TEXT, f"to bob {number}".encode())
            assert bob.receive_text() == f"to bob {number}"
            bob.send_frame(TEXT, f"to alice {number}".encode())
            assert alice.receive_text() == f"to alice {number}"


def test_what_another_process_publishes_arrives(deployment: Deployment, room: str) -> None:
    with deployment.open(room, BROADCAST) as wire:
        assert deployment.broadcast(room, "grüße, 世界 🎉") == 1
        assert wire.receive_text() == "grüße, 世界 🎉"


def test_what_a_view_publishes_arrives(deployment: Deployment, room: str) -> None:
    with deployment.open(room, BROADCAST) as wire:
        assert deployment.request("POST", f"/{room}", "from a view")[0] == 200
        assert wire.receive_text() == "from a view"


def test_a_mebibyte_passes_both_ways(deployment: Deployment, room: str) -> None:
    with deployment.open(room, *TALK, "echo") as wire:
        wire.send_frame(BINARY, b"\x00\xff" * (MEBIBYTE // 2))
        assert wire.receive() == (0x80 | BINARY, b"\x00\xff" * (MEBIBYTE // 2))


@pytest.mark.parametrize("name", ["two words", "grüße", "50%", "a+b&c"])
def test_a_facility_arrives_as_it_was_written(deployment: Deployment, room: str, name: str) -> None:
    with deployment.open(f"{room} {name}", BROADCAST) as wire:
        assert deployment.broadcast(f"{room} {name}", "here") == 1
        assert wire.receive_text() == "here"


def test_only_pages_of_the_site_can_open_websockets(deployment: Deployment, room: str) -> None:
    scheme = deployment.origin.partition(":")[0]
    own = {"host": "example.com", "origin": f"{scheme}://example.com"}
    with deployment.open(room, BROADCAST, **own) as wire:
        assert deployment.broadcast(room, "at home") == 1
        assert wire.receive_text() == "at home"
    for origin in ("https://evil.example", f"{own['origin']}.evil.example", "null"):
        assert deployment.refused(room, BROADCAST, **(own | {"origin": origin})) == 403


@pytest.mark.parametrize("deployment", deployments(*WITH_PORT), indirect=True)
def test_the_port_is_part_of_the_origin(deployment: Deployment, room: str) -> None:
    with deployment.open(room, BROADCAST, origin=deployment.origin) as wire:
        assert deployment.broadcast(room, "at home") == 1
        assert wire.receive_text() == "at home"
    other = deployment.origin.rpartition(":")[0]
    assert deployment.refused(room, BROADCAST, origin=other) == 403


def test_a_client_cannot_forge_the_headers_of_a_proxy(deployment: Deployment, room: str) -> None:
    forged = {
        "origin": "https://evil.example",
        "x_forwarded_host": "evil.example",
        "x_forwarded_proto": "https",
        "x_forwarded_for": "127.0.0.1",
    }
    assert deployment.refused(room, BROADCAST, **forged) == 403


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the address 127.0.0.2")
def test_proxy_headers_with_underscores_are_not_trusted(deployment: Deployment, room: str) -> None:
    evil = "https://evil.example"
    for twin in ("x_forwarded_host", "x-forwarded_host", "x_forwarded-host"):
        forged = (twin, "evil.example")
        for more in ((("x-forwarded-host", "a"), forged), (forged, ("x-forwarded-host", "a"))):
            with deployment.wire("127.0.0.2") as wire:  # not of a trusted proxy
                answer = wire.refused(target(room, BROADCAST), origin=evil, more=more)
                assert answer.status == 403, more


def test_a_client_that_closes_is_forgotten(deployment: Deployment, room: str) -> None:
    with deployment.open(room, *TALK, "echo") as wire:
        wire.send_frame(TEXT, b"hello")
        assert wire.receive_text() == "hello"
        assert deployment.broadcast(room, "one process listens") == 1
        wire.send_frame(CLOSE, (1000).to_bytes(2, "big"))
        assert wire.close_code() == 1000
    eventually(lambda: deployment.broadcast(room, "anybody?") == 0, "nobody listens")


def test_a_client_that_vanishes_is_forgotten(deployment: Deployment, room: str) -> None:
    with deployment.open(room, BROADCAST) as wire:
        assert deployment.broadcast(room, "one process listens") == 1
        wire.abort()
    eventually(lambda: deployment.broadcast(room, "anybody?") == 0, "nobody listens")
